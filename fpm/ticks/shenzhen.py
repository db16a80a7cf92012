"""Shenzhen: orders whole on arrival, cancels as trade records, the aggressor is the larger of the two order numbers.

Market orders, and orders at the best price of their own side, carry no price: they use the last trade's, within the
day's limits. Source: docs/ticks.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm.ticks.events import ORDER, Events, orders_of, priced_cancels, trades_of, valued
from fpm.ticks.tape import ADD, CANCEL

if TYPE_CHECKING:
    import polars as pl


def events(tape: pl.DataFrame, call: pl.Expr, references: pl.DataFrame) -> Events:
    """Events of Shenzhen's records (an ordered tape of one session)."""
    adds = valued(orders_of(tape, ADD), tape, references)
    cancels = valued(priced_cancels(orders_of(tape, CANCEL), adds), tape, references)
    return Events(trades_of(tape, call), adds.select(*ORDER, "slot", "price", "volume"), cancels)

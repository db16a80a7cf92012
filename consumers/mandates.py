"""The mandates in force, and how old an index's snapshot may be under them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from consumers.benchmark import EVERY_NAME
from fpm.portfolio.costs import flat
from fpm.portfolio.mandate import Mandate, decimals_of, mandate_of, read_mandates

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from fpm.markets import Market
    from fpm.store.ledger.stores import Stores

SNAPSHOT_AGE = 30  # sessions within which the last index snapshot must lie
FLAT_COST = 0.0015  # of each side, where the exchange's own rates are not known


def mandates(members: pl.DataFrame, stores: Stores) -> list[Mandate]:
    """The mandate of every index that the home has members of, or of `EVERY_NAME`."""
    return named_mandates(sorted(members["index"].unique().to_list()) or [EVERY_NAME], stores)


def named_mandates(indices: Sequence[str], stores: Stores) -> list[Mandate]:
    """The mandates of indices: the operator's file, else the defaults; a stream of the settings comes before theirs."""
    default = partial(_default, market=stores.market)
    own = read_mandates(stores.settings.mandate, default) if stores.settings.mandate else {}
    named = [own.get(index) or default(index) for index in indices]
    stream = stores.settings.stream
    return [replace(mandate, stream=stream) for mandate in named] if stream else named


def _default(index: str, market: Market) -> Mandate:
    """The mandate of an index on this exchange: its board lot, and costs of its own or a flat rate."""
    mandate = replace(mandate_of(index), lot=market.exchange.lot, decimals=decimals_of(market.exchange.tick))
    return mandate if market.exchange.name == "cn" else replace(mandate, costs=flat(FLAT_COST))

"""What a home decides once, with its first delivery: feature profile, source of daily bars, conventions, words."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from fpm.errors import UsageError
from fpm.ingest.conventions import Conventions
from fpm.ingest.units import Stated
from fpm.schema import FEATURES, OPTIONAL_FLOWS

if TYPE_CHECKING:
    import polars as pl

    from fpm.ingest.deliveries import Delivery
    from fpm.store.ledger.stores import Stores

TAKER = ("buy_amount", "buy_volume", "sell_amount", "sell_volume")
FROM_VENDOR, FROM_MINUTES = "given", "derived"  # sources of daily bars, as the ledger stores them


def remembered(stores: Stores) -> Conventions | None:
    """The conventions of the home's first bars; None before them."""
    text = stores.ledger.deployment().get("conventions")
    return Conventions.from_json(text) if text else None


def words(stated: Stated) -> dict[str, str]:
    """What was stated, by name."""
    return {name: word for name, word in asdict(stated).items() if word is not None}


def stated_words(stated: Stated, stores: Stores) -> Stated:
    """The caller's words, completed by those that the home remembers of earlier deliveries.

    Raises UsageError where they differ: bars of raw and of adjusted prices would stand side by side.
    """
    decisions, conventions = stores.ledger.deployment(), remembered(stores)
    for name, word in words(stated).items():
        if name in decisions:
            stores.ledger.decide(name, word)
    if stated.prices and conventions and (conventions.price_basis == "adjusted") != (stated.prices == "adjusted"):
        raise UsageError(
            code="FPM-CFG-022",
            wrong=f"prices are {stated.prices} in this delivery, {conventions.price_basis} in the home's earlier ones",
            effect="nothing was read",
            todo="give prices of the same kind, or set FPM_HOME to another folder",
        )
    return Stated(**{name: word or decisions.get(name) for name, word in asdict(stated).items()})


def decide(stores: Stores, **decisions: str) -> None:
    """Store what the home has not decided yet, key -> value.

    `daily_bars`: their source. `conventions` of bar files serve later files too small to show theirs.
    """
    deployment = stores.ledger.deployment()
    for key, value in decisions.items():
        if key not in deployment:
            stores.ledger.decide(key, value)


def decide_profile(bars: pl.DataFrame, stores: Stores) -> set[str]:
    """Store the feature profile that the home's first bars allow; returns the flows that it misses in `bars`."""
    flows = {name for name in OPTIONAL_FLOWS if name in bars.columns and bars[name].null_count() < bars.height}
    if "profile" not in stores.ledger.deployment():
        stores.decide_profile(profile_of(flows))
    return flows_of(stores.profile.name) - flows


def profile_of(flows: set[str]) -> str:
    """The richest profile that these flow columns allow: l2_32, bar_flow_32 (taker amounts and volumes), bar_32."""
    if flows_of("l2_32") <= flows:
        return "l2_32"
    return "bar_flow_32" if set(TAKER) <= flows else "bar_32"


def flows_of(profile: str) -> set[str]:
    """Optional columns that a profile uses: bar_32 classifies sides itself, so it only needs trade counts."""
    return {"trades"} | (set() if profile == "bar_32" else set(FEATURES[profile]) & set(OPTIONAL_FLOWS))


def daily_policy(delivery: Delivery, stores: Stores) -> str:
    """The source of daily bars, decided by the first delivery. Raises UsageError where a later one disagrees."""
    decision = stores.ledger.deployment().get("daily_bars")
    source = FROM_VENDOR if delivery.daily else decision or FROM_MINUTES
    if decision and decision != source:
        stores.ledger.decide("daily_bars", source)
    return source

"""The 32 features one minute at a time in plain Python, written from their definitions.

Nothing here imports the code under test. A minute without a trade is None in `bars`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erf, nan, sqrt
from typing import Any

Bar = dict[str, float]
UNITS = {"amount": "amount", "volume": "volume", "count": "trades"}
RATIOS = ("price_pos", "range_pos")


def slow_features(bars: Sequence[Bar | None], day: Bar, medians: list[float], profile: str) -> list[Bar]:
    """Raw features of one symbol-session, one mapping a minute. `day`: pre_close, limit_up, limit_down."""
    return [slow_minute(bars[: t + 1], day, medians[t], profile) for t in range(len(bars))]


def slow_minute(past: Sequence[Bar | None], day: Bar, median: float, profile: str) -> Bar:
    """Features of the last minute of `past`."""
    traded = [bar for bar in past if bar is not None]
    now = past[-1]
    last = traded[-1]["close"] if traded else day["pre_close"]
    start = traded[0]["open"] if traded else day["pre_close"]
    view: Bar = now or dict.fromkeys(("open", "high", "low", "close"), last)
    prices = {name: view[name] for name in ("open", "high", "low", "close")}
    flows = _l2_flows(now) if profile == "l2_32" else _bar_flows(past, median, real_takers=profile == "bar_flow_32")
    prices["price_pos"] = (view["close"] - day["limit_down"]) / (day["limit_up"] - day["limit_down"])
    prices["vwap"] = now["amount"] / now["volume"] if now else last
    volume = sum(bar["volume"] for bar in traded)
    prices["session_vwap"] = sum(bar["amount"] for bar in traded) / volume if traded else last
    prices["typical_price"] = (view["high"] + view["low"] + view["close"]) / 3
    top, bottom = max([b["high"] for b in traded], default=0), min([b["low"] for b in traded], default=0)
    prices["range_pos"] = (view["close"] - bottom) / (top - bottom) if top > bottom else 0.5
    return {name: x if name in RATIOS else x / start - 1 for name, x in prices.items()} | flows


def _totals(now: Bar | None) -> Bar:
    if now is None:
        return dict.fromkeys(("amount", "volume", "trade_count", "avg_trade_amount"), 0.0)
    average = now["amount"] / now["trades"] if now["trades"] else 0.0
    return {"amount": now["amount"], "volume": now["volume"], "trade_count": now["trades"], "avg_trade_amount": average}


def _l2_flows(now: Bar | None) -> Bar:
    legs = [f"{side}_{unit}" for side in ("buy", "sell") for unit in UNITS]
    legs += [f"{size}_{side}_{unit}" for size in ("xl", "l", "m") for side in ("buy", "sell") for unit in UNITS]
    legs += [f"{kind}_{unit}" for kind in ("order", "cancel") for unit in UNITS]
    return _totals(now) | {leg: now.get(leg, nan) if now else 0.0 for leg in legs}


def _bar_flows(past: Sequence[Bar | None], median: float, *, real_takers: bool) -> Bar:
    now, flows = past[-1], _totals(past[-1])
    amount, volume = flows["amount"], flows["volume"]
    earlier = [bar for bar in past[:-1] if bar is not None]
    before = earlier[-1]["close"] if earlier else now["open"] if now else 1.0
    bar: Any = now or dict.fromkeys(("open", "high", "low", "close"), before)
    share, change = _buyer_share(past), bar["close"] / before - 1
    for unit, column in UNITS.items():
        total = flows[column.replace("trades", "trade_count")]
        real = (bar.get(f"buy_{unit}", 0.0), bar.get(f"sell_{unit}", 0.0))
        flows[f"buy_{unit}"], flows[f"sell_{unit}"] = real if real_takers else (total * share, total * (1 - share))
    body = bar["close"] - bar["open"]
    for kind, holds in (("up", body > 0), ("down", body < 0), ("flat", body == 0)):
        flows[f"{kind}_amount"], flows[f"{kind}_volume"] = amount if holds else 0.0, volume if holds else 0.0
    new_high = bool(earlier) and bar["high"] > max(b["high"] for b in earlier)
    new_low = bool(earlier) and bar["low"] < min(b["low"] for b in earlier)
    return flows | {
        "range_amount": (bar["high"] - bar["low"]) / before * amount,
        "abs_return_amount": abs(change) * amount,
        "up_return_amount": max(change, 0.0) * amount,
        "down_return_amount": max(-change, 0.0) * amount,
        "new_high_amount": amount if new_high else 0.0,
        "new_low_amount": amount if new_low else 0.0,
        "surge_amount": nan if median != median else amount if amount > 3 * median else 0.0,
        "zero_return_amount": amount if change == 0 else 0.0,
    }


def _buyer_share(past: Sequence[Bar | None], width: int = 30) -> float:
    """Normal distribution function of the minute's close change over the root mean square of those before."""
    changes: list[float] = []
    close: float | None = None
    for bar in past:
        if bar is not None:
            changes.append(bar["close"] - (bar["open"] if close is None else close))
            close = bar["close"]
        elif close is not None:
            changes.append(0.0)
    if past[-1] is None or changes[-1] == 0:
        return 0.5
    before = changes[:-1][-width:]
    sigma = sqrt(sum(x * x for x in before) / len(before)) if before else 0.0
    return (1 + erf(changes[-1] / sigma / sqrt(2))) / 2 if sigma > 0 else float(changes[-1] > 0)

"""Minute flows the slow, obvious way: one dictionary an order, one loop a minute. Written from docs/ticks.md."""

from collections import defaultdict
from typing import Any

SIZES = (("xl", 1_000_000), ("l", 200_000), ("m", 50_000))


def slot_of(milliseconds: int, is_trade: bool) -> int:
    """Stored slot: 0 the opening call, 1 = 09:31 … 120 = 11:30, 121 = 13:01 … 240 = 15:00, 241 the closing call."""
    minute = milliseconds // 60_000
    if minute < 9 * 60 + 25:
        return 0
    if minute < 9 * 60 + 30:
        return 0 if is_trade else 1
    if minute < 11 * 60 + 30:
        return minute - (9 * 60 + 30) + 1
    if minute < 13 * 60:
        return 120
    return 121 + minute - 13 * 60 if minute < 15 * 60 else 241


def is_call(milliseconds: int) -> bool:
    return milliseconds < 570 * 60_000 or milliseconds >= 897 * 60_000


def slow_flows(records: list[dict[str, Any]], exchange: str, one_sequence: bool) -> dict[int, dict[str, Any]]:
    """`records` of one symbol: kind (trade, cancel, add, delete), ms, seq, price (0 none), volume, side, buy, sell.

    Prices in cents. Returns slot -> leg -> value, only for slots and legs in which something happened.
    """
    records = sorted(records, key=lambda r: r["seq"])
    trades = [r for r in records if r["kind"] == "trade"]
    adds = [r for r in records if r["kind"] == "add"]
    taker = {id(t): 0 if is_call(t["ms"]) else t["side"] for t in trades}

    def before(one: dict[str, Any], other: dict[str, Any]) -> bool:
        key = "seq" if one_sequence else "ms"
        return bool(one[key] < other[key])

    def last_price(record: dict[str, Any]) -> int | None:
        earlier = [t for t in trades if before(t, record)]
        key = "seq" if one_sequence else "ms"
        return max(earlier, key=lambda t: (t[key], t["seq"]))["price"] if earlier else None

    def own(record: dict[str, Any]) -> tuple[int, int]:
        return record["side"], record["buy"] if record["side"] > 0 else record["sell"]

    parts: dict[tuple[int, int], list[tuple[int, int | None, int]]] = defaultdict(list)
    entered: dict[tuple[int, int], tuple[int, int, int | None]] = {}
    for add in adds:
        price = add["price"] or last_price(add)
        entered.setdefault(own(add), (add["seq"], slot_of(add["ms"], False), price))
        parts[own(add)].append((slot_of(add["ms"], False), price, add["volume"]))
    fills: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for t in trades:
        if not taker[id(t)]:
            continue
        key = (taker[id(t)], t["buy"] if taker[id(t)] > 0 else t["sell"])
        slot = slot_of(t["ms"], True)
        fills[key].append((slot, t["price"] * t["volume"]))
        if exchange == "SH":
            added = [a for a in adds if own(a) == key]
            first = min((a["seq"] if one_sequence else a["ms"] for a in added), default=None)
            if first is None or (t["seq"] < first if one_sequence else t["ms"] <= first):
                parts[key].append((slot, t["price"], t["volume"]))

    out: dict[int, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for t in trades:
        row, money, side = out[slot_of(t["ms"], True)], t["price"] * t["volume"], taker[id(t)]
        row.setdefault("open", t["price"])
        row["high"], row["low"] = max(row["high"], t["price"]), min(row["low"] or 10**9, t["price"])
        row["close"] = t["price"]
        row["volume"] += t["volume"]
        row["amount"] += money
        row["trades"] += 1
        if not side:
            continue
        name, slot = ("buy" if side > 0 else "sell"), slot_of(t["ms"], True)
        row[f"{name}_volume"] += t["volume"]
        row[f"{name}_amount"] += money
        row[f"{name}_count"] += 1
        key = (side, t["buy"] if side > 0 else t["sell"])
        worths = [price * volume for when, price, volume in parts.get(key, []) if when <= slot and price is not None]
        value = sum(worths) if worths else sum(worth for when, worth in fills[key] if when <= slot)
        for size, least in SIZES:
            if value >= least * 100:
                row[f"{size}_{name}_volume"] += t["volume"]
                row[f"{size}_{name}_count"] += 1
                break
    for pieces in parts.values():
        for slot, price, volume in pieces:
            out[slot]["order_volume"] += volume
            _add(out[slot], "order_amount", price, volume)
        out[min(slot for slot, _, _ in pieces)]["order_count"] += 1
    for c in records:
        if c["kind"] in ("cancel", "delete"):
            row = out[slot_of(c["ms"], False)]
            row["cancel_volume"] += c["volume"]
            row["cancel_count"] += 1
            seq, slot, price = entered.get(own(c), (c["seq"], 0, None))
            of_order = price if seq < c["seq"] and slot <= slot_of(c["ms"], False) else None
            price = c["price"] or of_order or last_price(c)
            _add(row, "cancel_amount", price, c["volume"])
    return {slot: dict(row) for slot, row in out.items()}


def _add(row: dict[str, Any], name: str, price: int | None, volume: int) -> None:
    """A sum with one unknown part is unknown."""
    if price is None or (name in row and row[name] is None):
        row[name] = None
    else:
        row[name] += price * volume

"""Markets as literals, by hand: hours, half days, late opens, calls. The truth of deliveries rests on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

DAY = 1440
Hours = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Venue:
    """One market's facts. `weeks`: runs of sessions; `special`: hours of the sessions that have their own.

    `opening`, `closing`: labels of the calls that have slots of their own; `silent`: END labels without trades before
    the closing call; `continuous_until`: suffix -> the closing call's first day. `extended`: bars outside the session
    may lie between these minutes, after the close from `pause` minutes on.
    """

    zone: str
    step: int
    hours: Hours
    symbols: tuple[str, ...]
    weeks: tuple[tuple[date, ...], ...]
    special: dict[date, Hours] = field(default_factory=dict)
    opening: int | None = None
    closing: int | None = None
    silent: tuple[int, ...] = ()
    continuous_until: dict[str, date] = field(default_factory=dict)
    tick: float = 0.01
    units: tuple[str, ...] = ("shares",)
    needs_amount: bool = False
    extended: tuple[int, int] | None = None
    pause: int = 0


def _days(*texts: str) -> tuple[date, ...]:
    return tuple(date.fromisoformat(text) for text in texts)


CHINA = {
    "zone": "Asia/Shanghai",
    "hours": ((570, 690), (780, 900)),
    "symbols": ("600000.SH", "000001.SZ", "688981.SH"),
    "units": ("shares", "lots"),
    "needs_amount": True,
    "weeks": (_days("2018-08-16", "2018-08-17", "2018-08-20"), _days("2025-04-28", "2025-04-29", "2025-04-30")),
    "extended": (570, 930),  # fixed-price trading after hours, 15:05 to 15:30
    "pause": 5,
}
AMERICA = {
    "zone": "America/New_York",
    "hours": ((570, 960),),
    "symbols": ("AAPL.US", "IBM.US", "BRK.B.US"),
    "weeks": (
        _days("2015-12-23", "2015-12-24", "2015-12-28"),
        _days("2024-03-07", "2024-03-08", "2024-03-11", "2024-03-12"),  # the clocks change on the 10th
        _days("2024-11-27", "2024-11-29", "2024-12-02"),
    ),
    "special": dict.fromkeys(_days("2015-12-24", "2024-11-29"), ((570, 780),)),
    "extended": (240, 1200),
}
INDIA = {
    "zone": "Asia/Kolkata",
    "hours": ((555, 930),),
    "symbols": ("TCS.NS", "M&M.NS", "BAJAJ-AUTO.NS"),
    "weeks": (_days("2024-10-31", "2024-11-04"), _days("2025-02-03", "2025-02-04", "2025-02-05", "2025-02-06")),
    "tick": 0.05,
    "extended": (540, 960),  # pre-open from 09:00, closing session from 15:40
    "pause": 10,
}
COINS = {
    "zone": "UTC",
    "hours": ((0, DAY),),
    "symbols": ("BTCUSDT.BN", "ETHUSDT.BN"),
    "weeks": (_days("2024-12-31", "2025-01-01"),),
}
VENUES = {
    "cn": Venue(
        step=1, opening=565, closing=900, silent=(898, 899), continuous_until={"SH": date(2018, 8, 20)}, **CHINA
    ),
    "cn15": Venue(step=15, **CHINA),
    "us": Venue(step=1, opening=570, **AMERICA),
    "us5": Venue(step=5, **AMERICA),
    "XNYS60": Venue(step=60, **AMERICA),
    "nse": Venue(step=1, **INDIA),
    "nse15": Venue(step=15, **INDIA),
    "crypto": Venue(step=1, **COINS),
    "crypto5": Venue(step=5, **COINS),
    "XHKG5": Venue(
        "Asia/Hong_Kong",
        5,
        ((570, 720), (780, 960)),
        ("00700.HKG", "00005.HKG"),
        (_days("2024-12-23", "2024-12-24", "2024-12-27"), _days("2024-12-30", "2024-12-31")),
        dict.fromkeys(_days("2024-12-24", "2024-12-31"), ((570, 720),)),
        units=("shares", "lots"),
        needs_amount=True,
        extended=(540, 970),  # pre-opening and closing auction
    ),
    "XTKS": Venue(
        "Asia/Tokyo",
        1,
        ((540, 690), (750, 930)),
        ("7203.TKS", "6758.TKS"),
        (_days("2024-10-31", "2024-11-01", "2024-11-05", "2024-11-06"),),
        dict.fromkeys(_days("2024-10-31", "2024-11-01"), ((540, 690), (750, 900))),
        units=("shares", "lots"),
        needs_amount=True,
    ),
    "XLON30": Venue(
        "Europe/London",
        30,
        ((480, 990),),
        ("VOD.LON", "BP.LON"),
        (_days("2024-12-23", "2024-12-24", "2024-12-27"), _days("2024-06-03", "2024-06-04")),
        dict.fromkeys(_days("2024-12-24"), ((480, 750),)),
        units=("shares", "lots"),
        needs_amount=True,
    ),
    "BVMF10": Venue(
        "America/Sao_Paulo",
        10,
        ((600, 1080),),
        ("PETR4.BVMF", "VALE3.BVMF"),
        (_days("2024-02-08", "2024-02-09", "2024-02-14", "2024-02-15"),),
        dict.fromkeys(_days("2024-02-14"), ((780, 1080),)),
        units=("shares", "lots"),
        needs_amount=True,
    ),
}

"""Facts of the domain: tables, keys, columns, and the names of the 32 features.

The module is data only. It imports nothing but `table` and `portfolio_tables`, so that the Feast definitions and every
other module can read it. Types are names (``float64``, ``string``, ``date``, …).
"""

from __future__ import annotations

from fpm import portfolio_tables
from fpm.portfolio_tables import PORTFOLIO_TABLES
from fpm.table import Table

FINGERPRINT_SIZE = 128
FEATURE_COUNT = 32
STREAMS = ("fingerprint", "traditional", "dual")
STREAM_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"  # of a stream from outside
VINTAGE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,57}$"  # of vectors from outside: it and its `.dual` are streams
INDICES = ("CSI300", "CSI500", "CSI1000")
HORIZON = 5  # sessions that a label's return spans where no model file says otherwise

# --- the minute bar's own columns -------------------------------------------------------------
PRICES = ("open", "high", "low", "close")
SIDES = ("buy", "sell")
SIZES = ("xl", "l", "m")
TAKER_FLOWS = tuple(f"{side}_{unit}" for side in SIDES for unit in ("amount", "volume", "count"))
SIZE_FLOWS = tuple(f"{size}_{side}_{unit}" for size in SIZES for side in SIDES for unit in ("volume", "count"))
ORDER_FLOWS = tuple(f"{kind}_{unit}" for kind in ("order", "cancel") for unit in ("amount", "volume", "count"))
OPTIONAL_FLOWS = ("trades", *TAKER_FLOWS, *SIZE_FLOWS, *ORDER_FLOWS)

# --- the three feature profiles ---------------------------------------------------------------
L2_32 = (
    "high",
    "low",
    "close",
    "price_pos",
    "amount",
    "volume",
    "trade_count",
    "avg_trade_amount",
    *TAKER_FLOWS,
    *SIZE_FLOWS,
    *ORDER_FLOWS,
)
BAR_32 = (
    "open",
    "high",
    "low",
    "close",
    "vwap",
    "session_vwap",
    "typical_price",
    "range_pos",
    "amount",
    "volume",
    "trade_count",
    "avg_trade_amount",
    *TAKER_FLOWS,
    "up_amount",
    "up_volume",
    "down_amount",
    "down_volume",
    "flat_amount",
    "flat_volume",
    "range_amount",
    "abs_return_amount",
    "up_return_amount",
    "down_return_amount",
    "new_high_amount",
    "new_low_amount",
    "surge_amount",
    "zero_return_amount",
)
BAR_FLOW_32 = BAR_32  # same names; the taker legs are the vendor's own instead of bulk-classified
FEATURES = {"l2_32": L2_32, "bar_32": BAR_32, "bar_flow_32": BAR_FLOW_32}
PRICE_FEATURES = {
    "l2_32": L2_32[:4],
    "bar_32": BAR_32[:8],
    "bar_flow_32": BAR_32[:8],
}

# --- traditional factors; formulas in fpm/features: daily_factors, alpha158 ----------------------------
CLASSIC = (
    "return_1",
    "return_5",
    "return_20",
    "return_60",
    "volatility_20",
    "downside_volatility_20",
    "range_20",
    "close_position_20",
    "turnover_1",
    "turnover_20",
    "turnover_ratio_5_20",
    "volume_ratio_5_20",
    "volume_shock_1",
    "illiquidity_20",
    "price_volume_correlation_20",
    "gap_1",
    "intraday_return_1",
    "max_return_20",
    "skewness_20",
    "log_size",
)
ALPHA158_WINDOWS = (5, 10, 20, 30, 60)
ALPHA158 = (  # Qlib's names and order, in small letters
    "kmid",
    "klen",
    "kmid2",
    "kup",
    "kup2",
    "klow",
    "klow2",
    "ksft",
    "ksft2",
    "open0",
    "high0",
    "low0",
    "vwap0",
    *(
        f"{operator}{window}"
        for operator in (
            "roc",
            "ma",
            "std",
            "beta",
            "rsqr",
            "resi",
            "max",
            "min",
            "qtlu",
            "qtld",
            "rank",
            "rsv",
            "imax",
            "imin",
            "imxd",
            "corr",
            "cord",
            "cntp",
            "cntn",
            "cntd",
            "sump",
            "sumn",
            "sumd",
            "vma",
            "vstd",
            "wvma",
            "vsump",
            "vsumn",
            "vsumd",
        )
        for window in ALPHA158_WINDOWS
    ),
)
DAILY_FACTORS = CLASSIC + ALPHA158
SCORER_DAILY = ("open", "high", "low", "close", "volume", "turnover")


MINUTE_BARS = Table(
    "minute_bars",
    ("symbol", "slot"),
    {"symbol": "string", "slot": "int16", **dict.fromkeys((*PRICES, "volume", "amount", *OPTIONAL_FLOWS), "float64")},
)
DAILY_BARS = Table(
    "daily_bars",
    ("symbol",),
    {
        "symbol": "string",
        **dict.fromkeys((*PRICES, "pre_close", "volume", "amount", "turnover", "adj_factor"), "float64"),
        **dict.fromkeys(("limit_up", "limit_down"), "float64"),
        "suspended": "bool",
        "st": "bool",
        "industry": "string",
        **dict.fromkeys(("total_shares", "float_shares"), "float64"),
        "list_date": "date",
        "delist_date": "date",
    },
    view=True,
)
INDEX_MEMBERS = Table(
    "index_members", ("index", "symbol"), {"index": "string", "symbol": "string", "weight": "float64"}
)
SYMBOLS = Table(  # a session's rows are one snapshot of the whole table; a row without identity was withdrawn
    "symbols", ("symbol", "first"), {"symbol": "string", "first": "date", "last": "date", "identity": "string"}
)
CASH = "CASH"  # the row of a custodian's book that is its cash
CUSTODY = Table(  # the book of an index at a close as the custodian says it; a row without shares was withdrawn
    "custody", ("index", "symbol"), {"index": "string", "symbol": "string", "shares": "int64", "cash": "float64"}
)
RESTRICTIONS = Table(  # a session's rows are one snapshot of the list; index "" is every one, a null kind withdrawn
    "restrictions",
    ("symbol", "index", "first"),
    {"symbol": "string", "index": "string", "first": "date", "last": "date", "kind": "string", "reason": "string"},
)
SESSION_TOTALS = Table(  # one total per flow of the profile, in that session's own shares
    "session_totals", ("symbol",), {"symbol": "string", "profile": "string", "adj_factor": "float64"}, open_columns=True
)
MINUTE_FEATURES = Table(  # the 32 columns depend on the profile
    "minute_features",
    ("symbol", "slot"),
    {"symbol": "string", "slot": "int16", "profile": "string"},
    view=True,
    open_columns=True,
)
FINGERPRINTS = Table(
    "fingerprints",
    ("symbol", "vintage"),
    {"symbol": "string", "vintage": "string", "fingerprint": "vector"},
    by_vintage=True,
    view=True,
    online=True,
)
DAILY_FACTORS_TABLE = Table(
    "daily_factors",
    ("symbol",),
    {"symbol": "string", **dict.fromkeys(DAILY_FACTORS, "float32")},
    view=True,
    online=True,
)
LABELS = Table("labels", ("symbol",), {"symbol": "string", "label": "float64"})
SCORES = Table(
    "scores",
    ("symbol", "stream"),
    {
        "symbol": "string",
        "stream": "string",
        "score": "float64",
        "spread": "float64",
        "vintage": "string",
        "model": "string",
    },
    view=True,
    online=True,
)
SCORE_INTERVALS = Table(  # of a score's forward place among the session's symbols, 0 lowest; null: there is none
    "score_intervals",
    ("symbol", "stream"),
    {"symbol": "string", "stream": "string", **dict.fromkeys(("lower", "upper", "level"), "float64")},
    view=True,
    online=True,
    by_session=True,
)
STREAM_SCORES = Table(  # scores from outside, each stream under its owner's name
    "stream_scores", ("symbol", "stream"), {"symbol": "string", "stream": "string", "score": "float64"}
)
# --- the running session: a minute is the rows' event_timestamp, and no whole session has a row here ---------------
INTRADAY_BARS = Table("intraday_bars", MINUTE_BARS.keys, MINUTE_BARS.columns)
INTRADAY_MINUTE_FEATURES = Table(
    "intraday_minute_features",
    MINUTE_FEATURES.keys,
    MINUTE_FEATURES.columns,
    view=True,
    ttl_days=1,
    open_columns=True,
)
INTRADAY_FINGERPRINTS = Table(  # vintage: of the encoder, and the minute at which the session is cut
    "intraday_fingerprints", FINGERPRINTS.keys, FINGERPRINTS.columns, view=True, ttl_days=1
)
INTRADAY_SCORES = Table("intraday_scores", SCORES.keys, SCORES.columns, view=True, ttl_days=1)
VECTORS = Table(  # what another encoder wrote, each vintage under its owner's name and of one length
    "vectors",
    ("symbol", "vintage"),
    {"symbol": "string", "vintage": "string", "vector": "floats"},
    by_vintage=True,
    view=True,
)
VECTOR_SCORES = Table(  # of scorers trained on such vectors: streams NAME (vectors alone) and NAME.dual (and factors)
    "vector_scores", ("symbol", "stream"), dict(SCORES.columns), by_vintage=True
)
STYLES = portfolio_tables.STYLES
TABLES = {
    table.name: table
    for table in (
        MINUTE_BARS,
        DAILY_BARS,
        INDEX_MEMBERS,
        SYMBOLS,
        CUSTODY,
        RESTRICTIONS,
        SESSION_TOTALS,
        MINUTE_FEATURES,
        FINGERPRINTS,
        DAILY_FACTORS_TABLE,
        LABELS,
        SCORES,
        SCORE_INTERVALS,
        STREAM_SCORES,
        INTRADAY_BARS,
        INTRADAY_MINUTE_FEATURES,
        INTRADAY_FINGERPRINTS,
        INTRADAY_SCORES,
        VECTORS,
        VECTOR_SCORES,
        *PORTFOLIO_TABLES,
    )
}
HISTORIES = {"scores": "score_history", "weights": "weight_history"}  # published table -> its earlier sessions online
CLOCKS = ("event_timestamp", "created_timestamp")

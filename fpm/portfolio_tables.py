"""Tables of the risk model, the decisions and the books; data only, as `fpm.schema`."""

from __future__ import annotations

from fpm.table import Table

STYLES = ("size", "beta", "momentum", "residual_volatility", "liquidity", "nonlinear_size")
EXPOSURES = Table(  # of a name at the close; `industry` as the risk model has it, `score` standardised
    "exposures",
    ("symbol",),
    {"symbol": "string", "industry": "string", **dict.fromkeys((*STYLES, "score", "capitalisation"), "float64")},
)
FACTOR_RETURNS = Table("factor_returns", ("factor",), {"factor": "string", "return": "float64", "noise": "float64"})
RESIDUALS = Table("residuals", ("symbol",), {"symbol": "string", "residual": "float64", "leverage": "float64"})
COVARIANCE = Table(  # of factor returns, per session, at a decision of the index
    "covariance",
    ("index", "factor", "other"),
    {**dict.fromkeys(("index", "factor", "other"), "string"), "value": "float64"},
)
SPECIFIC_VARIANCES = Table(
    "specific_variances",
    ("index", "symbol"),
    {"index": "string", "symbol": "string", "specific_variance": "float64"},
)
DECISIONS = Table(  # `relaxed` and `shadow` are JSON, bound -> number; second_solver: fpm/portfolio/second_solver.py
    "decisions",
    ("index",),
    {
        "index": "string",
        "fill_session": "date",
        "status": "string",
        **dict.fromkeys(("tracking_error", "tracking_error_realised", "tracking_error_cap"), "float64"),
        **dict.fromkeys(("active_cap", "industry_cap", "size_cap"), "float64"),
        **dict.fromkeys(("style_cap", "members_floor", "turnover_cap"), "float64"),
        "relaxed": "string",
        "shadow": "string",
        "objective": "float64",
        "second_solver": "string",
        "second_difference": "float64",
    },
    view=True,
    online=True,
    by_session=True,
)
ORDERS = Table(  # of the session's decision, for the next one; reasons and pushes: fpm/portfolio/reasons.py
    "orders",
    ("symbol", "index"),
    {
        "symbol": "string",
        "index": "string",
        "fill_session": "date",
        "side": "string",
        "shares": "int64",
        **dict.fromkeys(("close", "amount", "expected_cost", "expected_impact"), "float64"),
        **dict.fromkeys(("reason", "bound"), "string"),
        **dict.fromkeys(("score_push", "risk_push", "bound_push", "cash_push"), "float64"),
    },
    view=True,
    online=True,
    by_session=True,
)
TARGETS = Table(
    "targets",
    ("index", "symbol"),
    {
        "index": "string",
        "symbol": "string",
        **dict.fromkeys(("shares_held", "shares"), "int64"),
        **dict.fromkeys(("close", "weight_held", "weight", "benchmark_weight", "score"), "float64"),
        "tradable": "bool",
        "industry": "string",
        **dict.fromkeys(STYLES, "float64"),
        "restriction": "string",
    },
)
HOLDINGS = Table(
    "holdings",
    ("index", "symbol"),
    {"index": "string", "symbol": "string", "shares": "int64", "price": "float64", "value": "float64"},
)
NAV = Table("nav", ("index",), {"index": "string", "cash": "float64", "nav": "float64", "benchmark_return": "float64"})
TRADES = Table(  # fills of the session; a name is bought or sold in it, never both
    "trades",
    ("symbol", "index"),
    {
        **dict.fromkeys(("index", "symbol", "side"), "string"),
        "shares": "int64",
        **dict.fromkeys(("price", "amount", "cost"), "float64"),
        "decided": "date",
    },
    view=True,
    online=True,
    by_session=True,
)
ACTIONS = Table(
    "actions",
    ("index", "symbol", "kind"),
    {
        **dict.fromkeys(("index", "symbol", "kind"), "string"),
        **dict.fromkeys(("shares_before", "shares_after"), "int64"),
        "cash": "float64",
    },
)
BLOCKED = Table(
    "blocked",
    ("index", "symbol", "side"),
    {
        **dict.fromkeys(("index", "symbol", "side"), "string"),
        **dict.fromkeys(("ordered", "filled"), "int64"),
        "reason": "string",
    },
)
RISK_FORECASTS = Table(  # deviation and return of a session's test portfolios by the model of the decision `decided`
    "risk_forecasts",
    ("index", "kind", "portfolio"),
    {
        **dict.fromkeys(("index", "kind", "portfolio"), "string"),
        "decided": "date",
        **dict.fromkeys(("predicted", "realised"), "float64"),
    },
)
RISK_TESTS = Table(  # fpm/risk/bias.py; where a figure is null, its reason says why
    "risk_tests",
    ("index", "kind"),
    {
        **dict.fromkeys(("index", "kind"), "string"),
        "sessions": "int64",
        **dict.fromkeys(("bias", "low", "high"), "float64"),
        "inside": "bool",
        "windows": "int64",
        **dict.fromkeys(("share", "share_low", "share_high"), "float64"),
        **dict.fromkeys(("reason", "share_reason"), "string"),
    },
)
WEIGHTS = Table(
    "weights",
    ("symbol", "index"),
    {"symbol": "string", "index": "string", "weight": "float64", "benchmark_weight": "float64"},
    view=True,
    online=True,
)

PORTFOLIO_TABLES = (
    EXPOSURES,
    FACTOR_RETURNS,
    RESIDUALS,
    COVARIANCE,
    SPECIFIC_VARIANCES,
    DECISIONS,
    ORDERS,
    TARGETS,
    HOLDINGS,
    NAV,
    TRADES,
    ACTIONS,
    BLOCKED,
    RISK_FORECASTS,
    RISK_TESTS,
    WEIGHTS,
)

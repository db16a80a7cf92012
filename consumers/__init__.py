"""Consumer jobs: from features to scores, portfolios, publication and the report.

`JOBS` names this package's per-session modules in nightly order; `scorer` (a model) and `report` (a page) are
called by name.
"""

JOBS = ("scores", "portfolio", "publish", "parity", "derivation", "neighbours")

"""Producer jobs: raw bars to features, fingerprints, factors and labels. One table, one writer, one file.

`JOBS` names this package's per-session modules in nightly order; `bars` (ingest) and `encoder` (a model, not a
session) are called by name.
"""

JOBS = ("session_totals", "minute_features", "daily_factors", "labels", "fingerprints")

"""Consumer jobs: from features to scores, portfolios and publication.

`JOBS` names the jobs of a session in nightly order. Begin at `scores`.

    scorer          training of one scorer
    streams         the stream in use: ours, or one from outside
    intraday_scores  scores of the running session so far, and their publication
    scores          every stream's scores of a session
    vector_scores   the same under vectors from outside, as streams of their own
    score_intervals what a session's scores promise: intervals of their forward places
    factor_returns  the risk model's evidence: exposures, factor returns, residuals
    portfolio       index-enhanced weights
    mandates        the mandates in force
    benchmark       an index's weights at a session
    desk            what a person says about a session's portfolios
    order_history   reasons of the past and the tracking error realised, for a decision's rows
    risk_tests      whether portfolios moved as much as the risk model said
    publish         the session online, all views in one transaction
    parity          online equals offline, or the night is red
    derivation      a sample of the session derived again from raw bars
    vitals          figures of the session for those who watch
    neighbours      the published fingerprints under the online index

Imports: fpm, fpm.evaluation, fpm.features, fpm.nn, fpm.nn.encoder, fpm.nn.scorer, fpm.portfolio, fpm.risk, fpm.store,
fpm.store.jobs, fpm.store.lake, fpm.store.ledger, fpm.store.online, fpm.store.retrieval.
"""

JOBS = (
    "scores",
    "vector_scores",
    "score_intervals",
    "factor_returns",
    "portfolio",
    "risk_tests",
    "publish",
    "parity",
    "derivation",
    "neighbours",
    "vitals",
)

"""Producer jobs: raw bars to features, fingerprints, factors and labels. One table, one writer, one file.

`JOBS` names the jobs of a session in nightly order. Begin at `minute_features`.

    bars             ingest of minute bars, daily bars, index members and symbols
    decisions        what a home decides once, with its first delivery
    delivery_check   what an ingest would store and refuse, storing nothing
    daily_tables     daily tables beside minutes: units, and what disagrees
    capitalisations  weights of an index that came without any
    symbols          ingest of who a symbol is
    stream_scores    ingest of scores from outside
    vectors          ingest of another encoder's vectors
    session_versions a session's rows of a raw table in all their versions
    restrictions     ingest of what may not be bought, traded or held
    custody          ingest of real books
    snapshots        a list in force from when it is known
    previous_closes  each symbol's last close before a session
    whole_sessions   whether a session's minutes are there, over the market
    universe         what is said of a session's symbols: absent, without a daily row, delisted
    listings         minutes of symbols that no reference data knows
    shrinkage        a universe that lost names since the last one known: stopped, or accepted
    ticks            ingest of Level-2 ticks
    tick_snapshots   snapshots of a delivery of ticks, judged
    session_totals   each symbol's totals of a session
    minute_features  the 32 features of every minute
    daily_factors    the traditional factors
    labels           the forward returns of an earlier session
    encoder          training of one encoder vintage
    fingerprints     one vector a symbol-session
    intraday_bars    bars of the running session up to a minute
    intraday_minute_features  its features so far
    intraday_fingerprints     its vectors so far

Imports: fpm, fpm.features, fpm.ingest, fpm.nn, fpm.nn.encoder, fpm.store, fpm.store.jobs, fpm.store.lake,
fpm.store.ledger, fpm.ticks.
"""

JOBS = ("session_totals", "minute_features", "daily_factors", "labels", "fingerprints")

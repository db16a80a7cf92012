"""What all jobs need done once: inputs, lock, attempt, publication.

Begin at `runner`.

    runner         one job for one session, or for many
    inputs         the digest of everything that a result depends on
    code_identity  the digest of what computes
    freshness      which sessions have nothing to do, asked of the ledger at once
    history        the versions of a partition, moment by moment
    answers        answers kept until what they were computed from changes
    publishing     how a partition becomes visible; recovery after a kill
    minutes        rows of the running session, minute by minute
    staging        whose unfinished files these are, on whatever host
    workers        local processes or a Ray cluster
    ahead          trainings that other processes make before their turn
    receipts       vendor files that were ingested

Imports: fpm, fpm.ingest, fpm.store, fpm.store.lake, fpm.store.ledger.
"""

"""What was computed from what, and the state that a job sees.

Begin at `stores`.

    ledger        attempts, current files, publications, locks
    memory        the same ledger, each question asked once
    leader        the one scheduler at work
    absences      sessions that nobody will ever deliver
    instructions  approvals and holds
    seals         what every file in the lake has to be; a lake that holds to it
    models        registered models and their files
    stores        tables by session, models and settings as known at one moment

Imports: fpm, fpm.features, fpm.portfolio, fpm.store, fpm.store.lake, fpm.store.postgres.
"""

"""What was computed from what, and the state that a job sees.

Begin at `stores`.

    ledger        attempts, current files, publications, locks
    memory        the same ledger, each question asked once
    leader        the one scheduler at work
    absences      sessions that nobody will ever deliver
    holes         sessions whose bars are not whole, and those accepted as they are
    alerts        messages to people, and their delivery
    vitals        figures for those who watch, nights as last seen
    lineage       finished attempts as OpenLineage events
    instructions  approvals and holds
    journal       a chain of hashes over every change of the ledger; overrides of a person
    seals         what every file in the lake has to be; a lake that holds to it
    models        registered models and their files
    programs      versions of the program that the nights may run with
    disk          how long the home's disk lasts
    retirements   sessions of a table that a person had removed
    rollbacks     former models in force again, from a session on
    stores        tables by session, models and settings as known at one moment

Imports: fpm, fpm.features, fpm.portfolio, fpm.store, fpm.store.lake, fpm.store.postgres.
"""

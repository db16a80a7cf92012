"""The command line, the clock and the demonstration: the only rooms that know every job.

Begin at `cli`.

    cli                the program: its commands, errors and exit codes
    pipeline_commands  the commands that fill a home
    question_commands  the commands that answer a question
    report_commands    the commands that show figures
    model_commands     the commands about models
    reader_commands    the commands about consumers
    home_commands      the commands about a home, its servers, the demonstration
    arguments          arguments and options, and the wall clock
    model_arguments    arguments about models
    instruction_arguments  arguments of approvals and holds
    instructions       what a person says about decisions
    console            home in, answer out
    tables             answers as tables
    jobs               the jobs by name
    history            all that bars alone allow, in order, and what is missing for it
    delivery           a delivery taken in, or checked
    inbox              what is complete in the inbox is taken in
    intraday           the running session at one minute
    night              the steps of a night
    agenda             which nights are owed, due, late
    upgrade            what a newer program would do to an older home
    alerts             what turned red is told, once
    lineage            finished attempts are told to a lineage server
    schedule           the clock
    training           models trained fold by fold
    retention          what is kept of the tables of minutes, and who needs the rest
    status             what ran
    page               the views of `fpm page`, gathered
    demo               the whole chain on the synthetic exchange

Imports: consumers, consumers.page, consumers.questions, fpm, fpm.exchange, fpm.ingest, fpm.nn.encoder, fpm.nn.scorer,
fpm.page, fpm.report, fpm.store, fpm.store.backups, fpm.store.http, fpm.store.jobs, fpm.store.lake, fpm.store.ledger,
fpm.store.online, fpm.store.postgres, fpm.store.retrieval, producers.
"""

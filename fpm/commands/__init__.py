"""The command line, the clock and the demonstration: the only rooms that know every job.

Begin at `cli`.

    cli              the commands
    report_commands  the commands that show figures
    arguments        arguments and options, and the wall clock
    model_arguments  arguments about models
    console          deployment in, answer out
    tables           answers as tables
    schedule         the order of the night, and the clock
    demo             the whole chain on the synthetic exchange

Imports: consumers, consumers.questions, fpm, fpm.exchange, fpm.nn.scorer, fpm.store, fpm.store.http, fpm.store.jobs,
fpm.store.ledger, fpm.store.online, fpm.store.postgres, fpm.store.retrieval, producers.
"""

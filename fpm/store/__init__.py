"""The outside world: files, Postgres, Feast, HTTP.

This folder holds what its rooms share. Begin at `ledger/stores`, then `jobs/runner`.

    settings   the deployment, read from the environment
    variables  the environment's variables by name
    places     where a home may lie
    addresses  addresses with passwords: parsed, and hidden in texts
    channels   documents to webhooks and commands
    log        structured log on standard error
    faults     points at which tests kill a process
    world      files, database, processes and time, for which a simulation can stand in

Imports: fpm, fpm.features.
"""

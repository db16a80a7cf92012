"""Dagster: a look at the agenda every ten minutes; the ledger says what is due, so there are no partitions here.

Exit 75 (a night waits for its inputs) ends the run in peace, exit 1 (a night is red) fails it. Load it by
`dagster dev -f dagster_night.py`; FPM_HOME and the other variables come from the environment.
"""

import subprocess

import dagster


@dagster.op
def nightly(context: dagster.OpExecutionContext) -> None:
    """Every night that is due."""
    look = subprocess.run(["fpm", "nightly", "--json"], capture_output=True, text=True, check=False)
    context.log.info(look.stdout)
    if look.returncode == 75:
        context.log.warning(look.stderr)
    elif look.returncode != 0:
        raise dagster.Failure(description=look.stderr)


@dagster.job
def fpm_night() -> None:
    """One look."""
    nightly()


defs = dagster.Definitions(
    jobs=[fpm_night], schedules=[dagster.ScheduleDefinition(job=fpm_night, cron_schedule="*/10 * * * *")]
)

"""Airflow 3: a look at the agenda every ten minutes; the ledger says what is due, so no date comes from Airflow.

Exit 75 (a night waits for its inputs) skips this look, exit 1 (a night is red) fails it, without a retry: the next look
comes anyway, and what had ended stays. Set FPM_HOME and the other variables in the worker's environment.
"""

import subprocess
from datetime import UTC, datetime, timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException


@dag(
    schedule="*/10 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
)
def fpm_night() -> None:
    """Every night that is due."""

    @task
    def nightly() -> None:
        look = subprocess.run(["fpm", "nightly", "--json"], capture_output=True, text=True, check=False)
        print(look.stdout)
        if look.returncode == 75:
            raise AirflowSkipException(look.stderr)
        if look.returncode != 0:
            raise AirflowFailException(look.stderr)

    nightly()


fpm_night()

"""Vital signs of a small home against other libraries, and their way to Prometheus: every figure has a help text."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from scipy.stats import spearmanr

from consumers import factor_returns, portfolio, publish, risk_tests, vitals
from fpm.sessions import previous_sessions
from fpm.store.jobs.runner import run_job
from fpm.store.ledger.alerts import Alert, raise_alerts
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.ledger.vitals import record_nights, record_vitals
from fpm.store.ledger.vitals import vitals as stored
from fpm.store.online.metrics import HELP, QUERY, exposition
from fpm.store.postgres.server import Server, connect
from fpm.store.settings import Settings
from tests.consumers.small_lake import FIRST, VINTAGE, SmallLake, put
from tests.databases import fresh_database

LAST = date(2024, 12, 20)
LAKE = SmallLake(symbols=30)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> Iterator[Stores]:
    """Fifteen sessions, labels of the first nine, a night with its decision published."""
    folder = tmp_path_factory.mktemp("vitals")
    mandate = folder / "mandate.toml"
    mandate.write_text('[CSI300]\nrebalance = "daily"\n')
    with fresh_database(postgres_server) as url:
        stores = open_stores(Settings(home=folder, preset="tiny", database_url=SecretStr(url), mandate=mandate))
        _fill(stores)
        yield stores
        stores.ledger.close()


def _fill(stores: Stores) -> None:
    days = LAKE.fill(stores, FIRST, LAST)
    for day in days[:-6]:
        put("labels", day, {"labels": LAKE.labels(day)}, stores)
    for day in days[-3:]:
        for job in (factor_returns, portfolio, risk_tests):
            run_job(job, day, stores)
    run_job(publish, LAST, stores)
    rows = pl.DataFrame({"reason_code": ["FPM-IN-021", "FPM-IN-021", "FPM-IN-024"]})
    folder = stores.settings.quarantine / "minute_bars" / f"session={LAST}"
    folder.mkdir(parents=True)
    rows.write_parquet(folder / "0123456789ab.parquet")
    run_job(vitals, LAST, stores)


def figures(stores: Stores) -> dict[tuple[str, str], float]:
    return {(each.name, ",".join(each.labels.values())): each.value for each in stored(LAST, stores.ledger)}


def test_rank_ic_is_that_of_the_served_scores_and_its_band_holds_the_mean(home: Stores) -> None:
    own = figures(home)
    labelled = previous_sessions(home.market, LAST, 6)[0]
    expected = {}
    for day in [day for day in home.sessions("labels") if day <= labelled]:
        score = LAKE.scores(day).filter(pl.col("stream") == "dual").join(LAKE.labels(day), on="symbol")
        expected[day] = spearmanr(score["score"], score["label"]).statistic
    assert own["rank_ic", "dual"] == pytest.approx(expected[labelled])
    assert own["rank_ic_mean", "dual"] == pytest.approx(np.mean(list(expected.values())))
    assert own["rank_ic_sessions", "dual"] == len(expected) == 9
    assert own["rank_ic_low", "dual"] < own["rank_ic_mean", "dual"] < own["rank_ic_high", "dual"]


def test_counts_are_those_of_the_tables(home: Stores) -> None:
    own = figures(home)
    assert own["universe_symbols", "daily_bars"] == own["universe_symbols", "scores"] == 30
    assert own["quarantined_rows_sum", ""] == 3
    assert (
        own["quarantined_rows", "FPM-IN-021,minute_bars"] == 2 or own["quarantined_rows", "minute_bars,FPM-IN-021"] == 2
    )
    bars = home.lake.decode(home.lake.files("daily_bars", LAST, LAST)[0][1])
    cells = bars.height * bars.width
    assert own["null_share", "daily_bars"] == pytest.approx(sum(bars.null_count().row(0)) / cells)


def test_drift_is_measured_from_the_training_window_of_the_vintage(home: Stores) -> None:
    """The small vintage says nothing of its folds; one that does is compared, and a shifted session stands out."""
    assert vitals.fingerprint_drift(LAST, VINTAGE, home) is None
    days = home.sessions("fingerprints")
    own = home.models.record("encoder", VINTAGE)
    folds = {"folds": {"train": [str(days[0]), str(days[-2]), len(days) - 1]}}
    home.models.save("encoder", "shown-1", {"weights.safetensors": b"e"}, folds, own.born, own.through, "promoted")
    for day in days:
        rows = LAKE.fingerprints(day).with_columns(vintage=pl.lit("shown-1"))
        wide = pl.concat([rows.with_columns(symbol=pl.col("symbol") + f".{copy}") for copy in range(4)])
        noise = np.random.default_rng(day.toordinal()).normal(day == LAST, 1, (wide.height, 128)).astype(np.float32)
        wide = wide.with_columns(pl.Series("fingerprint", noise, dtype=wide.schema["fingerprint"]))
        if day == days[0]:
            wide = wide.clear()  # a session in which no symbol had features
        put("fingerprints", day, {"fingerprints": wide}, home.for_vintage("shown-1"))
        factors = pl.concat(
            [LAKE.daily_factors(day).with_columns(symbol=pl.col("symbol") + f".{copy}") for copy in range(4)]
        )
        put("daily_factors", day, {"daily_factors": factors}, home)
    found, before = (vitals.fingerprint_drift(day, "shown-1", home) for day in (LAST, days[-2]))
    assert found is not None and before is not None
    assert found.value > 10 * found.band
    assert before.value < found.band


def test_the_exposition_is_whole_cheap_and_open_to_a_reader(home: Stores) -> None:
    now = datetime(2024, 12, 20, 14, tzinfo=UTC)
    record_nights([(LAST, "red", ("parity", "neighbours"), now, "parity: 3")], now, home.ledger)
    raise_alerts("webhook", {f"night {LAST}": Alert("red", "parity", {})}, home.ledger)
    record_vitals(LAST, stored(LAST, home.ledger), home.ledger)  # again: the same rows
    with connect(home.settings, role="reader") as connection:
        started = time.process_time()
        rows = connection.execute(QUERY).fetchall()
        text = exposition(rows).decode()
        assert time.process_time() - started < 1
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families.keys() <= HELP.keys()
    assert HELP.keys() - families.keys() == {
        *(f"fpm_fingerprint_drift{end}" for end in ("", "_band", "_covered")),  # this vintage has no folds
        "fpm_tracking_error_realised",  # three sessions realise nothing yet
        *HELP.keys() & {f"fpm_risk_{name}" for name in vitals.RISK} - families.keys(),  # too few windows yet
    }
    sample = {
        (each.name, *sorted(each.labels.values())): each.value for one in families.values() for each in one.samples
    }
    assert sample["fpm_nights", "red"] == 1 and sample["fpm_open_steps",] == 2
    assert sample["fpm_served_symbols", "dual"] == 30
    assert sample["fpm_alerts_undelivered",] == 1
    assert sample["fpm_served_session_timestamp_seconds",] == datetime(2024, 12, 20, tzinfo=UTC).timestamp()
    assert sample["fpm_tracking_error_predicted", "CSI300"] > 0
    assert sample["fpm_job_rows", "publish"] == 0 and sample["fpm_job_duration_seconds", "portfolio"] > 0


def test_labels_with_every_sign_survive_the_text() -> None:
    label = 'a "quoted" \\ back\nline'
    text = exposition([("fpm_nights", {"state": label}, 2.0)]).decode()
    (family,) = text_string_to_metric_families(text)
    assert (family.samples[0].labels, family.samples[0].value) == ({"state": label}, 2.0)

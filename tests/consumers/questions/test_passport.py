"""A passport states what a home holds, and a check finds the first thing that differs."""

from __future__ import annotations

import json
from datetime import date, timedelta
from hashlib import sha256

import polars as pl
import pytest

from consumers.questions import passport, report
from fpm.errors import InputRefused, UsageError
from fpm.report.passport import seal, unseal
from fpm.sessions import cut_off
from tests.consumers.questions.conftest import LAST, MONDAY
from tests.consumers.small_lake import SCORER, VINTAGE, SmallLake, put

LAKE = SmallLake()


def silent(done: int, total: int, what: object) -> None:
    """No progress bar."""


@pytest.fixture(scope="module")
def issued_home(scored_home, tmp_path_factory):
    with scored_home.extended(tmp_path_factory.mktemp("issued") / "home", report.write) as home:
        yield home


@pytest.fixture
def scored(issued_home, tmp_path):
    """The scored home with its report."""
    with issued_home.copied(tmp_path / "home") as stores:
        yield stores


@pytest.fixture
def issued(scored):
    """The passport beside that report."""
    return scored.settings.reports / passport.NAME


def difference(path, stores) -> str:
    return str(passport.check(path, stores, silent).difference)


def test_it_states_what_is_on_the_disk(issued, scored):
    stated = unseal(issued.read_bytes())
    for relative, sha in stated["partitions"].items():
        assert sha256((scored.lake.root / relative).read_bytes()).hexdigest() == sha
    assert len(stated["partitions"]) == sum(table["sessions"] for table in stated["data"].values())
    lines = [f"{sha}  {path}\n" for path, sha in sorted(stated["partitions"].items()) if path.startswith("labels/")]
    assert stated["data"]["labels"]["sha256"] == sha256("".join(lines).encode()).hexdigest()
    assert stated["data"]["labels"] | {"sha256": ""} == {
        "sessions": 9,
        "rows": 108,
        "first": "2024-12-02",
        "last": "2024-12-12",
        "sha256": "",
    }
    assert set(stated["models"]["encoder"]) == {VINTAGE} and set(stated["models"]["scorer"]) == {SCORER}
    assert stated["models"]["scorer"][SCORER]["files"]["weights.safetensors"] == sha256(b"s").hexdigest()
    for name in ("report.html", "report.json", "report.md"):
        assert stated["report"][name] == sha256(issued.with_name(name).read_bytes()).hexdigest()
    assert stated["deployment"]["market"] == "cn" and stated["deployment"]["profile"] is None
    assert stated["known_at"]["last_score"] == cut_off(scored.market, LAST).isoformat()


def test_the_figures_are_the_reports(issued):
    stated, twin = unseal(issued.read_bytes()), json.loads(issued.with_name("report.json").read_bytes())
    for stream in ("fingerprint", "traditional", "dual"):
        for name in ("rank_ic", "rank_ic_all_days", "newey_west", "bootstrap", "icir"):
            assert stated["figures"]["streams"][stream][name] == twin["streams"][stream][name]
    assert stated["trials"]["count"] == twin["trials"] == 1


def test_nothing_changed_is_no_difference_and_the_same_bytes(issued, scored):
    answer = passport.check(issued, scored, silent)
    assert answer.equal and answer.added == 0 and answer.counts["models"] == 2
    before = issued.read_bytes()
    report.write(scored)
    assert issued.read_bytes() == before


def test_what_came_later_is_no_difference(issued, scored):
    """New sessions, new labels of judged sessions: the figures are computed as of the passport's moment."""
    for session in LAKE.fill(scored, LAST + timedelta(days=1), date(2024, 12, 27)):
        assert session > LAST
    for session in scored.sessions("scores")[9:12]:
        moment = cut_off(scored.market, date(2024, 12, 27))
        put("labels", session, {"labels": labelled(session, moment)}, scored)
    answer = passport.check(issued, scored, silent)
    assert answer.equal and answer.added > 15


def labelled(session: date, known_at) -> pl.DataFrame:
    """Labels that became known when their horizon had closed."""
    return LAKE.labels(session).with_columns(created_timestamp=pl.lit(known_at).dt.cast_time_unit("us"))


def test_a_partition_that_was_changed_is_named(issued, scored):
    partition = scored.lake.root / "labels/session=2024-12-03/part-0.parquet"
    partition.write_bytes(partition.read_bytes() + b"\0")
    first = difference(issued, scored)
    assert first.startswith("partitions / labels/session=2024-12-03/part-0.parquet is ")
    partition.unlink()
    assert " is null, " in difference(issued, scored)


def test_a_corrected_session_is_a_difference(issued, scored):
    """The lake keeps both versions, so the session's file is another one."""
    later = pl.lit(cut_off(scored.market, date(2024, 12, 31))).dt.cast_time_unit("us")
    served = scored.read("scores", MONDAY).drop("session")
    revised = served.with_columns(pl.col("score").reverse(), created_timestamp=later)
    put("scores", MONDAY, {"scores": pl.concat([served, revised])}, scored)
    assert "partitions / scores/session=2024-12-02" in difference(issued, scored)


def test_other_weights_and_a_model_that_is_gone_are_named(issued, scored):
    weights = scored.models.root / "scorer" / SCORER / "weights.safetensors"
    weights.write_bytes(b"t")
    assert difference(issued, scored).startswith(f"models / scorer / {SCORER} / files / weights.safetensors is ")
    scored.ledger.execute("DELETE FROM fpm.models WHERE kind = 'scorer'")
    assert difference(issued, scored).startswith(f"models / scorer / {SCORER} is \u2013")


def test_a_report_that_was_touched_is_named_one_that_is_not_beside_it_is_not_missed(issued, scored, tmp_path):
    alone = tmp_path / "alone.json"
    alone.write_bytes(issued.read_bytes())
    issued.with_name("report.md").write_text("better figures\n")
    assert difference(issued, scored).startswith("report / report.md is ")
    assert passport.check(alone, scored, silent).equal


@pytest.mark.parametrize(
    ("section", "path", "value", "message"),
    [
        ("code", ("files", "fpm/evaluation/evaluate.py"), "0" * 64, "code / files / fpm/evaluation/evaluate.py is "),
        ("environment", ("versions", "numpy"), "1.0", "environment / versions / numpy is "),
        ("environment", ("machine", "processor"), "abacus", "environment / machine / processor is "),
        ("deployment", ("preset",), "default", 'deployment / preset is "tiny", the passport says "default"'),
        ("figures", ("streams", "dual", "rank_ic"), 0.5, "figures / streams / dual / rank_ic is "),
    ],
)
def test_other_code_machine_deployment_or_figures_are_named(issued, scored, section, path, value, message):
    """A passport issued elsewhere: its seal is valid, and one thing in it differs."""
    stated = unseal(issued.read_bytes())
    parent = stated[section]
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = value
    issued.write_bytes(seal(stated))
    assert difference(issued, scored).startswith(message)


def test_sources_are_hashed_file_by_file_and_as_one(tmp_path):
    for name, text in (("fpm/a.py", "a"), ("consumers/b.py", "b"), ("tests/c.py", "c"), ("fpm/report/page.css", "d")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    sources = passport.code(tmp_path)
    assert sources["files"] == {name: sha256(name[-4].encode()).hexdigest() for name in ("consumers/b.py", "fpm/a.py")}
    (tmp_path / "fpm/a.py").write_text("other")
    assert passport.code(tmp_path)["sha256"] != sources["sha256"]


def test_no_file_and_no_passport(stores, tmp_path):
    with pytest.raises(UsageError, match="FPM-PASS-003"):
        passport.check(tmp_path / "passport.json", stores, silent)
    (tmp_path / "passport.json").write_text("{}")
    with pytest.raises(InputRefused, match="FPM-PASS-001"):
        passport.check(tmp_path / "passport.json", stores, silent)


def test_the_command_answers_by_its_exit_code(issued, scored, command):
    answer = command(scored, "passport", "--json")
    assert answer.code == 0 and json.loads(answer.output)["equal"] is True
    assert command(scored, "passport", "--check", str(issued)).code == 0
    issued.with_name("report.json").write_text("{}")
    answer = command(scored, "passport", "--check", str(issued), "--json")
    assert answer.code == 1
    assert json.loads(answer.output)["first difference"].startswith("report / report.json is ")
    assert command(scored, "passport", "--check", "nowhere.json").code == 2
    issued.write_bytes(b"{}")
    answer = command(scored, "passport")
    assert answer.code == 1 and "FPM-PASS-001" in answer.errors

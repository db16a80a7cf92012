"""`fpm evaluate protocol` on a home: what every peer scores, and that none knows the future."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
import pytest
from pydantic import SecretStr
from scipy import stats

from consumers import scorer, scores
from consumers.questions import peers, protocol
from consumers.questions.peer_inputs import peer_panels
from fpm.cross_section import z_score
from fpm.features.intraday_statistics import intraday_statistics
from fpm.schema import ALPHA158, FEATURES, STREAMS
from fpm.sessions import cut_off
from fpm.store.jobs.runner import backfill, publish_frames
from fpm.store.ledger.stores import Stores, open_stores
from fpm.store.postgres.server import Server
from fpm.store.retrieval import features
from fpm.store.settings import Settings
from tests.consumers.questions.conftest import Command
from tests.consumers.small_nights import VINTAGE, calendar, known_from, publish, silent
from tests.databases import fresh_database
from tests.fpm.nn.scorer.small_panel import small_panel

LONG, SYMBOLS, THROUGHS = 58, 24, (30, 42)  # sessions; two scorers, through these
COLUMNS = FEATURES["bar_32"]


@dataclass(frozen=True)
class Panel:
    """A home with its market's sessions, its scores as served, and the peers of its two scorers."""

    stores: Stores
    days: list[date]
    served: pl.DataFrame
    folds: list[protocol.Fold]
    scored: pl.DataFrame

    def of(self, name: str) -> pl.DataFrame:
        """The scores of one peer."""
        return self.scored.filter(pl.col("model") == name).sort("session", "symbol")


@pytest.fixture(scope="module")
def panel(postgres_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    """Two folds with a strong signal in both streams and in the bars, all scored."""
    with fresh_database(postgres_server) as url:
        home = tmp_path_factory.mktemp("panel")
        stores = open_stores(Settings(home=home, market="cn15", preset="tiny", database_url=SecretStr(url)))
        features.apply(stores.settings)
        stores.decide_profile("bar_32")
        small = small_panel(sessions=LONG, symbols=SYMBOLS, strength=0.5)
        publish(stores, small)
        days = calendar(stores, LONG)
        publish_minutes(stores, days, z_score(small.oracles["dual"].T).T)
        for through, end in zip(THROUGHS, (THROUGHS[1], LONG - 1), strict=True):
            scorer.train(days[through], VINTAGE, stores, silent)
            backfill(scores, days[through + 1], days[end], stores, silent)
        served = stores.read_served("scores", days[0], days[LONG - 1])
        yield Panel(stores, days, served, *protocol.peer_scores(served, stores, silent))
        stores.ledger.close()


def publish_minutes(stores: Stores, days: list[date], driver_TS: np.ndarray) -> None:
    """Features of noise; volume moves from the first half of a session to the second with the label's driver."""
    slots, random = stores.market.view_size(stores.profile.view), np.random.default_rng(8)
    symbols = np.repeat([f"{600000 + s}.SH" for s in range(SYMBOLS)], slots)
    keys = {"symbol": symbols, "slot": np.tile(np.arange(slots, dtype=np.int16), SYMBOLS), "profile": "bar_32"}
    for day, driver_S in zip(days, driver_TS, strict=False):
        x_SMF = np.abs(random.normal(size=(SYMBOLS, slots, len(COLUMNS)))).astype(np.float32)
        x_SMF[:, :, COLUMNS.index("volume")] *= np.exp(driver_S[:, None] * np.linspace(-1, 1, slots))
        values = [pl.Series(name, x_SMF[:, :, f].ravel()) for f, name in enumerate(COLUMNS)]
        publish_frames("minute_features", day, {"minute_features": pl.DataFrame(keys).with_columns(values)}, stores)


def test_every_peer_scores_what_the_scorer_scored(panel: Panel) -> None:
    keys = ["session", "symbol"]
    expected = panel.served.filter(pl.col("stream") == "dual").select(keys).sort(keys)
    for name in protocol.PEERS:
        assert panel.of(name).select(keys).equals(expected), name
    assert panel.scored["score"].is_finite().all()


def test_the_plain_peers_are_those_of_evaluate_peers(panel: Panel) -> None:
    _, plain = peers.peer_scores(panel.served, panel.stores, silent)
    for name, other in ((protocol.LINEAR, "linear"), (protocol.TREES, "LightGBM")):
        own = plain.filter(pl.col("stream") == "dual", pl.col("model") == other).sort("session", "symbol")
        assert panel.of(name)["score"].to_numpy() == pytest.approx(own["score"].to_numpy())


def test_reversal_and_blend_by_the_tables(panel: Panel) -> None:
    day = panel.days[THROUGHS[1] + 3]
    today = panel.scored.filter(pl.col("session") == day).pivot("model", index="symbol", values="score").sort("symbol")
    factors = panel.stores.read("daily_factors", day, columns=["symbol", "return_5"]).sort("symbol")
    returns = factors.filter(pl.col("symbol").is_in(today["symbol"].to_list()))["return_5"]
    assert today[protocol.REVERSAL].to_numpy() == pytest.approx(-returns.to_numpy())
    ranks = [stats.rankdata(today[name].to_numpy()) for name in protocol.PEERS if name != protocol.BLEND]
    assert today[protocol.BLEND].to_numpy() == pytest.approx((np.mean(ranks, axis=0) - 0.5) / len(today))


def test_other_inputs_stand_on_the_scorer_s_grid(panel: Panel) -> None:
    base, through, day = panel.folds[0].base, panel.days[THROUGHS[0]], panel.days[20]
    knowledge = panel.stores.as_of(cut_off(panel.stores.market, through)).named_apart(through)
    wide_TSF = peer_panels(base.lesson.panel, knowledge).wide.factor_TSF
    symbols = base.lesson.panel.symbols
    rows = panel.stores.read("minute_features", day).filter(pl.col("symbol").is_in(symbols)).sort("symbol", "slot")
    x_STF = rows.select(COLUMNS).to_numpy().reshape(len(symbols), -1, len(COLUMNS))
    statistics = intraday_statistics(x_STF, COLUMNS)
    assert wide_TSF.shape[2] == len(ALPHA158) + len(statistics)
    column = len(ALPHA158) + list(statistics).index("front_loading")
    own_S = wide_TSF[base.lesson.panel.position[day], :, column].numpy()
    assert stats.spearmanr(own_S, statistics["front_loading"])[0] > 0.99, "winsorised values tie"
    assert own_S.mean() == pytest.approx(0, abs=1e-5) and own_S.std() == pytest.approx(1, abs=1e-4)


def test_the_command_gives_figures_of_every_model(panel: Panel, command: Command) -> None:
    printed = command(panel.stores, "evaluate", "protocol", "--json")
    assert printed.code == 0
    answer = json.loads(printed.output)
    rows = {row["model"]: row for row in answer["rank_ic"]}
    assert list(rows) == [*STREAMS, *protocol.PEERS]
    for name in (protocol.LINEAR, protocol.TREES, protocol.WIDE, protocol.BARS):
        assert rows[name]["rank_ic"] > 0.15, name
        assert rows[name]["low"] < rows[name]["rank_ic"] < rows[name]["high"]
        assert rows[name]["sessions"] == LONG - 6 - THROUGHS[0] - 1, "scored, and six sessions later there is a label"
    assert answer["best_peer"] == max(protocol.PEERS, key=lambda name: rows[name]["validation"])
    differences = {row["less"]: row["difference"] for row in answer["paired"]}
    assert list(differences) == [name for name in rows if name != "dual"]
    for name in (protocol.LINEAR, protocol.BARS):
        assert differences[name] == pytest.approx(rows["dual"]["rank_ic"] - rows[name]["rank_ic"])
    assert len(answer["books"]) == 2 * len(rows) and answer["horizon"] == 5
    for row in answer["books"]:
        for points in (5, 10, 20):
            assert row[f"net_{points}"] == pytest.approx(row["gross"] - points / 1e4 * row["traded"])
    assert len(answer["settings"]) == len(answer["folds"]) == len(THROUGHS)
    assert [trial["models"] for trial in answer["tried"]] == [len(THROUGHS)], "one setting, two scorers"


def test_validation_is_of_the_validation_sessions(panel: Panel) -> None:
    """The dual stream's RankIC there by scipy, from its scorer's own scores."""
    for fold in panel.folds:
        days = fold.base.lesson.split.validation
        assert {len(values) for values in fold.validation.values()} == {len(days)}
        assert set(fold.validation) == {*STREAMS, *protocol.PEERS}
        factors = panel.stores.read("daily_factors", days[0], columns=["symbol", "return_5"])
        labels = panel.stores.read("labels", days[0], columns=["symbol", "label"]).join(factors, on="symbol")
        own = stats.spearmanr(-labels["return_5"], labels["label"])[0]
        assert fold.validation[protocol.REVERSAL][0] == pytest.approx(own, abs=0.02), "labels are winsorised"


def test_what_became_known_after_a_cut_off_changes_nothing(panel: Panel) -> None:
    """Features corrected after the last night, of sessions that trained and that were scored: the same bits."""
    stores, days = panel.stores, panel.days
    arrival = cut_off(stores.market, days[LONG + 1])
    for day in (days[20], days[THROUGHS[1] + 2]):
        rows = stores.read("minute_features", day).drop("session")
        revised = known_from(rows.with_columns(volume=-pl.col("volume")), arrival)
        publish_frames("minute_features", day, {"minute_features": pl.concat([rows, revised], how="diagonal")}, stores)
    _, again = protocol.peer_scores(panel.served, stores, silent)
    assert again.equals(panel.scored)

"""Models: stored whole or not at all, verified when loaded, in force only for later sessions."""

from datetime import UTC, date, datetime

import pytest

from fpm.errors import ModelRefused, StoreCorrupt, TryLater
from fpm.schema import FEATURES
from fpm.sessions import cut_off
from fpm.store.ledger.models import Model
from fpm.store.ledger.stores import Stores
from tests.fpm.store.small_bars import CN

THROUGH = date(2026, 1, 5)
BORN = cut_off(CN, THROUGH)


def save(
    stores: Stores,
    name: str = "m1",
    *,
    content: bytes = b"weights",
    kind: str = "scorer",
    through: date = THROUGH,
    status: str = "promoted",
) -> Model:
    return stores.models.save(
        kind, name, {"weights.safetensors": content}, {"K": 3}, cut_off(CN, through), through, status
    )


def test_a_saved_model_comes_back(stores: Stores) -> None:
    saved = save(stores)
    assert saved == stores.models.load("scorer", "m1")
    assert (saved.manifest, saved.born, saved.through) == ({"K": 3}, datetime(2026, 1, 5, 12, tzinfo=UTC), THROUGH)
    assert (saved.path / "weights.safetensors").read_bytes() == b"weights"
    assert (saved.path / "manifest.json").read_bytes() == b'{"K":3}'
    assert save(stores) == saved
    assert [model.id for model in stores.models.list("scorer")] == ["m1"]


def test_saving_again_changes_no_file_but_damaged_ones(stores: Stores) -> None:
    path = save(stores).path / "weights.safetensors"
    before = path.stat().st_ino
    save(stores)
    assert path.stat().st_ino == before
    path.write_bytes(b"damaged")
    save(stores)
    assert path.read_bytes() == b"weights"
    assert {path.name for path in stores.settings.models.rglob("*")} == {
        "scorer",
        "m1",
        "manifest.json",
        "weights.safetensors",
    }


def test_an_id_belongs_to_one_content(stores: Stores) -> None:
    save(stores)
    with pytest.raises(ModelRefused, match="FPM-ML-302"):
        save(stores, content=b"others")
    assert (stores.models.load("scorer", "m1").path / "weights.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("damage", [b"weightz", b"", None])
def test_damaged_weights_are_not_loaded(stores: Stores, damage: bytes | None) -> None:
    path = save(stores).path / "weights.safetensors"
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(StoreCorrupt, match="FPM-ML-310"):
        stores.models.load("scorer", "m1")
    with pytest.raises(StoreCorrupt, match="FPM-ML-310"):
        stores.models.in_force("scorer", date(2026, 1, 6))


def test_what_a_killed_save_left_is_replaced(stores: Stores) -> None:
    folder = stores.settings.models / "scorer/m1"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"half")
    assert (save(stores).path / "weights.safetensors").read_bytes() == b"weights"


def test_the_newest_promoted_model_that_may_serve_is_in_force(stores: Stores) -> None:
    save(stores, "old")
    save(stores, "new", content=b"2", through=date(2026, 1, 8))
    save(stores, "refused", content=b"3", through=date(2026, 1, 9), status="refused")
    answers = {day: stores.models.in_force("scorer", date(2026, 1, day)).id for day in (6, 8, 9, 12)}
    assert answers == {6: "old", 8: "old", 9: "new", 12: "new"}
    with pytest.raises(TryLater, match="FPM-ML-304"):
        stores.models.in_force("scorer", THROUGH)  # it was trained on that session


def test_an_encoder_serves_only_after_its_purge(stores: Stores) -> None:
    """Through Monday 5 January; six sessions lie between (6, 7, 8, 9, 12, 13): the 14th is the first."""
    save(stores, kind="encoder")
    with pytest.raises(TryLater, match="FPM-ML-304"):
        stores.models.in_force("encoder", date(2026, 1, 13))
    assert stores.models.in_force("encoder", date(2026, 1, 14)).id == "m1"
    assert stores.for_vintage("m1").model("encoder", date(2026, 1, 6)).id == "m1"


def test_unknown_names_are_refused(stores: Stores) -> None:
    with pytest.raises(TryLater, match="FPM-ML-303"):
        stores.models.load("scorer", "nobody")
    with pytest.raises(ModelRefused, match="FPM-ML-301"):
        save(stores, kind="oracle")
    with pytest.raises(ModelRefused, match="FPM-ML-301"):
        save(stores, status="perhaps")


# --- another feature schema -------------------------------------------------------------------------------------
def with_manifest(stores: Stores, kind: str, name: str, through: date, **manifest: object) -> Model:
    files = {"weights.safetensors": name.encode()}
    return stores.models.save(kind, name, files, dict(manifest), cut_off(CN, through), through, "promoted")


def test_the_old_model_goes_on_where_a_newer_one_reads_other_features(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    stores.decide_profile("bar_32")
    ours = list(FEATURES["bar_32"])
    with_manifest(stores, "encoder", "old", THROUGH, features=ours)
    with_manifest(stores, "encoder", "new", date(2026, 1, 7), features=[*ours[1:], "tomorrow"])
    day = date(2026, 1, 22)
    assert stores.models.in_force("encoder", day).id == stores.models.record_in_force("encoder", day).id == "old"
    assert f"encoder new is of another feature schema: missing here tomorrow, extra here {ours[0]}" in (
        capsys.readouterr().err
    )
    with_manifest(stores, "scorer", "reads old", date(2026, 1, 8), vintage="old")
    with_manifest(stores, "scorer", "reads new", date(2026, 1, 9), vintage="new")
    with_manifest(stores, "scorer", "reads beauty", date(2026, 1, 12), features={"traditional": ["beauty"]})
    assert stores.models.in_force("scorer", day).id == "reads old"


def test_without_a_model_of_these_features_the_newest_is_refused_by_name(stores: Stores) -> None:
    with_manifest(stores, "scorer", "one", THROUGH, features={"traditional": ["beauty"]})
    with pytest.raises(ModelRefused, match=r"FPM-ML-340 .*scorer one .*stream traditional: missing here beauty"):
        stores.models.in_force("scorer", date(2026, 1, 7))

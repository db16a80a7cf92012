"""Damaged files of every kind through every reader: each is read or refused with a code, and nothing else happens.

Own files (lake, checkpoint, receipts) are read with the values that were written, or not at all.
"""

import math
import random
from collections import Counter
from pathlib import Path

import pytest

from fpm.errors import FpmError
from tests.damaged_files import Reader, mutant, readers

FEW, MANY = 14, 50_000


def outcome(reader: Reader, number: int, folder: Path, sound: object) -> str:
    """`read`, or the code of the refusal; fails where a reader does anything else."""
    path = folder / reader.name
    content = mutant(reader.content, random.Random(f"{reader.name} {number}"))
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    try:
        answer = reader.read(path)
    except FpmError as error:
        return error.code
    except BaseException as error:
        raise AssertionError(f"mutant {number} of {reader.name}: {type(error).__name__}: {error}") from error
    if reader.own and answer != sound:
        assert answer is reader.lost, f"mutant {number} of {reader.name} is read with other values"
        return "lost"
    return "read"


def damaged(reader: Reader, count: int, folder: Path) -> Counter[str]:
    """The outcomes of so many mutants of one reader."""
    own = folder / "mutants" / reader.name.replace(".", "_") / "receipts"
    own.mkdir(parents=True)
    (own / reader.name).write_bytes(reader.content)
    sound = reader.read(own / reader.name)
    assert sound is not reader.lost
    return Counter(outcome(reader, number, own, sound) for number in range(count))


@pytest.fixture(scope="module")
def every_reader(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reader]:
    return {reader.name: reader for reader in readers(tmp_path_factory.mktemp("sound"))}


def test_mutants_are_read_or_refused(every_reader: dict[str, Reader], tmp_path: Path) -> None:
    counts = Counter[str]()
    for reader in every_reader.values():
        counts.update(damaged(reader, FEW, tmp_path))
    assert counts["read"] and len(counts) > 10  # the mutants are neither all harmless nor all refused for one reason


NAMES = (
    "bars.parquet", "bars.csv", "summed.parquet", "daily_bars.parquet", "daily_bars.csv", "index_members.parquet",
    "index_members.csv", "members_SP500.parquet", "members_SP500.csv", "symbols.parquet", "symbols.csv",
    "scores.parquet", "scores.csv", "holdings.parquet", "holdings.csv", "restrictions.parquet", "restrictions.csv",
    "vectors.parquet",
    "trades.parquet", "entities.parquet", "entities.csv", "calendar.csv", "markets.toml", "mandate.toml", "model.toml",
    "settings.txt", "passport.json", "exchange.json", "checkpoint.safetensors", "part-0.parquet", "0123.json",
    "inbox.json", "archive.json",
)  # fmt: skip


def test_every_reader_has_its_fifty_thousandth(every_reader: dict[str, Reader]) -> None:
    assert tuple(every_reader) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_fifty_thousand_mutants(name: str, every_reader: dict[str, Reader], tmp_path: Path) -> None:
    """Each reader its share, in a test of its own: a run that was stopped goes on with `-k` or `--failed-first`."""
    counts = damaged(every_reader[name], math.ceil(MANY / len(NAMES)), tmp_path)
    print(name, dict(counts.most_common()))
    assert counts["read"]

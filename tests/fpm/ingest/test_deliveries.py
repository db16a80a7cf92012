"""Files that share a day are read together, directly or through a third file; others one by one, by first day."""

from itertools import permutations
from pathlib import Path

from fpm.ingest.deliveries import batches

DAYS = {"a": (1,), "b": (2,), "c": (1, 2), "d": (9,), "e": (4, 5), "f": (5, 6), "g": (6,)}
TOGETHER = [["a", "b", "c"], ["e", "f", "g"], ["d"]]


def written(folder: Path, name: str, days: tuple[int, ...]) -> Path:
    path = folder / f"{name}.csv"
    path.write_text("minute\n" + "".join(f"2026-01-{day:02d} 09:31\n" for day in days))
    return path


def test_files_that_share_a_day_are_one_batch(tmp_path: Path) -> None:
    paths = [written(tmp_path, name, days) for name, days in DAYS.items()]
    for order in list(permutations(paths))[::997]:
        assert [[path.stem for path in batch] for batch in batches(order)] == TOGETHER


def test_unreadable_files_are_batches_of_their_own_at_the_end(tmp_path: Path) -> None:
    paths = [written(tmp_path, name, days) for name, days in (("a", (1,)), ("x", ()), ("y", ()))]
    for path in paths[1:]:
        path.write_bytes(b"\0")
    assert [[path.stem for path in batch] for batch in batches([paths[2], *paths[:2]])] == [["a"], ["x"], ["y"]]

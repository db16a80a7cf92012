"""The identity of code: what computes makes it, and nothing else does; on every Python that the package allows."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fpm.errors import FpmError
from fpm.store.jobs.code_identity import PACKAGES, Sources, code_digest

ROOT = Path(__file__).parents[4]
MINORS = ("3.11", "3.12")

# A job, and a chain of three imports below it.
TREE = {
    "jobs/__init__.py": '"""Jobs."""\n',
    "rooms/__init__.py": '"""Rooms."""\n',
    "rooms/plumbing/__init__.py": "",
    "rooms/plumbing/log.py": "def say(word):\n    print(word)\n",
    "rooms/sums.py": '''"""Sums."""


def total(values: list[float]) -> float:
    """Their sum."""
    return sum(values) + 0.0
''',
    "rooms/means.py": '''"""Means."""
from rooms.sums import total


def mean(values, least=1):
    return total(values) / max(len(values), least)
''',
    "rooms/shapes.py": '''"""Shapes."""
import math
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

from rooms import means


@dataclass(frozen=True)
class Shape:
    """A shape."""

    unit: ClassVar[str] = "m"
    width: float = 1.0
    height: float = 2.0

    def area(self):
        ...


@cache
def middle(shape):
    edges = [shape.width, shape.height]
    return means.mean(edges) + math.sqrt(2)
''',
    "jobs/job.py": '''"""A job."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rooms import shapes
from rooms.plumbing import log

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT: int = 1_000


def run(session, stores, *, words: Sequence[str] = ()):
    """Compute."""
    log.say(f"{session!r:>10} " "of " f"{LIMIT}")
    if words:
        return math.floor(LIMIT) - len(words)
    return shapes.middle(shapes.Shape())
''',
}


def digest(root: Path, changes: dict[str, str | None] | None = None, job: str = "jobs/job.py") -> str:
    """Digest of the job in a tree written below `root`; `changes`: file -> text, None to leave it out."""
    for name, text in (TREE | (changes or {})).items():
        if text is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return Sources(root, ("jobs", "rooms"), ("rooms.plumbing",)).digest(root / job)


def edited(name: str, old: str, new: str) -> dict[str, str]:
    assert old in TREE[name]
    return {name: TREE[name].replace(old, new)}


@pytest.fixture
def before(tmp_path: Path) -> str:
    return digest(tmp_path / "before")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("jobs/job.py", '"""Compute."""', '"""Compute what a session asks for."""'),
        ("rooms/sums.py", '    """Their sum."""\n', ""),
        ("rooms/shapes.py", '    """A shape."""\n', '    """A\n    shape.\n    """\n'),
        ("rooms/shapes.py", "        ...", '        """Nobody knows."""'),
        ("rooms/means.py", "    return", "    # at least one\n    return"),
        ("rooms/means.py", "(values, least=1)", "(\n    values,\n    least=1,\n)"),
        ("rooms/means.py", "total(values) / max", "(total(values)) / max"),
        ("jobs/job.py", "1_000", "1000"),
        ("jobs/job.py", 'f"{session!r:>10} " "of " f"{LIMIT}"', "f'{session!r:>10} of {LIMIT}'"),
        ("rooms/sums.py", "(values: list[float]) -> float:", "(values):"),
        ("rooms/sums.py", "values: list[float]", "values: tuple[float, ...]"),
        ("rooms/shapes.py", "width: float", "width: int"),
        ("rooms/shapes.py", "    edges = ", "    edges: list[float] = "),
        ("jobs/job.py", "LIMIT: int = ", "LIMIT = "),
        ("jobs/job.py", "import Sequence", "import Collection, Sequence"),
        (
            "jobs/job.py",
            "import math\nfrom typing import TYPE_CHECKING",
            "from typing import TYPE_CHECKING\nimport math",
        ),
        (
            "rooms/shapes.py",
            "import math\nfrom dataclasses import dataclass, field",
            "from dataclasses import field, dataclass\nimport math",
        ),
        ("rooms/plumbing/log.py", "print(word)", "print(word, flush=True)"),
    ],
)
def test_what_does_not_compute_changes_nothing(before: str, tmp_path: Path, name: str, old: str, new: str) -> None:
    assert digest(tmp_path / "after", edited(name, old, new)) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("rooms/sums.py", "+ 0.0", "- 0.0"),  # three imports away
        ("rooms/sums.py", "+ 0.0", "+ 0"),
        ("rooms/means.py", "least=1", "least=2"),
        ("rooms/means.py", "import total", "import total as mean_total, other as total"),
        ("rooms/shapes.py", "@cache\n", ""),
        ("rooms/shapes.py", "frozen=True", "frozen=False"),
        ("rooms/shapes.py", "    height: float = 2.0\n", ""),
        ("rooms/shapes.py", "    height: float = 2.0\n", "    height: float = 2.0\n    depth: float\n"),
        (
            "rooms/shapes.py",
            "width: float = 1.0\n    height: float = 2.0",
            "height: float = 2.0\n    width: float = 1.0",
        ),
        ("rooms/shapes.py", "width: float", "breadth: float"),
        ("rooms/shapes.py", "width: float = 1.0", "width = 1.0"),
        ("rooms/shapes.py", "unit: ClassVar[str]", "unit: str"),
        ("rooms/shapes.py", "math.sqrt", "math.exp"),
        ("rooms/shapes.py", "import math", "import cmath as math"),
        ("jobs/job.py", "1_000", "1_001"),
        ("jobs/job.py", "!r:>10", "!s:>10"),
        ("jobs/job.py", ":>10", ":>11"),
        ("jobs/job.py", '"of "', '"off "'),
        ("jobs/job.py", "*, words", "words"),
        ("jobs/job.py", "import math", "import math\nimport rooms.sums"),  # for its effect
        ("jobs/job.py", "import shapes", "import sums as shapes"),
    ],
)
def test_what_computes_changes_the_digest(before: str, tmp_path: Path, name: str, old: str, new: str) -> None:
    assert digest(tmp_path / "after", edited(name, old, new)) != before


def test_a_base_class_may_read_annotations(tmp_path: Path) -> None:
    """Pydantic converts by them; a Protocol and a dataclass without bases do not read types."""
    texts = {
        (base, kind): f"from pydantic import BaseModel\nfrom typing import Protocol\n\nclass A{base}:\n    x: {kind}\n"
        for base in ("(BaseModel)", "(Protocol)", "")
        for kind in ("int", "float")
    }
    digests = {key: digest(tmp_path, {"rooms/sums.py": text}, "rooms/sums.py") for key, text in texts.items()}
    assert digests["(BaseModel)", "int"] != digests["(BaseModel)", "float"]
    assert digests["(Protocol)", "int"] == digests["(Protocol)", "float"]
    assert digests["", "int"] == digests["", "float"] != digests["(Protocol)", "int"]


def test_an_import_for_annotations_may_say_so_or_not(tmp_path: Path) -> None:
    plain = "from rooms.means import mean\n\n\ndef f(x: mean): ...\n"
    said = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    " + plain
    assert digest(tmp_path / "a", {"rooms/shapes.py": plain}) == digest(tmp_path / "b", {"rooms/shapes.py": said})


def test_modules_that_move_or_change_their_names_change_nothing(before: str, tmp_path: Path) -> None:
    changes = {
        "rooms/sums.py": None,
        "rooms/deep/__init__.py": '"""Moved."""\n',
        "rooms/deep/adding.py": TREE["rooms/sums.py"],
        "rooms/means.py": TREE["rooms/means.py"].replace("rooms.sums", "rooms.deep.adding"),
        "rooms/shapes.py": None,
        "rooms/forms.py": TREE["rooms/shapes.py"]
        .replace("import means", "import means as averages")
        .replace("means.m", "averages.m"),
        "rooms/plumbing/log.py": None,
        "rooms/plumbing/record.py": TREE["rooms/plumbing/log.py"],
        "jobs/job.py": None,
        "jobs/work.py": TREE["jobs/job.py"].replace("shapes", "forms").replace("log", "record"),
    }
    assert digest(tmp_path / "after", changes, "jobs/work.py") == before


def test_a_dotted_import_follows_its_module(tmp_path: Path) -> None:
    text = "import rooms.{name}\n\n\ndef middle(shape):\n    return rooms.{name}.mean([shape.width])\n"
    means = TREE["rooms/means.py"]
    first = digest(tmp_path / "a", {"rooms/shapes.py": text.format(name="means")})
    renamed = {"rooms/means.py": None, "rooms/averages.py": means, "rooms/shapes.py": text.format(name="averages")}
    assert digest(tmp_path / "b", renamed) == first
    other = {"rooms/shapes.py": text.format(name="means"), "rooms/means.py": means.replace("/", "*")}
    assert digest(tmp_path / "c", other) != first


def test_an_alias_that_is_bound_twice_is_no_other_function(tmp_path: Path) -> None:
    """Renaming the import of `means` must not hide that the parameter is no longer what is returned."""
    text = "from rooms import means as {alias}\n\n\ndef f(a):\n    return {value}\n"
    first = digest(tmp_path / "a", {"rooms/shapes.py": text.format(alias="a", value="a")})
    second = digest(tmp_path / "b", {"rooms/shapes.py": text.format(alias="b", value="b")})
    assert first != second


def test_imports_that_share_an_alias_keep_their_scopes(tmp_path: Path) -> None:
    """Neither two functions' imports nor one that hides a builtin in one function only may change places."""
    one = "def {0}(v):\n    from rooms.{1} import x\n    return x(v)\n"
    two = one.format("f", "{0}") + one.format("g", "{1}")
    first = digest(tmp_path / "a", {"rooms/shapes.py": two.format("sums", "means")})
    assert digest(tmp_path / "b", {"rooms/shapes.py": two.format("means", "sums")}) != first
    hides = "{0}\ndef f(v):\n    {1}\n    return max(v)\n\n\ndef g(v):\n    return max(v)\n"
    everywhere = digest(tmp_path / "c", {"rooms/shapes.py": hides.format("from rooms.sums import max", "")})
    assert digest(tmp_path / "d", {"rooms/shapes.py": hides.format("", "from rooms.sums import max")}) != everywhere


def test_modules_that_import_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FpmError, match=r"FPM-JOB-011  .*means -> sums -> means"):
        digest(tmp_path, {"rooms/sums.py": "from rooms.means import mean\n"})


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Another checkout, that nobody edits while it is read."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_another_checkout_gives_the_same_digest(checkout: Path) -> None:
    script = "from fpm.store.jobs.code_identity import code_digest; print(code_digest('consumers/scores.py'))"
    there = subprocess.run([sys.executable, "-c", script], cwd=checkout, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == code_digest(str(ROOT / "consumers/scores.py"))


def test_every_job_has_a_digest_of_its_own() -> None:
    jobs = [
        path
        for folder in ("producers", "consumers")
        for path in (ROOT / folder).glob("*.py")
        if path.stem != "__init__"
    ]
    assert len({code_digest(str(path)) for path in jobs}) == len(jobs) > 10
    assert code_digest(None) == ""


GOLDEN_SOURCE = '''"""A little of everything, above all what Python minors have parsed differently."""
import os.path
from math import pi as π, tau


@tuple
class Pair(dict, metaclass=type):
    """A pair."""
    left: "int" = -1
    right: complex = 1e-3j

def f(a, /, b: int = 0x_ff, *rest: str, c=None, d, **more) -> "Pair":
    """Words."""
    text = f"{a!r:>{b}}" "and" f"{{{c=}}}" rf"\\d{d:}" f"" f"{π:.3f} é\\N{BULLET}"
    with open(a) as x, open(b) as y: pass
    try:
        del a
    except* (KeyError, ValueError) as wrong:
        raise RuntimeError from wrong
    match a:
        case {"k": [1, *_, None], **others} if others: return others
        case Pair(left=-1 | 2j) as whole: return whole
    return lambda u, *, v=b"\\x00", **w: [*rest, *(x async for x in w), {**more, u: ...}, u if v else tau, u[1:, ::2]]
'''
GOLDEN = "19190a50612503123ca6fc1773aa10fe30bc6f5a9c4d9643ee647ce3da8dce8d"


def test_the_digest_is_the_one_it_always_was(tmp_path: Path) -> None:
    """A change of this digest is a change of every home's: all its partitions would be computed again."""
    path = tmp_path / "golden.py"
    path.write_text(GOLDEN_SOURCE)
    assert Sources(tmp_path, ()).digest(path) == GOLDEN


def other_minor() -> str | None:
    """A Python of another minor that the package allows, on the path or among pyenv's."""
    here = f"3.{sys.version_info.minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in MINORS:
        if minor != here:
            for path in (*sorted(pyenv.glob(f"{minor}.*/bin/python")), shutil.which(f"python{minor}")):
                if path is not None:
                    return str(path)
    return None


def test_another_python_minor_gives_the_same_digests(checkout: Path) -> None:
    python = other_minor()
    if python is None:
        pytest.skip(f"no other Python of {', '.join(MINORS)} is here")
    (checkout / "golden.py").write_text(GOLDEN_SOURCE)
    paths = sorted(checkout.rglob("*.py"))
    script = (
        "import sys; from pathlib import Path; from fpm.store.jobs.code_identity import Sources\n"
        "sources = Sources(Path.cwd(), sys.argv[1].split(','))\n"
        "for line in sys.stdin: print(sources.digest(Path(line.strip())))"
    )
    there = subprocess.run(
        [python, "-c", script, ",".join(PACKAGES)],
        input="\n".join(map(str, paths)),
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    sources = Sources(checkout, PACKAGES)
    assert there.stdout.split() == [sources.digest(path) for path in paths]

"""The rooms and the arrows between them, held over the syntax tree.

Each room's docstring says what lives in it and what it may import:

commands -> producers | consumers (never each other) -> store | nn -> pure rooms of fpm.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("fpm", "producers", "consumers", "feature_repo", "migrations")
OUTSIDE_WORLD = {"feast", "psycopg", "psycopg_pool", "sqlalchemy", "alembic", "structlog", "pydantic_settings", "typer"}
FEAST_ROOMS = ("fpm.store.frames", "fpm.store.online", "fpm.store.retrieval", "fpm.store.http", "feature_repo")
VERSIONS = "migrations.versions"  # Alembic's folder: the revisions are its listing


def sources() -> list[Path]:
    return sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sources()}


def room(module: str) -> str:
    """The folder a module lives in; a package is its own room."""
    return module if modules()[module].name == "__init__.py" else module.rpartition(".")[0]


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module a file imports, wherever in the file; `from a import b` names `a.b` where that is a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules() else node.module for name in full.values()}
    return frozenset(names)


@cache
def docstring(name: str) -> str:
    return ast.get_docstring(ast.parse(modules()[name].read_text())) or ""


@cache
def allowed(name: str) -> frozenset[str]:
    """The rooms that a room's docstring lets it import, itself included."""
    said = re.search(r"^Imports: ([\w., \n]+)\.$", docstring(name), re.MULTILINE)
    assert said, f"the docstring of {name} does not end with its imports"
    return frozenset({name, *re.split(r",\s+", said[1])})


ROOMS = sorted({room(name) for name in modules()} - {VERSIONS})


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_names_its_modules_and_where_a_reader_begins(name: str) -> None:
    listed = re.findall(r"^    (\w+) ", docstring(name), re.MULTILINE)
    held = sorted(
        module.rpartition(".")[2]
        for module, path in modules().items()
        if path.name != "__init__.py" and room(module) == name
    )
    assert sorted(listed) == held or name == "feature_repo"
    assert len(held) < 2 or name == "migrations" or re.search(r"[Bb]egin at `[\w/]+`", docstring(name))


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_what_its_docstring_says(name: str) -> None:
    rooms = {
        room(target)
        for module, path in modules().items()
        if room(module) == name
        for target in imported(path)
        if target in modules()
    } - {name}
    assert rooms == allowed(name) - {name}, f"{name} imports {sorted(rooms)}"


def test_no_arrow_leads_back() -> None:
    def above(name: str, path: tuple[str, ...] = ()) -> None:
        assert name not in path, " -> ".join((*path, name))
        for other in allowed(name) - {name}:
            above(other, (*path, name))

    for name in ROOMS:
        above(name)


def test_producers_and_consumers_do_not_meet() -> None:
    assert not {name for name in allowed("producers") if name.startswith("consumers")}
    for name in ("consumers", "consumers.questions"):
        assert "producers" not in allowed(name)
    assert "consumers.questions" not in allowed("consumers")


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_the_outside_world_stays_in_the_store(path: Path) -> None:
    module = module_name(path)
    tops = {name.split(".")[0] for name in imported(path)}
    top, second, *_ = *module.split("."), "", ""
    pure = top == "fpm" and second not in ("store", "commands")
    if pure:
        assert not tops & OUTSIDE_WORLD, module
    if (pure and second != "nn") or second == "store":
        assert "torch" not in tops, module
    if "feast" in tops:
        assert module.startswith(FEAST_ROOMS), module


def test_feature_definitions_read_only_the_schema() -> None:
    own = {name for name in imported(ROOT / "feature_repo/definitions.py") if name.split(".")[0] in OURS}
    assert own == {"fpm.schema", "fpm.table"}


def test_no_file_is_longer_than_a_reader_wants() -> None:
    everything = [*sources(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in everything}
    assert not {name: count for name, count in lines.items() if count > 400}


def test_the_tests_mirror_the_source() -> None:
    """A module of `fpm` has its test at the same place below `tests`, if it has one of its own name."""
    for path in (ROOT / "tests" / "fpm").rglob("test_*.py"):
        assert (ROOT / path.parent.relative_to(ROOT / "tests")).is_dir(), path

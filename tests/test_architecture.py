"""The arrows of the design, held over the syntax tree: who may import whom, and how long a file may be.

cli, demo, schedule -> producers | consumers (never each other) -> store | nn -> pure fpm.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMAND_LAYER = {
    f"fpm.{name}"
    for name in ("arguments", "cli", "console", "demo", "model_arguments", "report_commands", "schedule", "tables")
}
OURS = ("fpm", "producers", "consumers", "feature_repo", "migrations")
OUTSIDE_WORLD = {"feast", "psycopg", "psycopg_pool", "sqlalchemy", "alembic", "structlog", "pydantic_settings", "typer"}
FEAST_ROOMS = {
    f"fpm.store.{name}"
    for name in ("features", "offline", "online", "online_answers", "engine", "feature_server", "quick_feast")
}


def sources() -> list[Path]:
    return sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """Every module name a file imports, wherever in the file, with `from a import b` as both `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer(module: str) -> str:
    top = module.split(".")[0]
    if module in COMMAND_LAYER:
        return "command"
    if top == "fpm":
        second = module.split(".")[1] if "." in module else ""
        return second if second in {"nn", "store"} else "pure"
    return top


MAY_IMPORT = {
    "pure": {"pure"},
    "nn": {"nn", "pure"},
    "store": {"store", "pure", "migrations"},
    "producers": {"producers", "nn", "store", "pure"},
    "consumers": {"consumers", "nn", "store", "pure"},
    "feature_repo": {"pure"},
    "migrations": {"store", "pure"},
    "command": {"command", "producers", "consumers", "nn", "store", "pure"},
}


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_imports_follow_the_arrows(path: Path) -> None:
    module = module_name(path)
    own = {name for name in imported(path) if name.split(".")[0] in OURS}
    wrong = {name for name in own if layer(name) not in MAY_IMPORT[layer(module)]}
    assert not wrong, f"{module} imports {sorted(wrong)}"


@pytest.mark.parametrize("path", sources(), ids=module_name)
def test_the_outside_world_stays_in_the_store(path: Path) -> None:
    module = module_name(path)
    tops = {name.split(".")[0] for name in imported(path)}
    if layer(module) in {"pure", "nn"}:
        assert not tops & OUTSIDE_WORLD, module
    if layer(module) in {"pure", "store"}:
        assert "torch" not in tops, module
    if "feast" in tops:
        assert module in FEAST_ROOMS or module.startswith("feature_repo"), module


def test_feature_definitions_read_only_the_schema() -> None:
    own = {n for n in imported(ROOT / "feature_repo/definitions.py") if n.split(".")[0] in OURS}
    assert {n for n in own if not n.startswith("fpm.schema")} <= {"fpm"}


def test_no_file_is_longer_than_a_reader_wants() -> None:
    everything = [*sources(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    long = {str(p.relative_to(ROOT)): n for p in everything if (n := len(p.read_text().splitlines())) > 400}
    assert not long

"""The README tells the truth: its commands exist, every command is documented, its tree is the tree of rooms."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from fpm.commands.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCS = sorted((ROOT / "docs").glob("*.md"))


def shell_lines() -> list[str]:
    """Every `fpm …` line of the README's shell blocks, prompt and comment removed."""
    blocks = re.findall(r"```(?:bash|console|sh)\n(.*?)```", README, re.DOTALL)
    lines = [line.strip().removeprefix("$ ").split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line.removeprefix(".venv/bin/") for line in lines if line.removeprefix(".venv/bin/").startswith("fpm ")]


def leaf(words: list[str]) -> tuple[object, list[str]]:
    """The command object that the words reach, and the words left over as its arguments."""
    command = get_command(app)
    while hasattr(command, "commands") and words:
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("line", shell_lines())
def test_every_command_of_the_readme_parses(line: str) -> None:
    command, arguments = leaf(shlex.split(line)[1:])
    command.make_context("fpm", arguments, resilient_parsing=False)  # type: ignore[attr-defined]


def test_every_command_is_documented() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert not [name for name in get_command(app).commands if f"## fpm {name}" not in page]  # type: ignore[attr-defined]
    mentioned = set(re.findall(r"`fpm ([a-z-]+)", README))
    assert mentioned <= set(get_command(app).commands), "the README names a command that does not exist"  # type: ignore[attr-defined]


def test_every_make_target_is_documented() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    pages = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert not [name for name in targets if not re.search(rf"make\s{name}\b", pages) and name != "help"]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in DOCS)])
def test_every_linked_file_exists(page: str) -> None:
    text, folder = (ROOT / page).read_text(encoding="utf-8"), (ROOT / page).parent
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not link.startswith("http")]
    assert not [link for link in links if not (folder / link).exists()]


def test_the_tree_names_every_room() -> None:
    tree = README.split("## The tree")[1].split("\n## ")[0]
    folders = [path for name in ("fpm", "producers", "consumers") for path in (ROOT / name).rglob("__init__.py")]
    assert not sorted(path.parent.name for path in folders if f"{path.parent.name}/" not in tree)


def test_the_readme_fits_in_three_screens() -> None:
    assert len(README.splitlines()) <= 160

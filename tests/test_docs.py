"""The README tells the truth: its commands exist, every command is documented, its tree is the tree."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from fpm.commands.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


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
    commands = get_command(app).commands  # type: ignore[attr-defined]
    documented = {words[1] for line in shell_lines() if len(words := line.split()) > 1}
    table = set(re.findall(r"`fpm ([a-z-]+)", README))
    missing = set(commands) - documented - table
    assert not missing, f"not in the README: {sorted(missing)}"


def test_every_make_target_is_documented() -> None:
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert not [target for target in targets if f"make {target}" not in README and target != "help"]


def test_every_linked_file_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert links and not [link for link in links if not (ROOT / link).exists()]


def test_the_tree_names_every_module() -> None:
    tree = README.split("## The tree")[1].split("\n## ")[0]
    modules = [path.stem for folder in ("fpm", "producers", "consumers") for path in (ROOT / folder).rglob("*.py")]
    assert not sorted({module for module in modules if module != "__init__" and module not in tree})

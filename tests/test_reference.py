"""The reference pages are what the code says: commands, settings, error codes."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GENERATOR = runpy.run_path(str(ROOT / "docs" / "generate.py"), run_name="generate")


@pytest.mark.parametrize("name", sorted(GENERATOR["PAGES"]))
def test_a_page_is_what_the_code_says(name: str) -> None:
    written = (ROOT / name).read_text(encoding="utf-8")
    assert written == GENERATOR["PAGES"][name](), "run: python docs/generate.py"


def test_every_code_in_the_source_is_on_the_page() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    sources = [path for folder in GENERATOR["SOURCES"] for path in (ROOT / folder).rglob("*.py")]
    codes = {code for path in sources for code in re.findall(r"FPM-[A-Z]+-\d{3}", path.read_text(encoding="utf-8"))}
    assert len(codes) > 200
    assert not sorted(code for code in codes if f"| {code} |" not in page)


def test_every_setting_and_command_is_explained() -> None:
    empty = re.compile(r"^\| `[^`]+` \|.*\| +\|$", re.MULTILINE)
    assert not empty.findall((ROOT / "docs" / "settings.md").read_text(encoding="utf-8"))
    assert "\n\n\n" not in (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")

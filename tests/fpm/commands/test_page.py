"""The page as a browser shows it: every view, wide and narrow, light and dark, by keyboard, without its script."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fpm.store.postgres.server import stop_server
from tests.browser import Browser, browser, program
from tests.page_home import Page, opened
from tests.small_home import TUESDAY, published_home

pytestmark = pytest.mark.skipif(program() is None, reason="this machine has no chromium")
SYMBOL = "600003.SH"
VIEWS = {
    "Tonight": "/",
    "The factor": "/factor",
    "Names": "/names",
    SYMBOL: f"/names?q={SYMBOL}",
    f"Portfolios after {TUESDAY}": "/portfolio",
    "Lineage": "/lineage",
    f"scores, {SYMBOL}, {TUESDAY}": f"/lineage?table=scores&session={TUESDAY}&symbol={SYMBOL}",
}
# Text whose contrast with what is behind it is below 4.5 to 1 (WCAG 2.2, 1.4.3), by its luminances.
FAINT = """
(() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const color = parts(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
  };
  const faint = [];
  for (const node of document.querySelectorAll("main *, .top *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || node.closest("svg") || !node.getClientRects().length) continue;
    const pair = [light(parts(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    if ((pair[0] + 0.05) / (pair[1] + 0.05) < 4.5) faint.push(node.className + ": " + node.textContent.trim());
  }
  return faint;
})()
"""


@dataclass
class Reader:
    """A browser that was let in."""

    page: Page
    tab: Browser

    def open(self, path: str) -> None:
        self.tab.open(self.page.address + path)

    def heading(self) -> str:
        return str(self.tab.value("document.querySelector('h1').textContent"))

    def has_focus(self, name: str) -> bool:
        """Whether an element has the focus, or soon has: the browser moves it after the key."""
        for _ in range(100):
            if self.tab.value("document.activeElement.id || document.activeElement.className") == name:
                return True
            time.sleep(0.05)
        return False


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    settings = published_home(tmp_path_factory.mktemp("browsed"))
    with opened(settings) as page, browser() as tab:
        tab.look(1280, 900)
        tab.open(page.link)
        yield Reader(page, tab)
    stop_server(settings)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 420])
def test_every_view_fits_and_says_nothing_to_the_console(reader: Reader, width: int, dark: bool) -> None:
    reader.tab.look(width, 900, dark=dark)
    for title, path in VIEWS.items():
        reader.open(path)
        assert reader.heading() == title
        assert reader.tab.value("document.documentElement.scrollWidth") <= width, path
        assert reader.tab.value("document.querySelectorAll('.card').length") >= 1
        assert reader.tab.value(FAINT) == [], path
    background = reader.tab.value("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 22, 29)" if dark else "rgb(246, 247, 249)")
    assert reader.tab.problems == []


def test_the_keyboard_reaches_everything(reader: Reader) -> None:
    reader.tab.look(1280, 900)
    reader.open("/")
    for key, title in zip("23451", ("The factor", "Names", "Portfolios", "Lineage", "Tonight"), strict=True):
        reader.tab.press(key, navigates=True)
        assert reader.heading().startswith(title)
    reader.tab.press("Tab")
    assert reader.has_focus("skip")
    box = reader.tab.value("document.activeElement.getBoundingClientRect().left")
    assert box >= 0 and reader.tab.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    reader.tab.press("Enter")
    assert reader.has_focus("main")
    reader.tab.press("/")
    assert reader.has_focus("q")
    for letter in "600003":
        reader.tab.press(letter)  # a digit in the field opens no view
    reader.tab.press("Enter", navigates=True)
    assert reader.heading() == SYMBOL and reader.tab.problems == []


def test_it_reads_without_its_script(reader: Reader) -> None:
    reader.tab.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        for title, path in VIEWS.items():
            reader.open(path)
            (_, nodes) = reader.tab.ask("DOM.getDocument"), reader.tab.ask("DOM.performSearch", query="//h1")
            found = reader.tab.ask(
                "DOM.getSearchResults", searchId=nodes["searchId"], fromIndex=0, toIndex=nodes["resultCount"]
            )
            shown = reader.tab.ask("DOM.getOuterHTML", nodeId=found["nodeIds"][0])["outerHTML"]
            assert title in shown
    finally:
        reader.tab.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert reader.tab.problems == []


def test_a_page_that_is_not_there_is_said_so(reader: Reader) -> None:
    reader.open("/nothing")
    assert reader.heading() == "There is nothing here"
    reader.tab.problems.clear()  # the browser notes the 404

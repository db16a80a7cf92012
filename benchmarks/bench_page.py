"""`fpm page` on a whole market: time to the link, first paint in a browser, and every view cold and warm.

Run `python benchmarks/bench_page.py [--symbols 5300] [--home FOLDER]`. The home is seeded (`night_home.py`, two to
three minutes; `--home` keeps it for the next). Cold: the first time after the start; the views that the page gathers
before anybody asks (Tonight, and then the factor, portfolio, names in a thread) are asked for at once. Warm: median and
largest of the runs after it. Floor, in the same run: the style sheet, which needs nothing but the server. First paint:
the browser's own First Contentful Paint from the link on, on a new profile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import measure
import night_home

sys.path.insert(0, str(Path(__file__).parent.parent))

from fpm.commands.agenda import agenda
from fpm.store.ledger.stores import open_stores
from fpm.store.postgres.server import stop_server
from fpm.store.settings import Settings
from tests.browser import Browser, browser, program
from tests.page_home import Page, opened

GOAL_PAINT, GOAL_VIEW, RUNS = 1000.0, 300.0, 20  # milliseconds
LAST, SYMBOL = night_home.BEFORE[-1], "600003.SH"
VIEWS = {
    "Tonight": "/",
    "The factor": "/factor",
    "Names, no question": "/names",
    "Names, one symbol": f"/names?q={SYMBOL}",
    "Names, a part of one": "/names?q=6030",
    "Portfolio": "/portfolio",
    "Lineage, no question": "/lineage",
    "Lineage, a score": f"/lineage?table=scores&session={LAST}&symbol={SYMBOL}",
    "Lineage, fingerprints": f"/lineage?table=fingerprints&session={LAST}",
    "Nearest stock-days": f"/names/similar?q={SYMBOL}&session={LAST}",
}
FLOOR = "/page.css"
PAINT = "performance.getEntriesByName('first-contentful-paint').map((entry) => entry.startTime)[0]"


def prepare(settings: Settings, symbols: int) -> None:
    """Seed a home; the night's look at it judges once whether its bars are whole, as every ingest does."""
    stores = open_stores(settings)
    if not stores.sessions("weights"):
        night_home.seed(stores, symbols)
    agenda(stores, datetime.now(UTC))
    stores.ledger.close()


def spent(page: Page, path: str) -> float:
    """Milliseconds of one request."""
    start = time.perf_counter()
    status, _, _ = page.ask(path)
    assert status == 200, (path, status)
    return 1e3 * (time.perf_counter() - start)


def timings(settings: Settings) -> list[list[object]]:
    """A row a view: kilobytes, cold, warm, largest, and the ratio to the floor."""
    with opened(settings) as page:
        page.enter()
        cold = {name: spent(page, path) for name, path in VIEWS.items()}
        floor = statistics.median(spent(page, FLOOR) for _ in range(RUNS))
        rows: list[list[object]] = []
        for name, path in VIEWS.items():
            warm = [spent(page, path) for _ in range(RUNS)]
            size, middle = len(page.ask(path)[2]) / 1e3, statistics.median(warm)
            rows.append([name, size, cold[name], middle, max(warm), middle / floor, _kept(max(warm), GOAL_VIEW)])
        return [*rows, ["floor: the style sheet", len(page.ask(FLOOR)[2]) / 1e3, "", floor, "", 1.0, ""]]


def paints(settings: Settings) -> list[list[object]]:
    """Seconds to the link, and the first paints of a new browser: the link, then every quick view."""
    rows: list[list[object]] = []
    start = time.perf_counter()
    with opened(settings) as page:
        ready = 1e3 * (time.perf_counter() - start)
        with browser() as tab:
            tab.look(1280, 900)
            tab.open(page.link)
            rows.append(["the link", ready, *_painted(tab)])
            for name, path in VIEWS.items():
                if "similar" not in path:
                    tab.open(page.address + path)
                    rows.append([name, "", *_painted(tab)])
    return rows


def _painted(tab: Browser) -> tuple[float, str]:
    """The first paint of the page that has just loaded; it may come after the load itself."""
    until = time.monotonic() + 5
    while (paint := tab.value(PAINT)) is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    return paint, _kept(paint, GOAL_PAINT)


def _kept(value: float, goal: float) -> str:
    return "yes" if value <= goal else "NO"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=5_300)
    parser.add_argument("--home", type=Path, help="keep the home here, or take the one that is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-page-") as folder:
        home = options.home or Path(folder) / "home"
        settings = Settings(home=home, market="cn", fsync=False, log_level="error")
        prepare(settings, options.symbols)
        try:
            heads = ["view", "kB", "cold ms", "warm ms", "largest ms", "of the floor", f"<= {GOAL_VIEW:g} ms"]
            measure.show(f"{options.symbols:,} symbols, one client", heads, timings(settings))
            if program():
                heads = ["first paint", "start ms", "paint ms", f"<= {GOAL_PAINT:g} ms"]
                measure.show("a new browser", heads, paints(settings))
        finally:
            stop_server(settings)


if __name__ == "__main__":
    main()

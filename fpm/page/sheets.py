"""HTML of a view, and the files that it names: a style, a script for keys and an icon.

No page has a script or a style within it, so the server may forbid both (`fpm.store.http.page_door`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from fpm.page.marks import MARKS
from fpm.page.views import VIEWS

if TYPE_CHECKING:
    from jinja2 import Template

    from fpm.page.views import View

KINDS = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
# A written report holds its script and styles within it. It gets an origin of its own: no cookie, no request anywhere.
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts"
)
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Sheet:
    """What one request gets: the status, the content and its kind.

    `place`: where to go instead. `policy`: what the content may do, where it is no page of ours.
    """

    status: int
    content: bytes
    kind: str = HTML
    place: str = ""
    policy: str = ""


def sheet(view: View, status: int = 200) -> Sheet:
    """The HTML of a view."""
    return Sheet(status, html(view).encode())


def html(view: View) -> str:
    """HTML of a view; every text that is not `Markup` is escaped."""
    return _template().render(view=view, places=VIEWS, shapes=MARKS)


@cache
def beside() -> dict[str, Sheet]:
    """The files that every page names, by path."""
    folder = files("fpm.page")
    return {f"/{name}": Sheet(200, folder.joinpath(name).read_bytes(), kind) for name, kind in KINDS.items()}


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files("fpm.page").joinpath("view.html.j2").read_text(encoding="utf-8"))

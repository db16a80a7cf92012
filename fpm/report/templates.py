"""HTML pages from the templates beside this module: plots inline, plotly's script once, no request to anywhere."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from markupsafe import Markup


def static(template: str, filters: Mapping[str, Callable[..., object]], content: Mapping[str, Any]) -> str:
    """Page of a template without any script: `NAME.html.j2` with page.css and, after it, `NAME.css`."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(filters)
    style = _markup(_text("page.css") + _text(template.split(".", maxsplit=1)[0] + ".css"))
    return environment.from_string(_text(template)).render(content, style=style)


def render(template: str, filters: Mapping[str, Callable[..., object]], content: Mapping[str, Any]) -> str:
    """Page of a template with plotly's script and the style sheet; every text that is not `Markup` is escaped."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(filters)
    source = environment.from_string(_text(template))
    return source.render(content, plotly=_markup(get_plotlyjs()), style=_markup(_text("page.css")))


def plot_html(figure: Any, element_id: str) -> Markup:
    """A plotly figure as an HTML element with an id."""
    config = {"displayModeBar": False, "responsive": True}
    return _markup(str(figure.to_html(full_html=False, include_plotlyjs=False, div_id=element_id, config=config)))


def _text(name: str) -> str:
    return files("fpm.report").joinpath(name).read_text(encoding="utf-8")


def _markup(html: str) -> Markup:
    from markupsafe import Markup

    return Markup(html)  # noqa: S704  plotly's and our own files, never a user's text

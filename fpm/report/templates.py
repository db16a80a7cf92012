"""HTML pages from the templates beside this module: no request to anywhere.

Plotly's script and the content of all plots are one gzip stream in base64, which the page's few own lines unpack: a
page is a third as large as with the script in plain (plotly.js 3: 4.8 MB, so packed 1.9 MB). Browsers unpack it since
2023 (https://developer.mozilla.org/docs/Web/API/DecompressionStream); an older one says so in the place of each plot.
"""

from __future__ import annotations

import json
from base64 import b64encode
from gzip import compress
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from markupsafe import Markup

CONFIG = '{"displayModeBar":false,"responsive":true}'
LONG, DIGITS = 100, 6  # points of a long series, and the digits of each
LEVEL = 6  # of gzip: 9 takes twice as long for one hundredth less


def static(template: str, filters: Mapping[str, Callable[..., object]], content: Mapping[str, Any]) -> str:
    """Page of a template without any script: `NAME.html.j2` with page.css and, after it, `NAME.css`."""
    style = _markup(_text("page.css") + _text(template.split(".", maxsplit=1)[0] + ".css"))
    return _rendered(template, filters, {**content, "style": style})


def render(
    template: str,
    filters: Mapping[str, Callable[..., object]],
    content: Mapping[str, Any],
    plots: Mapping[str, Any],
) -> str:
    """Page of a template with the style sheet; every text that is not `Markup` is escaped.

    `plots`: plotly figures by the id of their elements. The template has them as `plots`, HTML by id, and as `packed`.
    """
    places = {name: _place(name, figure) for name, figure in plots.items()}
    own = {"plots": places, "packed": packed(plots) if plots else "", "unpack": _markup(_text("plots.js"))}
    return _rendered(template, filters, {**content, **own, "style": _markup(_text("page.css"))})


def packed(plots: Mapping[str, Any]) -> Markup:
    """Plotly's script and the calls that draw `plots`, gzipped, in base64; the same plots give the same text."""
    from plotly.offline import get_plotlyjs
    from plotly.utils import PlotlyJSONEncoder

    calls = []
    for name, figure in plots.items():
        drawing = json.dumps(_drawn(figure.to_plotly_json()), separators=(",", ":"), cls=PlotlyJSONEncoder)
        calls.append(f'{{const f={drawing};Plotly.newPlot("{name}",f.data,f.layout,{CONFIG});}}')
    return _markup(b64encode(compress("\n".join([get_plotlyjs(), *calls]).encode(), LEVEL, mtime=0)).decode())


def _drawn(value: Any) -> Any:
    """A figure's content with the numbers of long series as exact as can be drawn."""
    if isinstance(value, dict):
        return {name: _drawn(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) if len(value) > LONG else _drawn(inner) for inner in value]
    return value


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _place(name: str, figure: Any) -> Markup:
    """The element of a plot, as tall as the plot, so that nothing moves when it is drawn."""
    return _markup(f'<div id="{name}" class="plot" style="height: {int(figure.layout.height or 450)}px"></div>')


def _rendered(template: str, filters: Mapping[str, Callable[..., object]], content: Mapping[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(filters)
    return environment.from_string(_text(template)).render(content)


def _text(name: str) -> str:
    return files("fpm.report").joinpath(name).read_text(encoding="utf-8")


def _markup(html: str) -> Markup:
    from markupsafe import Markup

    return Markup(html)  # noqa: S704  plotly's and our own files, never a user's text

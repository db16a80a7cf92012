"""Requests to the feature server: a body is checked whole against the catalogue before Feast sees it.

Every refusal has an HTTP status, a stable code, and words that say what to do, with the names most like a wrong one.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from fpm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_ENTITIES = 2_000  # Feast takes 10 µs per value: more than this belongs in SQL or Parquet
MOST_FEATURES = 500
LONGEST_KEY = 200
FIELDS = ("entities", "features", "feature_service", "full_feature_names")


class RequestRefused(UsageError):
    """A request whose answer is `status` and words instead of features; `headers` are added to it."""

    def __init__(
        self, status: int, *, code: str, wrong: str, todo: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code=code, wrong=wrong, effect="nothing was read", todo=todo)
        self.status, self.headers = status, headers or {}


@dataclass(frozen=True)
class Catalogue:
    """`features` and `keys` of every view online, and the views behind every service."""

    features: Mapping[str, Sequence[str]]
    keys: Mapping[str, Sequence[str]]
    services: Mapping[str, Sequence[str]]

    @cached_property
    def references(self) -> frozenset[str]:
        """Every `view:feature` that is served."""
        return frozenset(f"{view}:{name}" for view, names in self.features.items() for name in names)


def checked(body: bytes, catalogue: Catalogue) -> dict[str, Any]:
    """The request in Feast's form. Raises RequestRefused for anything else."""
    document = _parsed(body)
    if unknown := sorted(set(document) - set(FIELDS)):
        raise RequestRefused(
            422, code="FPM-HTTP-079", wrong=f"no field {_quoted(unknown[0])} is known", todo=f"give {', '.join(FIELDS)}"
        )
    if not isinstance(full := document.get("full_feature_names", False), bool):
        raise RequestRefused(
            422, code="FPM-HTTP-079", wrong="full_feature_names is not true or false", todo="give one of the two"
        )
    if (document.get("features") is None) == (document.get("feature_service") is None):
        raise RequestRefused(
            400,
            code="FPM-HTTP-070",
            wrong="neither or both of features and feature_service",
            todo="give one of the two",
        )
    if document.get("features") is not None:
        request: dict[str, Any] = {"features": _references(document["features"], catalogue, full)}
        views = list(dict.fromkeys(reference.split(":")[0] for reference in request["features"]))
    else:
        request = {"feature_service": _service(document["feature_service"], catalogue)}
        views = list(catalogue.services[request["feature_service"]])
    keys = list(dict.fromkeys(key for view in views for key in catalogue.keys[view]))
    return {**request, "entities": _entities(document.get("entities"), keys), "full_feature_names": full}


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body, object_pairs_hook=_without_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # ValueError: also for bytes that are no UTF-8
        raise RequestRefused(
            400, code="FPM-HTTP-078", wrong="the body is no JSON document", todo="send one JSON object"
        ) from None
    if not isinstance(document, dict):
        raise RequestRefused(
            400,
            code="FPM-HTTP-078",
            wrong="the body is no JSON object",
            todo=f"send one with {', '.join(FIELDS)}",
        )
    return document


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RequestRefused(
            400, code="FPM-HTTP-078", wrong="a JSON object names a field twice", todo="name every field once"
        )
    return fields


def _no_constant(constant: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python reads and JSON does not have."""
    raise RequestRefused(422, code="FPM-HTTP-074", wrong=f"{constant} is no JSON and no key", todo="give texts")


def _references(features: Any, catalogue: Catalogue, full: bool) -> list[str]:
    """A list of `view:feature`: all are served, and no two columns would have one name."""
    if not isinstance(features, list) or not features or not all(isinstance(name, str) for name in features):
        raise RequestRefused(
            422, code="FPM-HTTP-070", wrong="features is not a list of texts", todo='give e.g. ["scores:score"]'
        )
    if len(features) > MOST_FEATURES:
        raise RequestRefused(
            413,
            code="FPM-HTTP-076",
            wrong=f"{len(features)} features",
            todo=f"ask for at most {MOST_FEATURES}, or read by SQL",
        )
    if unknown := next((name for name in features if name not in catalogue.references), None):
        raise _unknown_reference(unknown, catalogue)
    views, columns = zip(*(reference.split(":") for reference in features), strict=True)
    keys = {key for view in set(views) for key in catalogue.keys[view]}
    names = Counter(features if full else columns)
    if twins := sorted(name for name, count in names.items() if count > 1 or name in keys):
        raise RequestRefused(
            400,
            code="FPM-HTTP-070",
            wrong=f"two columns would be called {_quoted(twins[0])}",
            todo="ask for each once, or set full_feature_names",
        )
    return features


def _unknown_reference(reference: str, catalogue: Catalogue) -> RequestRefused:
    """The refusal of what is no `view:feature` of the catalogue."""
    view, colon, feature = reference.partition(":")
    if not colon:
        return RequestRefused(
            400,
            code="FPM-HTTP-070",
            wrong=f"{_quoted(reference)} names no view",
            todo="write view:feature, e.g. scores:score",
        )
    if view not in catalogue.features:
        return RequestRefused(
            404,
            code="FPM-HTTP-070",
            wrong=f"no view {_quoted(view)} is served",
            todo=f"use one of {_nearest(view, catalogue.features)}",
        )
    return RequestRefused(
        404,
        code="FPM-HTTP-070",
        wrong=f"{view} has no feature {_quoted(feature)}",
        todo=f"use one of {_nearest(feature, catalogue.features[view])}",
    )


def _service(name: Any, catalogue: Catalogue) -> str:
    if not isinstance(name, str):
        raise RequestRefused(
            422,
            code="FPM-HTTP-070",
            wrong="feature_service is no text",
            todo=f"use one of {_nearest('', catalogue.services)}",
        )
    if name not in catalogue.services:
        raise RequestRefused(
            404,
            code="FPM-HTTP-070",
            wrong=f"no feature service {_quoted(name)} is served",
            todo=f"use one of {_nearest(name, catalogue.services)}",
        )
    return name


def _entities(columns: Any, keys: list[str]) -> dict[str, list[str]]:
    """One list of texts for each key, all of one length."""
    needed = f"give a list of texts for each of {', '.join(keys)}"
    if not isinstance(columns, dict) or not all(isinstance(column, list) for column in columns.values()):
        raise RequestRefused(
            422 if columns else 400, code="FPM-HTTP-072", wrong="entities is not an object of lists", todo=needed
        )
    if missing := [key for key in keys if key not in columns]:
        raise RequestRefused(400, code="FPM-HTTP-072", wrong=f"entities lacks {missing[0]!r}", todo=needed)
    if unknown := sorted(set(columns) - set(keys)):
        raise RequestRefused(
            400, code="FPM-HTTP-072", wrong=f"{_quoted(unknown[0])} is no key of what is asked for", todo=needed
        )
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise RequestRefused(422, code="FPM-HTTP-075", wrong="the lists of entities differ in length", todo=needed)
    if lengths == {0}:
        raise RequestRefused(400, code="FPM-HTTP-073", wrong="no entity is asked for", todo=needed)
    if (count := max(lengths)) > MOST_ENTITIES:
        raise RequestRefused(
            413,
            code="FPM-HTTP-076",
            wrong=f"{count} entities, at most {MOST_ENTITIES} a request",
            todo="ask in parts, or read the whole session from schema serving by SQL, or `fpm export`",
        )
    for key, column in columns.items():
        for row, cell in enumerate(column):
            if not isinstance(cell, str) or not is_text(cell):
                raise RequestRefused(
                    422,
                    code="FPM-HTTP-074",
                    wrong=f"{key} number {row} is no usable text",
                    todo="give texts, none empty",
                )
    return {key: columns[key] for key in keys}


def is_text(cell: str) -> bool:
    """Whether a text column can hold it: no lone surrogate, no NUL, not empty, not too long."""
    try:
        return 0 < len(cell.encode()) <= LONGEST_KEY and "\0" not in cell
    except UnicodeEncodeError:
        return False


def _nearest(name: str, names: Iterable[str]) -> str:
    """The names most like this one, or all where none is."""
    ordered = sorted(names)
    return ", ".join(get_close_matches(name[:LONGEST_KEY], ordered, n=5, cutoff=0.5) or ordered)


def _quoted(name: str) -> str:
    return ascii(name if len(name) <= 80 else name[:77] + "...")

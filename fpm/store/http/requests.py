"""What may be asked of the feature server: a body is checked whole against what is served before Feast sees it.

Every refusal has an HTTP status, a stable code, and words that say what to do; names that are near are named.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from fpm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_ENTITIES = 2_000  # Feast takes 10 µs a value: more than this belongs into SQL or Parquet
MOST_FEATURES = 500
LONGEST_KEY = 200
FIELDS = ("entities", "features", "feature_service", "full_feature_names")


class RequestRefused(UsageError):
    """A request that is answered with `status` and words, not with features; `headers` go back, too."""

    def __init__(self, status: int, code: str, wrong: str, todo: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code=code, wrong=wrong, effect="nothing was read", todo=todo)
        self.status, self.headers = status, headers or {}


@dataclass(frozen=True)
class Catalogue:
    """What is served: `features` and `keys` of every view, and the views behind every service."""

    features: Mapping[str, Sequence[str]]
    keys: Mapping[str, Sequence[str]]
    services: Mapping[str, Sequence[str]]


def checked(body: bytes, catalogue: Catalogue) -> dict[str, Any]:
    """The request in Feast's form. Raises RequestRefused for anything else."""
    asked = _parsed(body)
    if unknown := sorted(set(asked) - set(FIELDS)):
        _refuse(422, "FPM-HTTP-079", f"no field {_said(unknown[0])} is known", f"give {', '.join(FIELDS)}")
    if not isinstance(full := asked.get("full_feature_names", False), bool):
        _refuse(422, "FPM-HTTP-079", "full_feature_names is not true or false", "give one of the two")
    if (asked.get("features") is None) == (asked.get("feature_service") is None):
        _refuse(400, "FPM-HTTP-070", "neither or both of features and feature_service", "give one of the two")
    if asked.get("features") is not None:
        what: dict[str, Any] = {"features": _references(asked["features"], catalogue, full)}
        views = list(dict.fromkeys(reference.split(":")[0] for reference in what["features"]))
    else:
        what = {"feature_service": _service(asked["feature_service"], catalogue)}
        views = list(catalogue.services[what["feature_service"]])
    keys = list(dict.fromkeys(key for view in views for key in catalogue.keys[view]))
    return {**what, "entities": _entities(asked.get("entities"), keys), "full_feature_names": full}


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body, object_pairs_hook=_without_twins, parse_constant=_not_json)
    except (ValueError, RecursionError):  # ValueError: also what is no UTF-8
        _refuse(400, "FPM-HTTP-078", "the body is no JSON document", "send one JSON object")
    if not isinstance(asked, dict):
        _refuse(400, "FPM-HTTP-078", "the body is no JSON object", "send one with " + ", ".join(FIELDS))
    return asked


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        _refuse(400, "FPM-HTTP-078", "a JSON object names a field twice", "name every field once")
    return made


def _not_json(constant: str) -> NoReturn:
    _refuse(422, "FPM-HTTP-074", f"{constant} is no JSON and no key", "give texts")


def _references(given: Any, catalogue: Catalogue, full: bool) -> list[str]:
    """`view:feature`, each known, none twice and none in another's way."""
    if not isinstance(given, list) or not given or not all(isinstance(each, str) for each in given):
        _refuse(422, "FPM-HTTP-070", "features is not a list of texts", 'give e.g. ["scores:score"]')
    if len(given) > MOST_FEATURES:
        _refuse(413, "FPM-HTTP-076", f"{len(given)} features", f"ask for at most {MOST_FEATURES}, or read by SQL")
    for reference in given:
        view, colon, feature = reference.partition(":")
        if not colon:
            _refuse(400, "FPM-HTTP-070", f"{_said(reference)} names no view", "write view:feature, e.g. scores:score")
        if view not in catalogue.features:
            _refuse(404, "FPM-HTTP-070", f"no view {_said(view)} is served", _near(view, catalogue.features))
        if feature not in catalogue.features[view]:
            _refuse(
                404, "FPM-HTTP-070", f"{view} has no feature {_said(feature)}", _near(feature, catalogue.features[view])
            )
    keys = {key for reference in given for key in catalogue.keys[reference.split(":")[0]]}
    names = given if full else [reference.split(":")[1] for reference in given]
    if twins := sorted({name for name in names if names.count(name) > 1 or name in keys}):
        _refuse(
            400,
            "FPM-HTTP-070",
            f"two columns would be called {_said(twins[0])}",
            "ask for each once, or set full_feature_names",
        )
    return given


def _service(given: Any, catalogue: Catalogue) -> str:
    if not isinstance(given, str):
        _refuse(422, "FPM-HTTP-070", "feature_service is no text", _near("", catalogue.services))
    if given not in catalogue.services:
        _refuse(404, "FPM-HTTP-070", f"no feature service {_said(given)} is served", _near(given, catalogue.services))
    return given


def _entities(given: Any, keys: list[str]) -> dict[str, list[str]]:
    """One list of texts for each key, all of one length."""
    needed = f"give a list of texts for each of {', '.join(keys)}"
    if not isinstance(given, dict) or not all(isinstance(column, list) for column in given.values()):
        _refuse(422 if given else 400, "FPM-HTTP-072", "entities is not an object of lists", needed)
    if missing := [key for key in keys if key not in given]:
        _refuse(400, "FPM-HTTP-072", f"entities lacks {missing[0]!r}", needed)
    if unknown := sorted(set(given) - set(keys)):
        _refuse(400, "FPM-HTTP-072", f"{_said(unknown[0])} is no key of what is asked for", needed)
    lengths = {len(column) for column in given.values()}
    if len(lengths) > 1:
        _refuse(422, "FPM-HTTP-075", "the lists of entities differ in length", needed)
    if lengths == {0}:
        _refuse(400, "FPM-HTTP-073", "no entity is asked for", needed)
    if (count := max(lengths)) > MOST_ENTITIES:
        _refuse(
            413,
            "FPM-HTTP-076",
            f"{count} entities, at most {MOST_ENTITIES} a request",
            "ask in parts, or read the whole session from schema serving by SQL, or `fpm export`",
        )
    for key, column in given.items():
        for row, cell in enumerate(column):
            if not isinstance(cell, str) or not _is_text(cell):
                _refuse(422, "FPM-HTTP-074", f"{key} number {row} is no usable text", "give texts, none empty")
    return {key: given[key] for key in keys}


def _is_text(cell: str) -> bool:
    """What a text column can hold: no lone surrogate, no NUL, not empty, of a sane length."""
    try:
        return 0 < len(cell.encode()) <= LONGEST_KEY and "\0" not in cell
    except UnicodeEncodeError:
        return False


def _near(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    return f"use one of {', '.join(get_close_matches(name[:LONGEST_KEY], names, n=5, cutoff=0.5) or names)}"


def _said(name: str) -> str:
    return ascii(name if len(name) <= 80 else name[:77] + "...")


def _refuse(status: int, code: str, wrong: str, todo: str) -> NoReturn:
    raise RequestRefused(status, code, wrong, todo)

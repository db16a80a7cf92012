"""The features that a model reads beside those that a home has: a model of another schema may not score.

A newer version of the code, or another home, may have made it. The names that differ are said; a model that does not
record its features is judged by its profile's, one without either by nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm.errors import ModelRefused
from fpm.schema import DAILY_FACTORS, FEATURES, FINGERPRINT_SIZE, SCORER_DAILY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHOWN = 10  # names of a list in a message
FINGERPRINT = (*(f"fingerprint_{dimension}" for dimension in range(FINGERPRINT_SIZE)), *SCORER_DAILY)


def difference(kind: str, manifest: Mapping[str, Any], profile: str | None) -> str:
    """What a model's features are beside the home's, in words; "" where they agree.

    `profile`: the home's feature profile, None before it is decided. An encoder reads all its features in order; a
    scorer reads all of the fingerprint stream in order, and any of the daily factors.
    """
    if kind == "encoder":
        features = FEATURES.get(profile or "")
        return _in_order(_of_encoder(manifest), features) if features else ""
    if kind == "vectors":
        return ""  # nobody here knows what another encoder read
    features = manifest.get("features", {})
    own = FINGERPRINT if kind == "scorer" else features.get("fingerprint")  # a vintage from outside has its own length
    parts = {
        "fingerprint": _in_order(features.get("fingerprint", FINGERPRINT), own or FINGERPRINT),
        "traditional": _words([name for name in features.get("traditional", ()) if name not in DAILY_FACTORS], ()),
    }
    return "; ".join(f"stream {stream}: {words}" for stream, words in parts.items() if words)


def refusal(kind: str, model_id: str, words: str, effect: str) -> ModelRefused:
    """The error for a model of another schema."""
    return ModelRefused(
        code="FPM-ML-340",
        wrong=f"{kind} {model_id} is of another feature schema: {words}",
        effect=effect,
        todo=f"use the version of fpm that trained it, or train on the features in force: fpm train {kind}",
    )


def require_same(kind: str, model_id: str, manifest: Mapping[str, Any], profile: str | None, effect: str) -> None:
    """Raises ModelRefused with the names that differ where the model is of another schema."""
    if words := difference(kind, manifest, profile):
        raise refusal(kind, model_id, words, effect)


def _of_encoder(manifest: Mapping[str, Any]) -> Sequence[str] | None:
    own = manifest.get("features")
    own = FEATURES.get(manifest.get("profile", "")) if own is None else own
    return None if own is None else list(own)


def _in_order(trained: Sequence[str] | None, features: Sequence[str]) -> str:
    if trained is None or list(trained) == list(features):
        return ""
    missing, extra = (
        [name for name in one if name not in other] for one, other in ((trained, features), (features, trained))
    )
    return _words(missing, extra) if missing or extra else "the same features in another order"


def _words(missing: Sequence[str], extra: Sequence[str]) -> str:
    """`missing`: the model reads them and the home lacks them; `extra`: the home has them and the model does not."""
    parts = {"missing here": missing, "extra here": extra}
    return ", ".join(f"{name} {_shown(names)}" for name, names in parts.items() if names)


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return " ".join(names[:SHOWN]) + more

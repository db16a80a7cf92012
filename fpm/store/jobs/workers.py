"""Workers that compute sessions: local processes, or a Ray cluster (extra `ray`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fpm.store.settings import Settings

BATCHES = 4  # calls per worker in one go: joblib's Ray backend cannot return results one by one


def results(calls: Sequence[Any], settings: Settings) -> Iterator[Any]:
    """Results of joblib's delayed `calls`, in their order, as they become available.

    Raises UsageError where the engine is `ray` and Ray is not installed.
    """
    from joblib import Parallel

    if settings.engine == "processes":
        yield from Parallel(n_jobs=settings.workers, return_as="generator")(calls)
        return
    _register_ray()
    size = BATCHES * settings.workers
    for start in range(0, len(calls), size):
        yield from Parallel(n_jobs=settings.workers, backend="ray")(calls[start : start + size])


def _register_ray() -> None:
    try:
        from ray.util.joblib import register_ray
    except ImportError:
        raise UsageError(
            code="FPM-CFG-014",
            wrong="FPM_ENGINE=ray, but Ray is not installed",
            effect="nothing was computed",
            todo="pip install 'fpm[ray]'",
        ) from None
    register_ray()

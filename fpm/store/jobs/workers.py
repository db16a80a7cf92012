"""Workers that compute sessions: local processes, or the hosts of a Ray cluster (extra `ray`)."""

from __future__ import annotations

import os
import platform
from collections import deque
from typing import TYPE_CHECKING, Any

from fpm.environment import environment_fingerprint
from fpm.errors import TryLater, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fpm.store.settings import Settings

    Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]  # joblib's `delayed`

AHEAD = 4  # calls a worker that are handed to Ray beyond the one whose result is awaited
REPEATS = 3  # of a call whose worker or host ended
# A host without power answers no call and ends no connection: Ray knew that it was dead and awaited its answer for four
# minutes more, until it was stopped (docs/LOG.md). It reads these from the environment only.
SILENCE = {"RAY_grpc_client_keepalive_time_ms": "10000", "RAY_grpc_client_keepalive_timeout_ms": "15000"}


def results(calls: Sequence[Call], settings: Settings) -> Iterator[Any]:
    """Results of joblib's delayed `calls`, in their order, as they become available.

    Raises UsageError where the engine is `ray` and Ray is not installed, or where a host of the cluster would compute
    other numbers; TryLater where workers end again and again.
    """
    if settings.engine == "ray":
        yield from _on_ray(calls, settings.workers)
        return
    from joblib import Parallel

    yield from Parallel(n_jobs=settings.workers, return_as="generator")(calls)


def _on_ray(calls: Sequence[Call], workers: int) -> Iterator[Any]:
    """Results of tasks: Ray repeats one whose host died on another host, which it does not do for joblib's actors."""
    ray = cluster()
    task = ray.remote(max_retries=REPEATS)(_in_same_environment)
    ahead: deque[Any] = deque()
    for call in calls:
        if len(ahead) == AHEAD * workers:
            yield _result(ray, ahead.popleft())
        ahead.append(task.remote(call, environment_fingerprint()))
    while ahead:
        yield _result(ray, ahead.popleft())


def _in_same_environment(call: Call, expected: str) -> Any:
    """The call's result. Raises UsageError where this host's libraries or processor are others than the caller's."""
    if environment_fingerprint() != expected:
        raise UsageError(
            code="FPM-CFG-027",
            wrong=f"the worker host {platform.node()} has the environment {environment_fingerprint()}, the caller "
            f"{expected}",
            effect="nothing of that host was taken: other libraries or processors give other numbers",
            todo="install requirements*.lock on hosts of one class, or set FPM_ENGINE=processes",
        )
    function, arguments, named = call
    return function(*arguments, **named)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as wrong:  # the job's own error, in Ray's cover
        raise wrong.cause from None
    except ray.exceptions.RayError as wrong:
        raise TryLater(
            code="FPM-JOB-079",
            wrong=f"workers of Ray ended {REPEATS + 1} times: {type(wrong).__name__}",
            effect="what was published stays",
            todo="see `ray status` and the workers' memory, then run the same command again",
        ) from None


def cluster() -> Any:
    """Ray, connected: to RAY_ADDRESS, to a cluster of this machine, or to a new one for this process alone.

    Raises UsageError where it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise UsageError(
            code="FPM-CFG-014",
            wrong="FPM_ENGINE=ray, but Ray is not installed",
            effect="nothing was computed",
            todo="pip install 'fpm[ray]'",
        ) from None
    for name, value in SILENCE.items():
        os.environ.setdefault(name, value)
    if not ray.is_initialized():
        ray.init(configure_logging=False, log_to_driver=False, include_dashboard=False)
    return ray

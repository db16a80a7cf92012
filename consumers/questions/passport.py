"""The passport of a home's figures: issued beside the report, and checked against the home as it is now.

It holds the hashes that the ledger recorded; a check computes them again from the files. Data added since is no
difference: figures are computed again as of the moment that the passport names.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fpm
from consumers.questions import judgement
from fpm.errors import UsageError
from fpm.nn.machine import machine, versions
from fpm.report import passport
from fpm.report.data import ReportData, plain
from fpm.report.passport import Difference, first_difference
from fpm.schema import TABLES
from fpm.sessions import cut_off
from fpm.store.lake.files import LakeFile, parse, sha256_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm.progress import Progress
    from fpm.store.ledger.models import Model
    from fpm.store.ledger.stores import Stores

NAME = "passport.json"
SOURCES = ("fpm", "producers", "consumers", "feature_repo", "migrations")
FIGURES_REST_ON = ("scipy", "pyarrow", "cvxpy", "clarabel", "exchange-calendars")  # besides those of `machine`
KINDS = judgement.KINDS


@dataclass(frozen=True)
class Checked:
    """A check's counts of what it compared, the partitions added since, and the first difference, if any."""

    counts: Mapping[str, int]
    added: int
    difference: Difference | None

    @property
    def equal(self) -> bool:
        """Whether no difference was found."""
        return self.difference is None

    def to_dict(self) -> dict[str, Any]:
        """As a JSON document."""
        document = {"equal": self.equal, **self.counts, "partitions added since": self.added}
        return document if self.equal else document | {"first difference": str(self.difference)}


def issue(data: ReportData, files: Mapping[str, bytes], stores: Stores) -> bytes:
    """The passport of a report's figures; `files`: the report's own, by name.

    The same store and machine give the same bytes.
    """
    lake = stores.ledger.current(list(TABLES))
    content = {
        "deployment": deployment(stores),
        "known_at": _known_at(data, lake, stores),
        "figures": passport.headline(data),
        "trials": plain({"count": data.trials, "settings": [vars(trial) for trial in data.tried]}),
        "folds": plain([vars(fold) | _stretches(fold) for fold in data.folds]),
        "models": {kind: models(kind, stores) for kind in KINDS},
        "data": by_table(lake),
        "quarantined": [[rows.table, rows.code, rows.count] for rows in data.quarantined],
        "environment": environment(),
        "report": {name: sha256(content).hexdigest() for name, content in sorted(files.items())},
        "code": code(),
        "partitions": {path: lake[path].sha256 for path in sorted(lake)},
    }
    return passport.seal(content)


def check(path: Path, stores: Stores, progress: Progress) -> Checked:
    """Compare a passport with this home: deployment, report, partitions, models, code, environment, figures.

    It stops at the first difference. Raises UsageError where there is no such file, InputRefused where the file is not
    a valid passport.
    """
    stated = passport.unseal(_read(path))
    partitions = stated["partitions"]
    added = set(stores.ledger.current(list(TABLES))) - set(partitions)
    counts = {
        "partitions": len(partitions),
        "models": sum(map(len, stated["models"].values())),
        "source files": len(stated["code"]["files"]),
    }
    return Checked(counts, len(added), _first(stated, path.parent, stores, progress))


def _first(stated: Mapping[str, Any], folder: Path, stores: Stores, progress: Progress) -> Difference | None:
    """The first difference; a section is computed only where those before it are equal."""
    names = list(stated["partitions"])
    sections: Mapping[str, Callable[[], Any]] = {
        "deployment": lambda: deployment(stores),
        "report": lambda: {name: _file_hash(folder / name) or sha for name, sha in stated["report"].items()},
        "partitions": lambda: {path: _counted(n, names, stores, progress) for n, path in enumerate(names)},
        "models": lambda: {kind: _models_now(stated["models"][kind], kind, stores) for kind in stated["models"]},
        "code": code,
        "environment": environment,
        "figures": lambda: _figures_as_of(stated["known_at"]["data"], stores),
    }
    for name, compute in sections.items():
        difference = first_difference(stated[name], compute(), (name,))
        if difference is not None:
            return difference
    return None


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise UsageError(
            code="FPM-PASS-003",
            wrong=f"there is no file {path}",
            effect="nothing was compared",
            todo="fpm report writes one",
        )
    return path.read_bytes()


def _file_hash(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def _counted(number: int, names: list[str], stores: Stores, progress: Progress) -> str | None:
    progress(number + 1, len(names), names[number])
    return _file_hash(stores.lake.root / names[number])


# --- the sections ---------------------------------------------------------------------------------------------------


def deployment(stores: Stores) -> dict[str, Any]:
    """Market, preset, seed, profile, choices of a model file; on the synthetic exchange plan and hash of its oracle."""
    decisions = stores.ledger.deployment()
    profile = stores.profile if "profile" in decisions else None
    choices = {name: chosen for name, chosen in asdict(stores.settings.model_choices).items() if chosen}
    return {
        "market": stores.market.name,
        "preset": stores.settings.preset,
        "seed": stores.settings.seed,
        "profile": profile and {"name": profile.name, "view": profile.view, "hash": profile.hash},
        "synthetic": json.loads(decisions["synthetic"]) if "synthetic" in decisions else None,
        "oracle": _file_hash(judgement.oracle_file(stores)),
        **({"choices": plain(choices)} if choices else {}),
    }


def _known_at(data: ReportData, lake: Mapping[str, LakeFile], stores: Stores) -> dict[str, Any]:
    """The last moment at which anything in the lake became known, and the cut-offs of the first and last score."""
    first = min((fold.first for fold in data.folds), default=None)
    last = max((fold.last for fold in data.folds), default=None)
    return {
        "data": max(moment for file in lake.values() for moment in file.knowledge).isoformat(),
        "first_score": first and cut_off(stores.market, first).isoformat(),
        "last_score": last and cut_off(stores.market, last).isoformat(),
    }


def _stretches(fold: Any) -> dict[str, Any]:
    return {name: part and vars(part) for name, part in (("train", fold.train), ("validation", fold.validation))}


def models(kind: str, stores: Stores) -> dict[str, Any]:
    """Every model of a kind by its id: birth, training sessions, machine, settings, and the hashes of its files."""
    hashes = stores.models.hashes(kind)
    return {model.id: _model(model, hashes[model.id]) for model in stores.models.list(kind)}


def _model(model: Model, files: Mapping[str, str]) -> dict[str, Any]:
    names = (
        "vintage",
        "length",
        "profile_hash",
        "profile",
        "seeds",
        "folds",
        "mix",
        "versions",
        "machine",
        "compute",
        "inputs",
    )
    return {
        "born": model.born.isoformat(),
        "through": model.through.isoformat(),
        "status": model.status,
        "files": dict(files),
        **{name: model.manifest[name] for name in names if name in model.manifest},
    }


def _models_now(stated: Mapping[str, Any], kind: str, stores: Stores) -> dict[str, Any]:
    """The stated models as registered now, their files hashed again; a missing one is left out."""
    registered = {model.id: model for model in stores.models.list(kind) if model.id in stated}
    return {
        name: _model(model, {file: _file_hash(model.path / file) or "" for file in stated[name]["files"]})
        for name, model in registered.items()
    }


def by_table(lake: Mapping[str, LakeFile]) -> dict[str, Any]:
    """Sessions, rows, first, last and one digest of the partitions, by table (fingerprints: by vintage)."""
    grouped: dict[str, list[str]] = {}
    for path in sorted(lake):
        table, vintage, _ = parse(path)
        grouped.setdefault(f"{table}/{vintage}" if vintage else table, []).append(path)
    return {name: _table(paths, lake) for name, paths in grouped.items()}


def _table(paths: list[str], lake: Mapping[str, LakeFile]) -> dict[str, Any]:
    sessions = sorted(parse(path)[2] for path in paths)
    lines = "".join(f"{lake[path].sha256}  {path}\n" for path in paths)  # as sha256sum writes them
    return {
        "sessions": len(sessions),
        "rows": sum(lake[path].rows for path in paths),
        "first": sessions[0].isoformat(),
        "last": sessions[-1].isoformat(),
        "sha256": sha256(lines.encode()).hexdigest(),
    }


def code(root: Path | None = None) -> dict[str, Any]:
    """The package's version, the hash of each source file below `root`, and one digest of them all."""
    root = root or Path(fpm.__file__).parent.parent
    paths = sorted(path for folder in SOURCES for path in (root / folder).rglob("*.py"))
    files = {path.relative_to(root).as_posix(): sha256_of(path) for path in paths}
    lines = "".join(f"{sha}  {name}\n" for name, sha in files.items())
    return {"version": version("fpm"), "sha256": sha256(lines.encode()).hexdigest(), "files": files}


def environment() -> dict[str, Any]:
    """Python, the libraries that figures depend on, and the class of machine."""
    return {"versions": versions() | {name: version(name) for name in FIGURES_REST_ON}, "machine": machine()}


def _figures_as_of(moment: str, stores: Stores) -> dict[str, Any]:
    return passport.headline(judgement.gather(stores.as_of(datetime.fromisoformat(moment))))

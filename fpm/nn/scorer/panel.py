"""The panel of a scorer: sessions x symbols x inputs, in memory once and read through windows.

A window is a slice of the panel's sessions: no sample is copied, only the present batch is gathered. All vectors of a
panel come from ONE encoder vintage. The caller is responsible for point-in-time data.

Shapes: T sessions (oldest first), S symbols (sorted), D fingerprint, C daily values, F inputs, L look-back, B symbols
of one session, N rows of a frame. Missing is NaN in `daily_TSC`, 0 elsewhere, and False in `known_TS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from fpm import cross_section
from fpm.errors import LookAhead, ModelRefused
from fpm.schema import CLASSIC, FINGERPRINT_SIZE, PRICES, SCORER_DAILY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from fpm.cross_section import Array

Indices = NDArray[np.intp]  # of sessions or symbols of a panel, or of rows


@dataclass(frozen=True)
class Panel:
    """All inputs of one vintage over some sessions; `known_TS`: whether a symbol has a fingerprint in a session."""

    sessions: tuple[date, ...]
    symbols: tuple[str, ...]
    vintage: str
    fingerprint_TSD: Tensor
    daily_TSC: Array
    factor_TSF: Tensor
    known_TS: NDArray[np.bool_]

    @cached_property
    def position(self) -> dict[date, int]:
        """The index of each session along T."""
        return {session: t for t, session in enumerate(self.sessions)}

    def to(self, device: str) -> Panel:
        """The panel with its tensors on `device`, where its windows are then gathered."""
        return replace(self, fingerprint_TSD=self.fingerprint_TSD.to(device), factor_TSF=self.factor_TSF.to(device))


@dataclass(frozen=True)
class Statistics:
    """Mean and scale of each fingerprint dimension over the training sessions; saved with the model."""

    mean_D: Tensor
    scale_D: Tensor

    def to(self, device: torch.device) -> Statistics:
        """The statistics on `device`."""
        return Statistics(self.mean_D.to(device), self.scale_D.to(device))


@dataclass(frozen=True)
class View:
    """How windows are taken: `look_back` sessions L, symbols with `minimum` of them, fingerprints by `statistics`."""

    look_back: int
    minimum: int
    statistics: Statistics


@dataclass(frozen=True)
class Batch:
    """The networks' inputs for B symbols of one session: at most L sessions, oldest first, the session itself last.

    `fingerprint_LBF`: fingerprints and daily values; `factor_LBF`: traditional factors; `known_LB`: whether the symbol
    has data in that session; `label_B`: winsorised and z-scored, for training only.
    """

    fingerprint_LBF: Tensor
    factor_LBF: Tensor
    known_LB: Tensor
    label_B: Tensor | None = None

    def take(self, rows_B: Tensor) -> Batch:
        """The batch of some of its symbols."""
        label_B = None if self.label_B is None else self.label_B[rows_B]
        return Batch(self.fingerprint_LBF[:, rows_B], self.factor_LBF[:, rows_B], self.known_LB[:, rows_B], label_B)


def panel(frame: pl.DataFrame, sessions: Sequence[date], factors: Sequence[str] = CLASSIC) -> Panel:
    """The panel of a frame with symbol, session, vintage, fingerprint, adj_factor, the daily values and `factors`.

    Rows without a fingerprint are left out. Factors are MAD-winsorised and z-scored within each session; missing ones
    then become 0. Raises LookAhead for two vintages in one frame.
    """
    vintage = _one_vintage(frame)
    frame = frame.filter(pl.col("fingerprint").is_not_null() & pl.col("session").is_in(list(sessions)))
    symbols = tuple(frame["symbol"].unique().sort().to_list())
    indices = _grid_indices(frame, sessions, symbols)
    shape = (len(sessions), len(symbols))
    factor_TSF = _scatter(frame.select(factors).cast(pl.Float64).to_numpy(), indices, shape, np.nan)
    return Panel(
        tuple(sessions),
        symbols,
        vintage,
        torch.from_numpy(_scatter(_vectors(frame["fingerprint"]), indices, shape, 0.0)),
        _scatter(_daily(frame), indices, shape, np.nan),
        torch.from_numpy(np.stack([_processed(factor_SF) for factor_SF in factor_TSF])),
        _scatter(np.ones((len(frame), 1), dtype=np.bool_), indices, shape, False)[:, :, 0],
    )


def fingerprint_statistics(panel: Panel, sessions: Sequence[date]) -> Statistics:
    """Mean and standard deviation of each dimension over the fingerprints of `sessions`.

    A constant dimension gets scale 1. Raises ModelRefused where there is no fingerprint.
    """
    rows = [panel.position[session] for session in sessions]
    z_ND = panel.fingerprint_TSD[rows].numpy()[panel.known_TS[rows]].astype(np.float64)
    if not len(z_ND):
        raise ModelRefused(
            code="FPM-ML-330",
            wrong="the training sessions have no fingerprint",
            effect="nothing was trained; the model in force stays",
            todo="compute the fingerprints of this vintage first: fpm backfill fingerprints FIRST LAST",
        )
    scale_D = z_ND.std(axis=0)
    scale_D = np.where(scale_D > 1e-6, scale_D, 1.0)
    return Statistics(*(torch.from_numpy(values_D.astype(np.float32)) for values_D in (z_ND.mean(axis=0), scale_D)))


def scorable(panel: Panel, session: date, view: View) -> Indices:
    """Indices of the symbols with data at the session itself and in `view.minimum` sessions of the look-back."""
    known_LS = panel.known_TS[_span(panel, session, view)]
    return np.flatnonzero(known_LS[-1] & (known_LS.sum(axis=0) >= view.minimum))


def window(panel: Panel, session: date, columns_B: Indices, view: View) -> Batch:
    """The look-back of some symbols, which should be all of the session: daily values are z-scored across them."""
    (batch,) = windows(panel, session, columns_B, view, [np.arange(len(columns_B))])
    return batch


def windows(panel: Panel, session: date, columns_B: Indices, view: View, parts: Sequence[Indices]) -> Iterator[Batch]:
    """`window` in parts of its symbols, so that each symbol's look-back is gathered only once."""
    span, device = _span(panel, session, view), panel.fingerprint_TSD.device
    daily_LBC, statistics = daily_window(panel.daily_TSC[span][:, columns_B]), view.statistics.to(device)
    for rows in parts:
        columns = torch.from_numpy(columns_B[rows]).to(device)
        fingerprint_LBD = panel.fingerprint_TSD[span][:, columns].sub_(statistics.mean_D).div_(statistics.scale_D)
        yield Batch(
            torch.cat([fingerprint_LBD, torch.from_numpy(daily_LBC[:, rows]).to(device)], dim=-1),
            panel.factor_TSF[span][:, columns],
            torch.from_numpy(panel.known_TS[span][:, columns_B[rows]]).to(device),
        )


def daily_window(daily_LBC: Array) -> NDArray[np.float32]:
    """Daily values of one window (L, B, C), relative and then z-scored across the symbols; unavailable ones become 0.

    Prices: p / p_last - 1 with p_last the close of the last session. Flows: over the symbol's mean in the window.
    """
    prices = len(PRICES)
    last_close_B1 = daily_LBC[-1, :, [PRICES.index("close")]].T
    flow_LBC = daily_LBC[:, :, prices:]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_BC = np.nansum(flow_LBC, axis=0) / np.isfinite(flow_LBC).sum(axis=0)
        relative_LBC = np.concatenate([daily_LBC[:, :, :prices] / last_close_B1 - 1, flow_LBC / mean_BC], axis=-1)
    scored_BLC = cross_section.z_score(np.where(np.isfinite(relative_LBC), relative_LBC, np.nan).swapaxes(0, 1))
    return np.nan_to_num(scored_BLC, nan=0.0).swapaxes(0, 1).astype(np.float32)


@dataclass(frozen=True)
class LabelledSession:
    """A session to train on: its scorable symbols, their processed labels (NaN = none), and the rows that have one."""

    session: date
    columns_B: Indices
    label_B: Tensor
    rows: Indices


def labelled_sessions(
    panel: Panel, labels: pl.DataFrame, sessions: Sequence[date], view: View
) -> tuple[LabelledSession, ...]:
    """Those of `sessions` that can be trained on, with their labels (rows of symbol, session, label) as known.

    Labels are MAD-winsorised and z-scored within the session. A session with fewer than two labels has no ranks and is
    left out.
    """
    label_TS = _label_grid(panel, labels)
    trainable = []
    for session in sessions:
        columns_B = scorable(panel, session, view)
        label_B = cross_section.z_score(cross_section.mad_winsorise(label_TS[panel.position[session], columns_B]))
        rows = np.flatnonzero(np.isfinite(label_B))
        if len(rows) > 1:
            trainable.append(LabelledSession(session, columns_B, torch.from_numpy(label_B.astype(np.float32)), rows))
    return tuple(trainable)


@dataclass(frozen=True)
class SessionBatches:
    """Batches of one session each, for `fit`.

    The epoch decides the order of the training sessions; a session's symbols are split into equal random parts of at
    most `size`.
    """

    panel: Panel
    view: View
    train_sessions: tuple[LabelledSession, ...]
    validation_sessions: tuple[LabelledSession, ...]
    size: int

    def train(self, epoch: int) -> Iterator[Batch]:
        """The training batches of an epoch."""
        random = np.random.default_rng([1, epoch])
        for number in random.permutation(len(self.train_sessions)):
            yield from self._parts(self.train_sessions[number], random)

    def validation(self) -> Iterator[Batch]:
        """The validation batches, in order of the sessions."""
        for labelled in self.validation_sessions:
            yield from self._parts(labelled, np.random.default_rng(0))

    @cached_property
    def steps(self) -> int:
        """Training batches in an epoch."""
        return sum(self._count(labelled) for labelled in self.train_sessions)

    def _count(self, labelled: LabelledSession) -> int:
        return -(-len(labelled.rows) // self.size)

    def _parts(self, labelled: LabelledSession, random: np.random.Generator) -> Iterator[Batch]:
        parts = np.array_split(random.permutation(labelled.rows), self._count(labelled))
        batches = windows(self.panel, labelled.session, labelled.columns_B, self.view, parts)
        for rows, batch in zip(parts, batches, strict=True):
            yield replace(batch, label_B=labelled.label_B[rows].to(batch.known_LB.device))


def _span(panel: Panel, session: date, view: View) -> slice:
    last = panel.position[session]
    return slice(max(0, last - view.look_back + 1), last + 1)


def _one_vintage(frame: pl.DataFrame) -> str:
    vintages = sorted(frame["vintage"].drop_nulls().unique().to_list())
    if len(vintages) > 1:
        raise LookAhead(
            code="FPM-ML-331",
            wrong=f"vectors of {len(vintages)} encoder vintages ({', '.join(vintages[:3])}) in one panel",
            effect="nothing was computed",
            todo="read one vintage: the vectors of two trainings cannot be compared",
        )
    return vintages[0] if vintages else ""


def _daily(frame: pl.DataFrame) -> Array:
    """Adjusted open, high, low, close, volume in adjusted shares (price x volume stays), turnover: (N, C)."""
    prices = [pl.col(name) * pl.col("adj_factor") for name in PRICES]
    values = [*prices, pl.col("volume") / pl.col("adj_factor"), pl.col("turnover")]
    columns = [value.cast(pl.Float64).alias(name) for name, value in zip(SCORER_DAILY, values, strict=True)]
    return frame.select(columns).to_numpy()


def _processed(factor_SF: Array) -> NDArray[np.float32]:
    scored_SF = cross_section.z_score(cross_section.mad_winsorise(factor_SF))
    return np.nan_to_num(scored_SF, nan=0.0).astype(np.float32)


def _vectors(fingerprint: pl.Series) -> NDArray[np.float32]:
    """Shape (N, D); D is that of the vectors, or of ours where there are none."""
    lists = fingerprint.cast(pl.List(pl.Float32))
    length = len(lists[0]) if len(lists) else FINGERPRINT_SIZE
    return lists.explode(empty_as_null=False).to_numpy().astype(np.float32).reshape(len(lists), length)


def _label_grid(panel: Panel, labels: pl.DataFrame) -> Array:
    """Labels on the panel's grid, (T, S); NaN where there is none."""
    inside = labels.filter(
        pl.col("symbol").is_in(list(panel.symbols)),
        pl.col("session").is_in(list(panel.sessions)),
        pl.col("label").is_finite(),
    )
    values_N1 = inside.select("label").to_numpy()
    indices = _grid_indices(inside, panel.sessions, panel.symbols)
    return _scatter(values_N1, indices, panel.known_TS.shape, np.nan)[:, :, 0]


def _grid_indices(frame: pl.DataFrame, sessions: Sequence[date], symbols: Sequence[str]) -> tuple[Indices, Indices]:
    """Row and column of each of a frame's rows in a grid of sessions x symbols."""
    rows = {session: t for t, session in enumerate(sessions)}
    columns = {symbol: s for s, symbol in enumerate(symbols)}
    return (
        np.array([rows[session] for session in frame["session"]], dtype=np.intp),
        np.array([columns[symbol] for symbol in frame["symbol"]], dtype=np.intp),
    )


def _scatter(
    rows_NF: NDArray[Any], indices: tuple[Indices, Indices], shape: tuple[int, ...], missing: float
) -> NDArray[Any]:
    grid_TSF = np.full((*shape, rows_NF.shape[1]), missing, dtype=rows_NF.dtype)
    grid_TSF[indices] = rows_NF
    return grid_TSF

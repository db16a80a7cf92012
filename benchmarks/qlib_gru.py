"""Qlib's GRU on the data of `bench_scorer.py`: prints the seconds of an epoch.

Runs in its own environment (`pip install pyqlib==0.9.7`), started by `bench_scorer.py --qlib`:
    python benchmarks/qlib_gru.py DATA.parquet TRAIN_END VALID_BEGIN LOOK_BACK HIDDEN BATCH EPOCHS
"""

from __future__ import annotations

import logging
import sys
import time
from itertools import pairwise

import pandas as pd
import qlib
import torch
from qlib.contrib.model.pytorch_gru_ts import GRU
from qlib.data.dataset import TSDatasetH
from qlib.data.dataset.handler import DataHandlerLP
from qlib.data.dataset.loader import StaticDataLoader


class Timed(GRU):
    """A GRU that records the start of every epoch."""

    def train_epoch(self, data_loader: object) -> None:
        self.starts = [*getattr(self, "starts", []), time.perf_counter()]
        super().train_epoch(data_loader)


def seconds(dataset: TSDatasetH, width: int, hidden: int, batch: int, epochs: int) -> float:
    """Return the seconds of the shortest epoch but the last, whose end is not recorded."""
    model = Timed(
        d_feat=width,
        hidden_size=hidden,
        num_layers=2,
        dropout=0.3,
        n_epochs=epochs + 1,
        lr=1e-4,
        batch_size=batch,
        early_stop=epochs + 2,
        GPU=-1,
        n_jobs=0,
        seed=42,
    )
    model.fit(dataset)
    return min(end - begin for begin, end in pairwise(model.starts))


def main(path: str, train_end: str, valid_begin: str, look_back: int, hidden: int, batch: int, epochs: int) -> None:
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    qlib.init(skip_if_reg=True, logging_level=logging.CRITICAL)
    frame = pd.read_parquet(path).set_index(["datetime", "instrument"]).sort_index()
    features = [name for name in frame.columns if name != "label"]
    loader = StaticDataLoader(pd.concat({"feature": frame[features], "label": frame[["label"]]}, axis=1))
    days = frame.index.get_level_values("datetime").unique()
    segments = {"train": (days[look_back - 1], pd.Timestamp(train_end)), "valid": (pd.Timestamp(valid_begin), days[-1])}
    dataset = TSDatasetH(handler=DataHandlerLP(data_loader=loader), segments=segments, step_len=look_back)
    print(seconds(dataset, len(features), hidden, batch, epochs))


if __name__ == "__main__":
    main(*sys.argv[1:4], *(int(argument) for argument in sys.argv[4:8]))

"""Time alphalens-reloaded on its figures of scores and labels; prints a JSON document on the last line.

`PYTHON alphalens_figures.py ROWS.parquet QUANTILES`, rows with session, symbol, score, label; PYTHON has
alphalens-reloaded and pyarrow, not this package. Figures: information coefficient, returns by quantile, turnover of the
outer quantiles, rank autocorrelation.
"""

from __future__ import annotations

import json
import sys
import time

import pandas as pd
from alphalens import performance, utils


def main() -> None:
    path, quantiles = sys.argv[1], int(sys.argv[2])
    rows = pd.read_parquet(path)
    rows["session"] = pd.to_datetime(rows["session"])
    start = time.perf_counter()
    panel = rows.set_index(["session", "symbol"]).rename_axis(["date", "asset"])
    factor = utils.get_clean_factor(panel["score"], panel[["label"]].set_axis(["5D"], axis=1), quantiles=quantiles)
    laid_out = time.perf_counter()
    performance.factor_information_coefficient(factor)
    correlated = time.perf_counter()
    performance.mean_return_by_quantile(factor, by_date=True)
    for quantile in (1, quantiles):
        performance.quantile_turnover(factor["factor_quantile"], quantile)
    performance.factor_rank_autocorrelation(factor)
    end = time.perf_counter()
    spent = {"quantiles": laid_out - start, "RankIC": correlated - laid_out, "all four figures": end - start}
    print(json.dumps(spent))


if __name__ == "__main__":
    main()

"""Arguments and options about models and fingerprints; the others are in `arguments`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Symbol = Annotated[str, typer.Argument(help="e.g. 600519.SH")]
Through = Annotated[str, typer.Option(help="last session whose knowledge the model may use")]
Refit = Annotated[int | None, typer.Option(min=1, help="sessions between two trainings")]
EARLIEST = "earliest"
FirstTested = Annotated[
    str, typer.Argument(help=f"first session out of sample; {EARLIEST}: the first that the folds' lengths allow")
]
PlanOnly = Annotated[bool, typer.Option("--plan", help="print the folds and stop")]
OutsideVintage = Annotated[
    str | None, typer.Option("--vintage", help="of vectors from outside; default: encoders of our own are trained")
]
Vintage = Annotated[str | None, typer.Option(help="an encoder vintage; default: the one in force")]
Ablation = Annotated[bool, typer.Option("--ablation", help="of risk: each switch the other way, on the home's bars")]
TableFile = Annotated[Path | None, typer.Option(help="of --ablation: Parquet file to write the table to")]
PageFile = Annotated[Path | None, typer.Option(help="FILE.html; default: under the home's reports")]
Evaluated = Annotated[Literal["scores", "encoder", "peers", "protocol", "risk"], typer.Argument(help="what is judged")]

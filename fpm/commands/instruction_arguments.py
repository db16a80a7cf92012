"""Options with which a person approves a decision or holds an index; the others are in `arguments`."""

from __future__ import annotations

from typing import Annotated

import typer

Approve = Annotated[str | None, typer.Option("--approve", metavar="SESSION", help="approve the decision of a session")]
OnlyIndex = Annotated[str | None, typer.Option("--index", help="of --approve; default: every index that waits")]
Hold = Annotated[str | None, typer.Option("--hold", metavar="INDEX", help="fill nothing of an index")]
HoldFrom = Annotated[str | None, typer.Option("--from", help="first session of --hold; default: the next to open")]
HoldUntil = Annotated[str | None, typer.Option("--until", help="last session of --hold; default: until it is said")]
HoldReason = Annotated[str, typer.Option("--reason", help="of --hold, as its rows show it")]
SaidBy = Annotated[str | None, typer.Option("--by", help="who says it; default: the user of this login")]

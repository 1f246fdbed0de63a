"""The options that several commands share, so that they are worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DatasetFolder = Annotated[
    Path, typer.Option("--dataset", envvar="SHROOMCURATE_DATASET", help="The dataset's folder.", show_default=True)
]
Images = Annotated[
    Path | None, typer.Option("--images", help="Class folders that somebody else made: DIR/CLASS/*.jpg.")
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        envvar="SHROOMCURATE_DATABASE_URL",
        help="A PostgreSQL of your own, postgresql://user@host/database. Left away: an embedded one.",
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(help="File or folder of the network's weights. Left away: Keras' download, kept for next time."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]

"""The application that every command registers with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shroomcurate import __version__

app = typer.Typer(
    name="shroomcurate",
    help="Image datasets one can defend, curated from the iNaturalist open data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

#: Where a dataset lies when nobody says so.
DATASET = Path("dataset")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shroomcurate {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Image datasets one can defend, curated from the iNaturalist open data.

    In order: **load-csvs**, **query**, **download**, **clean**, **train-baseline**, **report**. Any of them can be
    stopped at any moment and typed again. **demo** shows all of it without a network; **status** says where you are.
    """

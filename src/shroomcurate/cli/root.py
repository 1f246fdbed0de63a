"""The application that every command registers with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shroomcurate import __version__, show_state
from shroomcurate.dataset import Dataset
from shroomcurate.terminal import Terminal

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
    stopped at any moment and typed again. **build** runs them all from one file. **review** shows you the photos, to be
    judged by eye; **export** hands them on; **demo** runs all of it without a network; **status** says where you are,
    **doctor** what this machine lacks.
    """


def said_by(ctx: typer.Context, name: str) -> str | None:
    """Return who gave an option its value: COMMANDLINE, ENVIRONMENT, DEFAULT or another of click's; None for none."""
    source = ctx.get_parameter_source(name)
    return source.name if source is not None else None


def close(terminal: Terminal, dataset: Dataset) -> None:
    """End a command with what to type next, as `status` says it."""
    if terminal.as_json or terminal.quiet:
        return
    from shroomcurate.status import status

    with terminal.progress() as progress:
        found = status(dataset, progress)
    show_state.next_step(terminal, found)

"""The commands that tell about a dataset: its report, and where it stands."""

from __future__ import annotations

from typing import Annotated

import typer

from shroomcurate import show, show_state
from shroomcurate.cli.root import DATASET, app, close
from shroomcurate.dataset import Dataset
from shroomcurate.options import AsJson, DatasetFolder, Images, Quiet
from shroomcurate.report import ReportOptions
from shroomcurate.terminal import Terminal, reported


@app.command()
def report(
    note: Annotated[str | None, typer.Option(help="A sentence to stand on top of the page.")] = None,
    images: Images = None,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write report.html: one self-contained page about the dataset, to look at or to send.

    Example: `shroomcurate report`
    """
    from shroomcurate.report import report

    terminal = Terminal(as_json=as_json, quiet=quiet)
    place = Dataset(dataset, images)
    with reported(terminal):
        with terminal.progress() as progress:
            summary = report(place, ReportOptions(note=note), progress)
        show.report(terminal, summary)
        close(terminal, place)


@app.command()
def status(
    images: Images = None, dataset: DatasetFolder = DATASET, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Say where the dataset stands, and what to type next.

    Example: `shroomcurate status --dataset ~/fungi`
    """
    from shroomcurate.status import status

    terminal = Terminal(as_json=as_json, quiet=quiet)
    place = Dataset(dataset, images)
    with reported(terminal), terminal.progress() as progress:
        found = status(place, progress)
    show_state.status(terminal, found, str(images or dataset))

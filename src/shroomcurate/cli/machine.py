"""The command that looks at the machine rather than at photos."""

from __future__ import annotations

import typer

from shroomcurate import show_state
from shroomcurate.cli.root import DATASET, app
from shroomcurate.dataset import Dataset
from shroomcurate.errors import UNFIT
from shroomcurate.options import AsJson, DatabaseUrl, DatasetFolder, Quiet
from shroomcurate.terminal import Terminal, reported


@app.command()
def doctor(
    database_url: DatabaseUrl = None, dataset: DatasetFolder = DATASET, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Say what this machine lacks, which processes hold its GPU's memory, and what to type about each.

    It asks no server but the database, and changes nothing. Exit code 17 when there is a problem; a warning is none.

    Example: `shroomcurate doctor --dataset ~/fungi`
    """
    from shroomcurate.doctor import doctor

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal):
        with terminal.progress():
            found = doctor(Dataset(dataset), database_url)
        show_state.doctor(terminal, found)
        if found.problems:
            raise typer.Exit(UNFIT)

"""The command that shows the photos to a person."""

from __future__ import annotations

import os
import sys
import threading
from typing import Annotated

import typer

from shroomcurate import show
from shroomcurate.cli import again
from shroomcurate.cli.root import DATASET, app
from shroomcurate.dataset import Dataset
from shroomcurate.options import AsJson, DatasetFolder, Images, Quiet
from shroomcurate.review import ReviewOptions
from shroomcurate.terminal import Terminal, leave_if_a_thread_hangs, reported


@app.command()
def review(
    port: Annotated[
        int, typer.Option(help="Port of 127.0.0.1. Left away: that of the last time, or one that is free.")
    ] = ReviewOptions.port,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, open no browser.")] = False,
    images: Images = None,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Open a page in the browser to look at the photos and judge them, with the keyboard.

    It is served to this machine alone, until ^C. Every verdict is in verdicts.csv before the key is released; 'Apply'
    on the page, or the next clean, moves the photos.

    Example: `shroomcurate review --no-browser --port 8123`
    """
    import webbrowser

    from shroomcurate.review import review

    terminal = Terminal(as_json=as_json, quiet=quiet)
    place = Dataset(dataset, images)

    def opened(url: str) -> None:
        show.review_open(terminal, url)
        # A text browser would take the terminal; nobody waits for a graphical one.
        if not no_browser and (
            sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
        ):
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    with reported(terminal):
        summary = review(place, again.command(place), ReviewOptions(port), opened)
    show.review(terminal, summary, place)
    leave_if_a_thread_hangs(0)  # as one that decodes a large photo for a page that is closed

"""The demonstration: every command on a painted dump."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from shroomcurate import show
from shroomcurate.cli.root import app
from shroomcurate.dataset import Dataset
from shroomcurate.demo.plan import DemoOptions
from shroomcurate.options import AsJson, Quiet
from shroomcurate.terminal import Terminal, reported

DEMO_NOTE = "A demonstration: these photos are painted, and no such observations exist."


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo's dump, catalogue and dataset go.")] = Path("demo"),
    species: Annotated[int, typer.Option(help="Species that are painted.")] = DemoOptions.species,
    per_species: Annotated[int, typer.Option(help="Photos painted of each species.")] = DemoOptions.per_species,
    serve: Annotated[
        int | None,
        typer.Option(
            help="Paint only, and serve the photos at this port of 127.0.0.1 until ^C, for commands of yours."
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run the whole pipeline on a painted dump and a photo server of its own. No network, about two minutes.

    Example: `shroomcurate demo`
    """
    from shroomcurate.cli import app as every_command
    from shroomcurate.demo.dump import make_demo
    from shroomcurate.demo.score import score_cleaning
    from shroomcurate.demo.server import serve_photos

    terminal = Terminal(as_json=as_json, quiet=quiet)
    silently = ["--quiet"] if as_json or quiet else []
    page = folder / "dataset" / "report.html"
    with reported(terminal), _environment(SHROOMCURATE_HOME=folder / "home", SHROOMCURATE_DATASET=folder / "dataset"):
        terminal.say(f"Painting a dump of mushrooms that nobody ever found, into {folder / 'dump'} …")
        if serve is None:
            terminal.say(f"All that follows is in {folder / 'home'} and {folder / 'dataset'}.")
        started = time.monotonic()
        with terminal.progress() as progress:
            truth = make_demo(folder / "dump", DemoOptions(species, per_species), progress)
        took = {"paint the dump": time.monotonic() - started}
        if serve is not None:
            _serve(terminal, folder, serve, _query(truth.species, per_species))
            return
        with serve_photos(folder / "dump") as url:
            for words in (
                ["load-csvs", str(folder / "dump")],
                _query(truth.species, per_species),
                ["download", "--base-url", url],
                ["clean", "--eps", "0.3", "--embedder", "classic"],
                ["train-baseline", "--mode", "probe"],
                ["report", "--note", DEMO_NOTE],
                ["status"],
            ):
                terminal.say(f"\n[bold green]$ shroomcurate {shlex.join(words)}[/]")
                started = time.monotonic()
                code = every_command([*words, *silently], standalone_mode=False)
                if code:
                    raise typer.Exit(code)
                took[words[0]] = time.monotonic() - started
        show.demo(terminal, score_cleaning(Dataset(folder / "dataset"), folder / "dump" / "truth.csv"), took, str(page))


def _query(species: int, per_species: int) -> list[str]:
    """Return the words that select two thirds of the photos; the others are the reserve."""
    return ["query", "--species", str(species), "--per-class", str(per_species * 2 // 3)]


def _serve(terminal: Terminal, folder: Path, port: int, query: list[str]) -> None:
    """Serve the photos of a demo's dump until ^C, and say which commands can use them."""
    from shroomcurate.demo.server import serve_photos

    with serve_photos(folder / "dump", port) as url:
        terminal.say(f"The photos are served at {url} until ^C. In another terminal:", whole=True)
        places = {"SHROOMCURATE_HOME": folder / "home", "SHROOMCURATE_DATASET": folder / "dataset"}
        named = [f"{name}={shlex.quote(str(place.absolute()))}" for name, place in places.items()]
        terminal.say(f"  export {' '.join(named)} SHROOMCURATE_BASE_URL={url}", whole=True)
        terminal.say(f"  shroomcurate load-csvs {shlex.quote(str((folder / 'dump').absolute()))}", whole=True)
        terminal.say(f"  shroomcurate {shlex.join(query)}", whole=True)
        terminal.say("  shroomcurate download", whole=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


@contextmanager
def _environment(**variables: Path) -> Iterator[None]:
    """Set environment variables for the block; a database named by the user's own must not be touched."""
    before = dict(os.environ)
    os.environ.update({name: str(value.absolute()) for name, value in variables.items()})
    os.environ.pop("SHROOMCURATE_DATABASE_URL", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

"""The commands that say what a dataset is worth and where it stands."""

from __future__ import annotations

from typing import Annotated

import typer

from shroomcurate import show, show_state
from shroomcurate.cli.root import DATASET, app, close
from shroomcurate.dataset import Dataset
from shroomcurate.embed import EMBEDDERS, EmbedOptions
from shroomcurate.options import AsJson, DatasetFolder, Images, Quiet, Weights, one_of
from shroomcurate.report import ReportOptions
from shroomcurate.split import SplitOptions
from shroomcurate.terminal import Terminal, reported
from shroomcurate.training import COMPARISONS, MODES, TrainOptions


@app.command("train-baseline")
def train_baseline(
    mode: Annotated[
        str, typer.Option(help="finetune, or probe, which needs seconds.", autocompletion=one_of(*MODES))
    ] = TrainOptions.mode,
    compare: Annotated[
        str,
        typer.Option(
            help="Raw against cleaned by: probe, same (this mode's model) or none.",
            autocompletion=one_of(*COMPARISONS),
        ),
    ] = TrainOptions.compare,
    head_epochs: Annotated[int, typer.Option(help="Epochs for the new head, at most.")] = TrainOptions.head_epochs,
    block_epochs: Annotated[int, typer.Option(help="Epochs for the last blocks, at most.")] = TrainOptions.block_epochs,
    batch_size: Annotated[int, typer.Option(help="Photos a step.")] = TrainOptions.batch_size,
    seed: Annotated[int, typer.Option(help="Of the split and of training.")] = TrainOptions.seed,
    embedder: Annotated[
        str, typer.Option(help="For probe: as in clean.", autocompletion=one_of(*EMBEDDERS))
    ] = EmbedOptions.embedder,
    weights: Weights = None,
    images: Images = None,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a baseline on a split that does not leak, and say what the dataset is worth.

    Example: `shroomcurate train-baseline --mode probe`
    """
    from shroomcurate.embed import embed
    from shroomcurate.split import split
    from shroomcurate.training import train_baseline

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal):
        options = TrainOptions(
            mode=mode,
            compare=compare,
            head_epochs=head_epochs,
            block_epochs=block_epochs,
            batch_size=batch_size,
            weights=weights,
            seed=seed,
        )
        place = Dataset(dataset, images)
        place.require("clean.parquet")
        with terminal.progress() as progress:
            if not place.path("embeddings.parquet").exists():
                embed(place, EmbedOptions(embedder, weights), progress)
            parts = split(place, SplitOptions(seed=seed), progress)
            summary = train_baseline(place, options, progress)
        show.train_baseline(terminal, summary, parts, str(place.root / summary.run))
        close(terminal, place)


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

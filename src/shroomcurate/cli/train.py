"""The commands that train a baseline, compare its runs, and ask it about photos."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated

import typer

from shroomcurate import show_training
from shroomcurate.architectures import BACKBONES
from shroomcurate.cli.root import DATASET, app, close, said_by
from shroomcurate.dataset import Dataset
from shroomcurate.embed import EMBEDDERS, EmbedOptions
from shroomcurate.errors import BadOption, SourceMissing
from shroomcurate.options import (
    AsJson,
    DatasetFolder,
    Images,
    Quiet,
    QuietAnswer,
    Weights,
    networks,
    one_of,
    run_names,
    several_of,
)
from shroomcurate.progress import Progress
from shroomcurate.runs import former_split_back
from shroomcurate.split import SplitOptions, SplitSummary, shares
from shroomcurate.terminal import Terminal, ended_soon, reported
from shroomcurate.training import (
    ANSWERED_BY,
    BALANCES,
    MODES,
    PHONES,
    RESIZES,
    TRACKERS,
    BaselineSummary,
    TrainOptions,
    check_ready,
    train_baseline,
)

SPLIT, LEARNING, VERDICT, FILES = "The split", "Learning", "The verdict on the dataset", "Files"


@app.command("train-baseline")
def _train_baseline(
    mode: Annotated[
        str, typer.Option(help="finetune; probe, which needs seconds; or scratch.", autocompletion=one_of(*MODES))
    ] = TrainOptions.mode,
    architecture: Annotated[
        str,
        typer.Option(help=f"Network to fine-tune: {', '.join(BACKBONES)}.", autocompletion=one_of(*BACKBONES)),
    ] = TrainOptions.architecture,
    compare: Annotated[
        str | None,
        typer.Option(
            help="Networks to fine-tune one after the other, separated by commas; one table.",
            autocompletion=several_of(*BACKBONES),
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="Per cent of train, val and test; or train against the rest, which is halved: 4:1.",
            rich_help_panel=SPLIT,
        ),
    ] = "70/15/15",
    same_day: Annotated[
        bool,
        typer.Option("--same-day", help="Keep one observer's day together, too.", rich_help_panel=SPLIT),
    ] = SplitOptions.same_day,
    folds: Annotated[
        int, typer.Option(help="Parts for cross-validation, by group.", rich_help_panel=SPLIT)
    ] = SplitOptions.folds,
    seed: Annotated[int, typer.Option(help="Of the split and of training.", rich_help_panel=SPLIT)] = TrainOptions.seed,
    head_epochs: Annotated[
        int, typer.Option(help="Epochs for the new head, at most.", rich_help_panel=LEARNING)
    ] = TrainOptions.head_epochs,
    block_epochs: Annotated[
        int, typer.Option(help="Epochs for the last blocks, at most.", rich_help_panel=LEARNING)
    ] = TrainOptions.block_epochs,
    deep_epochs: Annotated[
        int, typer.Option(help="Epochs for the upper half, at most.", rich_help_panel=LEARNING)
    ] = TrainOptions.deep_epochs,
    scratch_epochs: Annotated[
        int, typer.Option(help="Epochs of mode scratch, at most.", rich_help_panel=LEARNING)
    ] = TrainOptions.scratch_epochs,
    batch_size: Annotated[int, typer.Option(help="Photos a step.", rich_help_panel=LEARNING)] = TrainOptions.batch_size,
    resize: Annotated[
        str,
        typer.Option(
            help="crop: the middle; pad: all of the photo.",
            autocompletion=one_of(*RESIZES),
            rich_help_panel=LEARNING,
        ),
    ] = TrainOptions.resize,
    augmentation: Annotated[
        float,
        typer.Option(help="How far photos are turned and lit; 1 is the usual, 0 none.", rich_help_panel=LEARNING),
    ] = TrainOptions.augmentation,
    balance: Annotated[
        str,
        typer.Option(
            help="For classes of unequal size: weights, oversample or none.",
            autocompletion=one_of(*BALANCES),
            rich_help_panel=LEARNING,
        ),
    ] = TrainOptions.balance,
    search: Annotated[
        int,
        typer.Option(help="Trainings with settings drawn at random; the best is kept.", rich_help_panel=LEARNING),
    ] = TrainOptions.search,
    embedder: Annotated[
        str,
        typer.Option(
            help="For probe, where clean left no embeddings.",
            autocompletion=one_of(*EMBEDDERS),
            rich_help_panel=LEARNING,
        ),
    ] = EmbedOptions.embedder,
    weights: Weights = None,
    raw_vs_clean: Annotated[
        str,
        typer.Option(
            help="Did cleaning help? Asked of: probe, same (this mode's model) or none.",
            autocompletion=one_of(*ANSWERED_BY),
            rich_help_panel=VERDICT,
        ),
    ] = TrainOptions.raw_vs_clean,
    learning_curve: Annotated[
        str,
        typer.Option(
            help="Would more photos help? Asked of the same.",
            autocompletion=one_of(*ANSWERED_BY),
            rich_help_panel=VERDICT,
        ),
    ] = TrainOptions.learning_curve,
    cross_validate: Annotated[
        str,
        typer.Option(
            help="Does it hang on the split? Asked of the same.",
            autocompletion=one_of(*ANSWERED_BY),
            rich_help_panel=VERDICT,
        ),
    ] = TrainOptions.cross_validate,
    seeds: Annotated[
        int, typer.Option(help="Trainings for each of these answers.", rich_help_panel=VERDICT)
    ] = TrainOptions.seeds,
    phone: Annotated[
        str,
        typer.Option(
            help="LiteRT files: float32; quick: also float16 and int8; full: also int8 fine-tuned for it.",
            autocompletion=one_of(*PHONES),
            rich_help_panel=FILES,
        ),
    ] = TrainOptions.phone,
    track: Annotated[
        str | None,
        typer.Option(
            help=f"Also tell each epoch to: {', '.join(TRACKERS)}.",
            autocompletion=several_of(*TRACKERS),
            rich_help_panel=FILES,
        ),
    ] = None,
    images: Images = None,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: Quiet = False,
    *,
    ctx: typer.Context,
) -> None:
    """Train a baseline on a split that does not leak, and say what the dataset is worth.

    Example: `shroomcurate train-baseline --mode probe`
    """
    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal), ended_soon(terminal):
        options = TrainOptions(
            mode=mode,
            architecture=architecture,
            raw_vs_clean=raw_vs_clean,
            learning_curve=learning_curve,
            cross_validate=cross_validate,
            seeds=seeds,
            head_epochs=head_epochs,
            block_epochs=block_epochs,
            deep_epochs=deep_epochs,
            scratch_epochs=scratch_epochs,
            batch_size=batch_size,
            augmentation=augmentation,
            resize=resize,
            balance=balance,
            search=search,
            track=tuple(track.split(",")) if track else (),
            phone=phone,
            weights=weights,
            seed=seed,
        )
        train, val, test = shares(split)
        splitting = SplitOptions(train, val, test, folds, seed, same_day)
        everyone = _each(options, compare)
        for name in _typed_in_vain(ctx, options):
            terminal.warn(f"--{name.replace('_', '-')} has no effect in mode {mode}.")
        place = Dataset(dataset, images)
        place.require("clean.parquet")
        with former_split_back(place):
            with terminal.progress() as progress:
                parts = _split(place, splitting, EmbedOptions(embedder, weights), progress)
            for each in everyone:
                check_ready(place, each)
            found = [_one(terminal, place, each) for each in everyone]
        show_training.train_baseline(terminal, found, parts, place)
        close(terminal, place)


def _each(options: TrainOptions, compare: str | None) -> list[TrainOptions]:
    """Return the options of each network to train."""
    if compare is None:
        return [options]
    if options.mode != "finetune":
        raise BadOption("--compare is for networks that are fine-tuned.", "Leave --mode away, or --compare.")
    names = list(dict.fromkeys(compare.split(",")))
    return [replace(options, architecture=name) for name in names]


def _typed_in_vain(ctx: typer.Context, options: TrainOptions) -> list[str]:
    """Return the options that were typed and do not count in this mode."""
    heeded = options.heeded()
    settings = {field.name for field in fields(options)}
    typed = [name for name in ctx.params if said_by(ctx, name) == "COMMANDLINE"]
    return [name for name in typed if name in settings and name not in heeded]


def _split(place: Dataset, options: SplitOptions, embedding: EmbedOptions, progress: Progress) -> SplitSummary:
    from shroomcurate.embed import embed
    from shroomcurate.split import split

    if not place.path("embeddings.parquet").exists():
        embed(place, embedding, progress)
    return split(place, options, progress)


def _one(terminal: Terminal, place: Dataset, options: TrainOptions) -> BaselineSummary:
    from shroomcurate.training.estimate import epochs_done, estimate

    with terminal.progress() as progress:
        expected = estimate(place, options, progress)
    if expected:
        show_training.expected(terminal, expected)
    elif epochs := epochs_done(place, options):
        show_training.goes_on(terminal, epochs)
    with terminal.progress() as progress:
        return train_baseline(place, options, progress)


@app.command()
def runs(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Two runs to compare; left away: all are listed.", autocompletion=run_names),
    ] = None,
    images: Images = None,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: QuietAnswer = False,  # noqa: ARG001  # there is nothing else to silence
) -> None:
    """List the baselines of a dataset, or compare two of them on the test photos that both have seen.

    Example: `shroomcurate runs`
    """
    from shroomcurate.runs import broken_off_runs
    from shroomcurate.training.comparison import compare_runs, list_runs

    terminal = Terminal(as_json=as_json)
    place = Dataset(dataset, images)
    with reported(terminal):
        if not names:
            show_training.runs(terminal, list_runs(place), broken_off_runs(place), place)
            return
        if len(names) != 2:
            raise BadOption(f"{len(names)} runs are named.", "Name two to compare them, or none to list all.")
        first, second = names
        show_training.compared(terminal, compare_runs(place, first, second))


@app.command()
def predict(
    photos: Annotated[list[Path], typer.Argument(help="Photos to ask about.")],
    run: Annotated[
        str | None,
        typer.Option(help="A run of the dataset; left away: the latest that has a network.", autocompletion=networks),
    ] = None,
    images: Images = None,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: QuietAnswer = False,  # noqa: ARG001  # as above
) -> None:
    """Say which classes a photo may show, how sure that is, and what is known of their edibility. No food advice.

    Example: `shroomcurate predict photo.jpg`
    """
    from shroomcurate.predict import predict

    terminal = Terminal(as_json=as_json)
    with reported(terminal):
        place = Dataset(dataset, images)
        found = predict(place, photos, run)
        show_training.predictions(terminal, found)
        if not any(each.guesses for each in found.photos):
            raise typer.Exit(SourceMissing.exit_code)

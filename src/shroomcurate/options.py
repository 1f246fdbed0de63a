"""The options that several commands share, so that they are worded once, and the values that a shell completes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from shroomcurate.dataset import Dataset
from shroomcurate.tree import PARTIAL, REASONS


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Complete an option that has one of these values."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def several_of(*values: str, alone: Iterable[str] = ()) -> Callable[[str], list[str]]:
    """Complete an option that takes values joined by commas, or one that stands alone."""

    def complete(incomplete: str) -> list[str]:
        given, comma, begun = incomplete.rpartition(",")
        first = [] if comma else [value for value in alone if value.startswith(incomplete)]
        taken = set(given.split(","))
        more = [value for value in values if value.startswith(begun) and value not in taken]
        return [*first, *(f"{given}{comma}{value}" for value in more)]

    return complete


def removed_reasons(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the reasons for which photos of the dataset are removed; all there are, where none is."""
    there = _folders(_dataset(ctx).removed)
    return one_of(*([reason for reason in REASONS if reason in there] or REASONS))(incomplete)


def removed_classes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the classes of which photos are removed, by the names of their folders: no table is read."""
    removed = _dataset(ctx).removed
    classes = set().union(*(_folders(removed / reason) for reason in REASONS))
    return one_of(*sorted(classes))(incomplete)


def run_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the finished runs of the dataset that are not typed yet."""
    runs = {name for name in _folders(_dataset(ctx).path("runs")) if not name.endswith(PARTIAL)}
    return one_of(*sorted(runs - set(ctx.params.get("names") or ())))(incomplete)


def networks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the finished runs of the dataset that have a network to ask."""
    runs = _dataset(ctx).path("runs")
    return [name for name in run_names(ctx, incomplete) if "phone" in _folders(runs / name)]


def _folders(folder: Path) -> set[str]:
    """Return the names of the folders in a folder; none where it cannot be read, for a shell wants no error."""
    with suppress(OSError), os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_dir()}
    return set()


def _dataset(ctx: typer.Context) -> Dataset:
    return Dataset(ctx.params.get("dataset") or "dataset", ctx.params.get("images"))


def _not_both(ctx: typer.Context, value: Path | None) -> Path | None:
    """Refuse --images beside --dataset, whichever is read last: one of them would count for nothing."""
    source = ctx.get_parameter_source("dataset")
    typed = source is not None and source.name == "COMMANDLINE"
    other = ctx.get_parameter_source("images")
    if typed and other is not None and other.name == "COMMANDLINE":
        raise typer.BadParameter(
            "give --images or --dataset, not both: the tables of a tree of yours lie beside it.",
            ctx=ctx,
            param_hint="--images",
        )
    return value


DatasetFolder = Annotated[
    Path,
    typer.Option(
        "--dataset",
        envvar="SHROOMCURATE_DATASET",
        help="The dataset's folder.",
        show_default=True,
        callback=_not_both,
    ),
]
Images = Annotated[
    Path | None,
    typer.Option("--images", help="Class folders that somebody else made: DIR/CLASS/*.jpg.", callback=_not_both),
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
    typer.Option(
        help="File or folder of the network's weights. Left away: what SHROOMCURATE_WEIGHTS names, or Keras' download, "
        "kept for next time."
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        help="local, or ray: the nodes of a Ray cluster do it (pip install 'shroomcurate[ray]').",
        autocompletion=one_of("local", "ray"),
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        help="The cluster's head, HOST:PORT. Left away: what RAY_ADDRESS says, else one started on this machine."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
#: Of commands that only answer.
QuietAnswer = Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer and errors only.")]

"""The commands that make a dataset from one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from shroomcurate import show_build
from shroomcurate.cli.root import DATASET, app, close, said_by
from shroomcurate.dataset import Dataset
from shroomcurate.errors import LOCK_UNMET
from shroomcurate.options import AsJson, DatabaseUrl, DatasetFolder, Quiet
from shroomcurate.terminal import Terminal, reported

TOML = Path("shroomcurate.toml")


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="Where it shall lie.")] = TOML,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a shroomcurate.toml with every option of every stage, each with its default and commented out.

    Example: `shroomcurate init`
    """
    from shroomcurate.build.template import write_template

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal):
        write_template(file)
        show_build.init(terminal, file)


@app.command()
def build(
    file: Annotated[Path, typer.Argument(help="What to make: a table a stage, its options below it.")] = TOML,
    locked: Annotated[
        bool,
        typer.Option("--locked", help="Fetch exactly the photos of the lock beside the file; no dump, no database."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would run, and why; run nothing.")] = False,
    dataset: DatasetFolder = DATASET,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    *,
    ctx: typer.Context,
) -> None:
    """Make a dataset from shroomcurate.toml: all stages in order, until each class has N clean photos.

    What is current is left alone, and a changed option makes its stage and those behind it run again. Can be stopped
    at any moment and typed again. In the end shroomcurate.lock names each photo.

    Example: `shroomcurate build --dry-run`
    """
    from shroomcurate.build import build, build_locked, plan
    from shroomcurate.build.recipe import read_recipe

    terminal = Terminal(as_json=as_json, quiet=quiet)
    places = {"dataset": dataset, "database_url": database_url}
    with reported(terminal):
        there = file.exists() or not (locked and file.with_suffix(".lock").exists())
        recipe = read_recipe(file, None if there else "", _said(ctx, "ENVIRONMENT", **places))
        recipe = replace(recipe, **_said(ctx, "COMMANDLINE", **places))
        if dry_run and not locked:
            with terminal.progress():
                steps = plan(recipe)
            show_build.plan(terminal, steps)
            return
        with show_build.Story(terminal, file) as story:
            if locked:
                found = build_locked(recipe, story.progress, story.tell, compare=there)
            else:
                made = build(recipe, story.progress, story.tell)
        if not locked:
            show_build.build(terminal, made)
            close(terminal, Dataset(recipe.dataset))
            return
        show_build.locked(terminal, found)
        if not found.met:
            raise typer.Exit(LOCK_UNMET)


def _said(ctx: typer.Context, where: str, **values: Any) -> dict[str, Any]:
    """Return what was said on the command line, which counts above the file, or by the environment, below it."""
    return {name: value for name, value in values.items() if said_by(ctx, name) == where}

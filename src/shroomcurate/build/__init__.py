"""Make a dataset from a recipe: every stage in order, what is current left alone, until each class has N clean photos.

Reads: the recipe, and what the stages read. Writes: what they write, and ``shroomcurate.lock``. Resumes: what has to
run is read from the disk (:mod:`.due`), so a killed build goes on, and ends with the same bytes.

`download` and `clean` take turns (:mod:`.turns`): what cleaning takes out, the reserve fills. Then the lock names each
photo (:mod:`.lock`), and with it another machine fetches the same ones (:mod:`.locked`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from shroomcurate.build.due import export_due, load_due, query_due, report_due, train_due
from shroomcurate.build.lock import write_lock
from shroomcurate.build.locked import LockedSummary, build_locked
from shroomcurate.build.recipe import Recipe, read_recipe
from shroomcurate.build.run import RUN, Step, Tell, untold
from shroomcurate.build.tally import ClassTally, tally
from shroomcurate.build.turns import first_turn, take_turns
from shroomcurate.dataset import Dataset
from shroomcurate.errors import StageMissing
from shroomcurate.progress import Progress, silent
from shroomcurate.select import asked
from shroomcurate.status.look import Look
from shroomcurate.summary import Summary

__all__ = [
    "BuildSummary",
    "ClassTally",
    "LockedSummary",
    "Recipe",
    "Step",
    "build",
    "build_locked",
    "plan",
    "read_recipe",
]

#: The stages around the turns of `download` and `clean`, each with what tells why it has to run.
_BEFORE = {"load": load_due, "query": query_due}
_AFTER = {"train-baseline": train_due, "export": export_due, "report": report_due}


@dataclass(frozen=True)
class BuildSummary(Summary):
    """What a build did, and what each class has."""

    dataset: str
    steps: list[Step]
    """What ran and what was left alone, in that order."""
    turns: int
    """How often `clean` judged."""
    per_class: int
    """Photos asked for of each class."""
    classes: dict[str, ClassTally]
    kept: int
    """Clean photos of all classes."""
    shortages: dict[str, int]
    """Class -> clean photos it lacks."""
    lock: str
    seconds: float


def build(recipe: Recipe, progress: Progress = silent, tell: Tell = untold) -> BuildSummary:
    """Make the dataset, and its lock.

    Parameters
    ----------
    recipe
        See :func:`read_recipe` for the one in a file.
    progress
        As for the stages, which give it their own labels.
    tell
        Called as ``tell(step, None)`` before a stage runs or is left alone, ``tell(step, summary)`` after it ran.

    Raises
    ------
    ShroomError
        Of the stage that cannot do its work; what is finished is kept.

    Examples
    --------
    >>> from pathlib import Path
    >>> from shroomcurate.build import build, read_recipe
    >>> build(read_recipe(Path("shroomcurate.toml"))).shortages  # doctest: +SKIP
    {}
    """
    started = time.monotonic()
    asked(recipe.query)  # a file that it names may not be there: not to be found out after a load of hours
    dataset = Dataset(recipe.dataset)
    steps: list[Step] = []

    def run(stage: str, why: str | None) -> None:
        step = Step(_command(stage, recipe), why)
        steps.append(step)
        tell(step, None)
        if why is not None:
            tell(step, RUN[stage](dataset, recipe, progress))

    for stage, due in _BEFORE.items():
        if stage != "load" or recipe.load is not None:
            with Look(dataset, silent) as look:
                why = due(look, recipe)
            run(stage, why)
    turns = take_turns(dataset, recipe, progress, run)
    found = tally(dataset)
    write_lock(dataset, recipe)
    for stage in _wanted(recipe):
        with Look(dataset, silent) as look:
            why = _AFTER[stage](look, recipe)
        run(stage, why)
    return BuildSummary(
        dataset=str(dataset.root),
        steps=steps,
        turns=turns,
        per_class=recipe.query.per_class,
        classes=found,
        kept=sum(each.kept for each in found.values()),
        shortages={name: each.short for name, each in found.items() if each.short},
        lock=str(recipe.lock),
        seconds=round(time.monotonic() - started, 3),
    )


def plan(recipe: Recipe) -> list[Step]:
    """Tell what :func:`build` would run, and why, without a change and without a request.

    A stage behind one that runs is said to run, too; should its input come out as it is, it will be left alone.
    """
    asked(recipe.query)
    dataset = Dataset(recipe.dataset)
    steps = []
    with Look(dataset, silent) as look:
        before = ""
        for stage, why in _planned(look, recipe):
            if before and why is None and stage != "load":
                why = f"after {before}"  # noqa: PLW2901
            name = _command(stage, recipe)
            before = before or (name if why else "")
            steps.append(Step(name, why))
    return steps


def _planned(look: Look, recipe: Recipe) -> Iterator[tuple[str, str | None]]:
    if recipe.load is not None:
        yield "load", load_due(look, recipe)
    yield "query", query_due(look, recipe)
    if look.has("selection.parquet"):
        yield from first_turn(look, recipe).items()
    else:
        yield from dict.fromkeys(("download", "clean"), "it has not run yet").items()
    for stage in _wanted(recipe):
        try:
            yield stage, _AFTER[stage](look, recipe)
        except StageMissing:  # it cannot tell before the stages before it have run
            yield stage, "it has not run yet"


def _wanted(recipe: Recipe) -> list[str]:
    wanted = {
        "train-baseline": bool(recipe.train),
        "report": recipe.report is not None,
        "export": recipe.export is not None,
    }
    return [stage for stage in _AFTER if wanted[stage]]


def _command(stage: str, recipe: Recipe) -> str:
    if stage != "load":
        return stage
    return "load-api" if hasattr(recipe.load, "per_species") else "load-csvs"

"""How each stage is run, as its command runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shroomcurate.build.recipe import Recipe
from shroomcurate.catalogue.load import LoadOptions
from shroomcurate.dataset import Dataset
from shroomcurate.progress import Progress


@dataclass(frozen=True)
class Step:
    """A stage of a build: its command, and why it runs; None: it is left alone, for all of it is current."""

    stage: str
    why: str | None


Tell = Callable[[Step, Any], None]


def untold(step: Step, result: object) -> None:
    """Tell nobody."""


def _load(_: Dataset, recipe: Recipe, progress: Progress) -> Any:
    if isinstance(recipe.load, LoadOptions):
        from shroomcurate.catalogue.load import load_csvs

        return load_csvs(recipe.load, recipe.database_url, progress)
    from shroomcurate.catalogue.api import load_api

    assert recipe.load is not None  # noqa: S101
    return load_api(recipe.load, recipe.database_url, progress)


def _query(dataset: Dataset, recipe: Recipe, progress: Progress) -> Any:
    from shroomcurate.select import query

    return query(dataset, recipe.query, recipe.database_url, progress)


def _download(dataset: Dataset, recipe: Recipe, progress: Progress) -> Any:
    from shroomcurate.download import download

    return download(dataset, recipe.download, progress)


def _clean(dataset: Dataset, recipe: Recipe, progress: Progress) -> Any:
    from shroomcurate.clean import clean
    from shroomcurate.embed import embed

    embed(dataset, recipe.embed, progress)
    return clean(dataset, recipe.clean, progress)


def _train(dataset: Dataset, recipe: Recipe, progress: Progress) -> Any:
    from shroomcurate.runs import former_split_back
    from shroomcurate.split import split
    from shroomcurate.training import check_ready, train_baseline

    for options in recipe.train:
        check_ready(dataset, options)
    with former_split_back(dataset):
        split(dataset, recipe.split, progress)
        return [train_baseline(dataset, options, progress) for options in recipe.train]


def _report(dataset: Dataset, recipe: Recipe, progress: Progress) -> Any:
    from shroomcurate.report import ReportOptions, report

    return report(dataset, recipe.report or ReportOptions(), progress)


def _export(dataset: Dataset, recipe: Recipe, progress: Progress) -> Any:
    from shroomcurate.export import ExportOptions, export
    from shroomcurate.resplit import split_if_due

    options = recipe.export or ExportOptions()
    if options.split:
        split_if_due(dataset, recipe.split, progress)
    return export(dataset, recipe.out, options, progress)


#: Each stage; the first is `load-csvs` or `load-api`, as the recipe says.
RUN: Mapping[str, Callable[[Dataset, Recipe, Progress], Any]] = {
    "load": _load,
    "query": _query,
    "download": _download,
    "clean": _clean,
    "train-baseline": _train,
    "report": _report,
    "export": _export,
}

"""What a dataset is to be made of: the options of every stage, from Python or from ``shroomcurate.toml``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from shroomcurate.build.written import read_written
from shroomcurate.catalogue.api import ApiOptions
from shroomcurate.catalogue.load import LoadOptions
from shroomcurate.clean import CleanOptions
from shroomcurate.download import DownloadOptions
from shroomcurate.embed import EmbedOptions
from shroomcurate.errors import BadOption
from shroomcurate.export import ExportOptions
from shroomcurate.ray_cluster import address_of
from shroomcurate.report import ReportOptions
from shroomcurate.select import QueryOptions
from shroomcurate.split import SplitOptions, shares
from shroomcurate.training import TrainOptions

#: Where a dump lies, beside the file, when it does not say.
DUMP = "inaturalist-open-data"

Options = TypeVar("Options")


@dataclass(frozen=True)
class Recipe:
    """What to make, and how.

    Parameters
    ----------
    dataset
        Its folder.
    lock
        The file that shall name each photo of the finished dataset.
    database_url
        A PostgreSQL of your own; None: the embedded one.
    load
        What fills the catalogue; None: it is taken as it is.
    query, download, embed, clean
        As for the stages themselves.
    split, train
        The split, and the baselines to train on it; none: no training.
    report, export
        None: not made.
    out
        Where the export goes; None: ``exports/<format>`` in the dataset.
    """

    dataset: Path = Path("dataset")
    lock: Path = Path("shroomcurate.lock")
    database_url: str | None = None
    load: LoadOptions | ApiOptions | None = None
    query: QueryOptions = QueryOptions()
    download: DownloadOptions = DownloadOptions()
    embed: EmbedOptions = EmbedOptions()
    clean: CleanOptions = CleanOptions()
    split: SplitOptions = SplitOptions()
    train: tuple[TrainOptions, ...] = ()
    report: ReportOptions | None = None
    export: ExportOptions | None = None
    out: Path | None = None


def read_recipe(file: Path, text: str | None = None, otherwise: Mapping[str, Any] | None = None) -> Recipe:
    """Read ``shroomcurate.toml``. Paths in it are relative to its folder; the lock lies beside it.

    Parameters
    ----------
    text
        What it holds, for a file that is not there.
    otherwise
        Fields of the recipe that count where the file does not say.

    Raises
    ------
    SourceMissing
        There is no such file.
    BadOption
        It is not TOML, or holds a table, a name or a value that is none. The message says where.
    """
    written = read_written(file, text)
    recipe = Recipe(lock=file.with_suffix(".lock"), dataset=file.parent / "dataset")
    recipe = replace(recipe, **{**(otherwise or {}), **written.common})
    if "load-csvs" in written.tables and "load-api" in written.tables:
        raise BadOption(
            f"{written.place(written.tables['load-api'])}: [load-api] beside [load-csvs].",
            "A catalogue is filled by one of them: delete the other table.",
        )
    made: dict[str, Any] = {}
    for name, table in written.tables.items():
        with written.explained(table):
            made |= _MAKE[name]({"source": [str(file.parent / DUMP)]} | dict(table.values))
    return replace(recipe, **made)


def _take(kind: Callable[..., Options], given: Mapping[str, Any], **other: Any) -> Options:
    """Return options with the values of their names; lists as tuples."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return kind(**{name: value for name, value in values.items() if name in names}, **other)


def _renamed(given: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """Return the values under the names that the options have for them: parameter=field."""
    return {names.get(name, name): value for name, value in given.items()}


def _ray(given: Mapping[str, Any]) -> str | None:
    return address_of(given.get("engine", "local"), given.get("ray_address"))


def _load_csvs(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"load": _take(LoadOptions, _renamed(given, taxon="taxa"))}


def _load_api(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"load": _take(ApiOptions, _renamed(given, taxon="taxa"))}


def _query(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"query": _take(QueryOptions, _renamed(given, taxon="taxa"))}


def _download(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"download": _take(DownloadOptions, _renamed(given, photo_size="size"), ray=_ray(given))}


def _clean(given: Mapping[str, Any]) -> dict[str, Any]:
    learn = not given.get("no_learn", False)
    return {"clean": _take(CleanOptions, given, learn=learn), "embed": _take(EmbedOptions, given, ray=_ray(given))}


def _train(given: Mapping[str, Any]) -> dict[str, Any]:
    train, val, test = shares(given.get("split", "70/15/15"))
    track = tuple(given["track"].split(",")) if given.get("track") else ()
    first = _take(TrainOptions, {**given, "track": track})
    networks = dict.fromkeys(given["compare"].split(",")) if given.get("compare") else [first.architecture]
    if given.get("compare") and first.mode != "finetune":
        raise BadOption("compare is for networks that are fine-tuned.", "Leave mode away, or compare.")
    return {
        "split": _take(SplitOptions, {**given, "train": train, "val": val, "test": test}),
        "train": tuple(replace(first, architecture=name) for name in networks),
    }


def _export(given: Mapping[str, Any]) -> dict[str, Any]:
    made = _take(ExportOptions, given, split=not given.get("no_split", False))
    return {"export": made, "out": given.get("out")}


def _report(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"report": _take(ReportOptions, given)}


_MAKE: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "load-csvs": _load_csvs,
    "load-api": _load_api,
    "query": _query,
    "download": _download,
    "clean": _clean,
    "train-baseline": _train,
    "report": _report,
    "export": _export,
}

"""The stages as functions for Python users: what ``from shroomcurate import clean`` gives.

Each does what the command of its name does. It takes the dataset (a folder, or a :class:`Dataset`), then by keyword the
fields of the options of the stages that it runs, and returns the stage's summary. No option is written here: a
function's signature, for people and for type checkers, is that of a dataclass that inherits those options.

A new stage needs a dataclass and a function here, and its name in ``shroomcurate/__init__.py``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from shroomcurate.build import BuildSummary, LockedSummary, read_recipe
from shroomcurate.catalogue.api import ApiOptions, ApiReport
from shroomcurate.catalogue.ledger import LoadReport
from shroomcurate.catalogue.load import LoadOptions
from shroomcurate.clean import CleanOptions, CleanSummary
from shroomcurate.dataset import Dataset
from shroomcurate.download import DownloadOptions, DownloadSummary
from shroomcurate.embed import EmbedOptions
from shroomcurate.export import ExportOptions, ExportSummary
from shroomcurate.export.verify import Verification
from shroomcurate.keywords import as_typed, by_keyword
from shroomcurate.predict import Predictions
from shroomcurate.progress import Progress, chosen
from shroomcurate.report import ReportOptions, ReportSummary
from shroomcurate.restore import RestoreOptions, RestoreSummary
from shroomcurate.select import QueryOptions, QuerySummary
from shroomcurate.split import SplitOptions
from shroomcurate.training import BaselineSummary, TrainOptions

File = str | os.PathLike[str]
Where = Dataset | File

_Call = TypeVar("_Call")


@dataclass(frozen=True)
class _Of:
    dataset: Where
    """The dataset, or its folder."""

    @property
    def place(self) -> Dataset:
        return _place(self.dataset)


@dataclass(frozen=True)
class _Told:
    progress: Progress | bool | None = None
    """True: bars. False: none. None: bars in a notebook. Or what is called as ``progress(done, total, label)``."""

    @property
    def told(self) -> Progress:
        return chosen(self.progress)


@dataclass(frozen=True)
class _Catalogued:
    database_url: str | None = None
    """A PostgreSQL; None: that of ``SHROOMCURATE_DATABASE_URL``, and without it the embedded one."""

    @property
    def url(self) -> str | None:
        return self.database_url or os.environ.get("SHROOMCURATE_DATABASE_URL") or None


def _place(dataset: Where) -> Dataset:
    return dataset if isinstance(dataset, Dataset) else Dataset(dataset)


def _options(of: Callable[..., _Call], call: object) -> _Call:
    """Return the options of one stage out of those of all that a function runs."""
    wanted: Any = of
    return of(**{field.name: getattr(call, field.name) for field in fields(wanted)})


# -- the catalogue -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _LoadCsvs(_Told, _Catalogued, LoadOptions): ...


@by_keyword(_LoadCsvs)
def load_csvs(call: _LoadCsvs) -> LoadReport:
    """Load the iNaturalist open-data dump into the catalogue.

    Options: :class:`shroomcurate.catalogue.load.LoadOptions`. Raises: see
    :func:`shroomcurate.catalogue.load.load_csvs`.

    Examples
    --------
    >>> load_csvs("inaturalist-open-data", taxa="Aves")  # doctest: +SKIP
    """
    from shroomcurate.catalogue.load import load_csvs

    return load_csvs(_options(LoadOptions, call), call.url, call.told)


@dataclass(frozen=True)
class _LoadApi(_Told, _Catalogued, ApiOptions): ...


@by_keyword(_LoadApi)
def load_api(call: _LoadApi) -> ApiReport:
    """Load a small set of species from the iNaturalist API, without the dump.

    Options: :class:`shroomcurate.catalogue.api.ApiOptions`. Raises: see :func:`shroomcurate.catalogue.api.load_api`.

    Examples
    --------
    >>> load_api(taxa="Amanita", species=10, contact="you@example.org")  # doctest: +SKIP
    """
    from shroomcurate.catalogue.api import load_api

    return load_api(_options(ApiOptions, call), call.url, call.told)


# -- the photos --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Query(_Told, _Catalogued, QueryOptions, _Of): ...


@by_keyword(_Query)
def query(call: _Query) -> QuerySummary:
    """Select N research-grade photos of each class from the catalogue.

    Options: :class:`shroomcurate.select.QueryOptions`. Raises: see :func:`shroomcurate.select.query`.

    Examples
    --------
    >>> query("fungi", species=20, per_class=100, licenses="commercial")  # doctest: +SKIP
    """
    from shroomcurate.select import query

    return query(call.place, _options(QueryOptions, call), call.url, call.told)


@dataclass(frozen=True)
class _Download(_Told, _Catalogued, DownloadOptions, _Of):
    recheck: bool = False
    """First take out photos that were taken down since, or have another licence now."""


@by_keyword(_Download)
def download(call: _Download) -> DownloadSummary:
    """Fetch the selected photos into class folders, filling holes from the reserve. Also under a notebook's event loop.

    Options: :class:`shroomcurate.download.DownloadOptions`. Raises: see :func:`shroomcurate.download.download`.

    Examples
    --------
    >>> download("fungi", size="small", max_rate="50")  # doctest: +SKIP
    """
    from shroomcurate.download import download, recheck
    from shroomcurate.select import licenses_now

    place, options, progress = call.place, _options(DownloadOptions, call), call.told
    if call.recheck:
        recheck(place, options, licenses_now(place, call.url).licenses, progress)
    return download(place, options, progress)


@dataclass(frozen=True)
class _Clean(_Told, EmbedOptions, CleanOptions, _Of): ...


@by_keyword(_Clean)
def clean(call: _Clean) -> CleanSummary:
    """Describe the photos by vectors, then move those that do not belong to their class into ``removed/``.

    Options: :class:`shroomcurate.clean.CleanOptions` and :class:`shroomcurate.embed.EmbedOptions`. Raises: see
    :func:`shroomcurate.embed.embed` and :func:`shroomcurate.clean.clean`.

    Examples
    --------
    >>> clean("fungi", eps=0.25).reasons  # doctest: +SKIP
    """
    from shroomcurate.clean import clean
    from shroomcurate.embed import embed

    progress = call.told
    with tempfile.TemporaryDirectory() as scratch:
        elsewhere = Path(scratch) / "embeddings.parquet" if call.dry_run else None
        embed(call.place, _options(EmbedOptions, call), progress, elsewhere)
        return clean(call.place, _options(CleanOptions, call), progress, elsewhere)


@dataclass(frozen=True)
class _Restore(_Told, RestoreOptions, _Of): ...


@by_keyword(_Restore)
def restore(call: _Restore) -> RestoreSummary:
    """Put removed photos back: all, or those that fulfil every option. It counts as your verdict.

    Options: :class:`shroomcurate.restore.RestoreOptions`. Raises: see :func:`shroomcurate.restore.restore`.

    Examples
    --------
    >>> restore("fungi", reason="outlier", class_name="Amanita muscaria")  # doctest: +SKIP
    """
    from shroomcurate.restore import restore

    return restore(call.place, _options(RestoreOptions, call), call.told)


# -- what they are worth -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _TrainBaseline(_Told, EmbedOptions, SplitOptions, TrainOptions, _Of): ...


@by_keyword(_TrainBaseline)
def train_baseline(call: _TrainBaseline) -> BaselineSummary:
    """Split the clean photos without leaks, train a baseline, and say what the dataset is worth.

    Options: :class:`shroomcurate.training.TrainOptions`, :class:`shroomcurate.split.SplitOptions` and, for photos that
    nobody has embedded, :class:`shroomcurate.embed.EmbedOptions`. Raises: see
    :func:`shroomcurate.training.train_baseline` and :func:`shroomcurate.split.split`.

    Examples
    --------
    >>> train_baseline("fungi", mode="probe").macro_f1  # doctest: +SKIP
    """
    from shroomcurate.embed import embed
    from shroomcurate.runs import former_split_back
    from shroomcurate.split import split
    from shroomcurate.training import check_ready, train_baseline

    place, options, progress = call.place, _options(TrainOptions, call), call.told
    place.require("clean.parquet")
    check_ready(place, options)
    if not place.path("embeddings.parquet").exists():
        embed(place, _options(EmbedOptions, call), progress)
    with former_split_back(place):
        split(place, _options(SplitOptions, call), progress)
        return train_baseline(place, options, progress)


def predict(dataset: Where, photos: File | Iterable[File], run: str | None = None) -> Predictions:
    """Say which classes photos may show, how sure that is, and what is known of their edibility. No food advice.

    Parameters
    ----------
    photos
        One file, or several.
    run
        A run of the dataset; None: the latest that has a network.

    Raises: see :func:`shroomcurate.predict.predict`.

    Examples
    --------
    >>> predict("fungi", "photo.jpg").photos[0].guesses  # doctest: +SKIP
    """
    from shroomcurate.predict import predict

    return predict(_place(dataset), as_typed("tuple[Path, ...]", photos), run)


@dataclass(frozen=True)
class _Report(_Told, ReportOptions, _Of): ...


@by_keyword(_Report)
def report(call: _Report) -> ReportSummary:
    """Write ``report.html``: one self-contained page about the dataset, to look at or to send.

    Options: :class:`shroomcurate.report.ReportOptions`. Raises: see :func:`shroomcurate.report.report`.

    Examples
    --------
    >>> report("fungi", note="A first look.").path  # doctest: +SKIP
    """
    from shroomcurate.report import report

    return report(call.place, _options(ReportOptions, call), call.told)


# -- handing it on -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Export(_Told, ExportOptions, _Of):
    out: Path | None = None
    """The folder to write; None: ``exports/FORMAT`` in the dataset."""


@by_keyword(_Export)
def export(call: _Export) -> ExportSummary:
    """Write the kept photos for others to use, with licences, attribution and a manifest. A missing split is made.

    Options: :class:`shroomcurate.export.ExportOptions`. Raises: see :func:`shroomcurate.export.export`.

    Examples
    --------
    >>> export("fungi", format="webdataset", licenses="commercial").folder  # doctest: +SKIP
    """
    from shroomcurate.export import export
    from shroomcurate.resplit import split_if_due

    place, options = call.place, _options(ExportOptions, call)
    if options.split:
        split_if_due(place, progress=call.told)
    return export(place, call.out, options, call.told)


def verify(folder: File, progress: Progress | bool | None = None) -> Verification:
    """Check an export against its manifest: every file, every hash, every licence. ``sound`` tells how it ended.

    Raises: see :func:`shroomcurate.export.verify.verify`.

    Examples
    --------
    >>> verify("fungi/exports/webdataset").sound  # doctest: +SKIP
    """
    from shroomcurate.export.verify import verify

    return verify(Path(folder), chosen(progress))


def build(
    file: File = "shroomcurate.toml",
    *,
    locked: bool = False,
    dataset: File | None = None,
    database_url: str | None = None,
    progress: Progress | bool | None = None,
) -> BuildSummary | LockedSummary:
    """Make a dataset from one file: all stages in order, until each class has N clean photos.

    Parameters
    ----------
    locked
        Fetch exactly the photos of the lock beside the file, and return a :class:`shroomcurate.build.LockedSummary`.
    dataset, database_url
        Count above what the file says.

    Raises: see :func:`shroomcurate.build.build`.

    Examples
    --------
    >>> build("shroomcurate.toml").shortages  # doctest: +SKIP
    """
    from shroomcurate.build import build, build_locked

    place = Path(file)
    lock_alone = locked and not place.exists() and place.with_suffix(".lock").exists()
    said: dict[str, Any] = {"dataset": Path(dataset) if dataset else None, "database_url": database_url}
    heard = {name: os.environ.get(f"SHROOMCURATE_{name.upper()}") for name in ("dataset", "database_url")}
    otherwise: dict[str, Any] = {name: value for name, value in heard.items() if value}
    if "dataset" in otherwise:
        otherwise["dataset"] = Path(otherwise["dataset"])
    recipe = read_recipe(place, "" if lock_alone else None, otherwise)
    recipe = replace(recipe, **{name: value for name, value in said.items() if value})
    if locked:
        return build_locked(recipe, chosen(progress), compare=not lock_alone)
    return build(recipe, chosen(progress))

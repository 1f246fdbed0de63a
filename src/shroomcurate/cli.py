"""The commands. Each reads its options, runs its stages and shows what they return; nothing else lives here.

Stages are imported inside their commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import shlex
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from shroomcurate import __version__, show
from shroomcurate.catalogue.load import LoadOptions
from shroomcurate.clean import CleanOptions
from shroomcurate.dataset import Dataset
from shroomcurate.demo.plan import DemoOptions
from shroomcurate.download import DownloadOptions
from shroomcurate.embed import EmbedOptions
from shroomcurate.options import AsJson, DatabaseUrl, DatasetFolder, Images, Quiet, Weights
from shroomcurate.report import ReportOptions
from shroomcurate.restore import RestoreOptions
from shroomcurate.select import QueryOptions
from shroomcurate.split import SplitOptions
from shroomcurate.terminal import Terminal, own_this_process, reported
from shroomcurate.training import TrainOptions

app = typer.Typer(
    name="shroomcurate",
    help="Image datasets one can defend, curated from the iNaturalist open data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

DATASET = Path("dataset")
DEMO_NOTE = "A demonstration: these photos are painted, and no such observations exist."


def main() -> None:
    """Run the command line."""
    # Pillow warns about damaged EXIF data; whether a photo is whole is our own question.
    warnings.filterwarnings("ignore", module="PIL")
    own_this_process()
    app()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shroomcurate {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Image datasets one can defend, curated from the iNaturalist open data.

    In order: **load-csvs**, **query**, **download**, **clean**, **train-baseline**, **report**. Any of them can be
    stopped at any moment and typed again. **demo** shows all of it without a network; **status** says where you are.
    """


@app.command("load-csvs")
def load_csvs(
    source: Annotated[
        Path,
        typer.Argument(help="Folder of taxa, observations, photos and observers, .csv or .csv.gz; or the .tar.gz."),
    ] = Path("inaturalist-open-data"),
    taxon: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or id; everything below it is kept. Can be given again. Left away: Basidiomycota and Ascomycota."
        ),
    ] = None,
    quality: Annotated[str, typer.Option(help="Quality grade: research, needs_id, casual or any.")] = "research",
    all_taxa: Annotated[bool, typer.Option("--all-taxa", help="Keep every taxon.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Accept a dump half as large as the one before.")] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Load the iNaturalist open-data dump into the catalogue.

    The files are filtered while they are read and never unpacked to disk. The old catalogue stays in use until the
    new one is complete.

    Example: `shroomcurate load-csvs ~/inaturalist-open-data`
    """
    from shroomcurate.catalogue.load import load_csvs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal), terminal.progress() as progress:
        taxa = tuple(taxon) if taxon else LoadOptions.taxa
        report = load_csvs(LoadOptions(source, taxa, quality, all_taxa, force), database_url, progress)
    show.load_csvs(terminal, report)


@app.command()
def query(
    species: Annotated[int, typer.Option(help="Classes: those with most available photos.")] = QueryOptions.species,
    per_class: Annotated[int, typer.Option(help="Photos of each class.")] = QueryOptions.per_class,
    reserve: Annotated[
        int | None, typer.Option(help="Further photos of each class, to fill holes. Left away: half of --per-class.")
    ] = None,
    rank: Annotated[str, typer.Option(help="What a class is: species, genus or family.")] = QueryOptions.rank,
    licenses: Annotated[
        str, typer.Option(help="any, commercial, share, or licences joined by commas.")
    ] = QueryOptions.licenses,
    min_per_class: Annotated[int, typer.Option(help="Leave out classes with fewer photos.")] = 1,
    max_per_observation: Annotated[int | None, typer.Option(help="Photos of one observation, at most.")] = None,
    max_per_observer: Annotated[int | None, typer.Option(help="Photos of one observer in a class, at most.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws another sample.")] = QueryOptions.seed,
    template: Annotated[Path | None, typer.Option(help="A SELECT of your own, like sql/select/balanced.sql.")] = None,
    show_sql: Annotated[bool, typer.Option("--show-sql", help="Print what psql would run, and stop.")] = False,
    dataset: DatasetFolder = DATASET,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Select N research-grade photos of each class from the catalogue.

    Example: `shroomcurate query --species 445 --per-class 500`
    """
    from shroomcurate import select

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal):
        options = QueryOptions(
            species=species,
            per_class=per_class,
            reserve=reserve,
            rank=rank,
            licenses=licenses,
            min_per_class=min_per_class,
            max_per_observation=max_per_observation,
            max_per_observer=max_per_observer,
            seed=seed,
            template=template,
        )
        if show_sql:
            typer.echo(select.show_sql(options))
            return
        summary = select.query(Dataset(dataset), options, database_url)
    show.query(terminal, summary, options)


@app.command()
def download(
    base_url: Annotated[str, typer.Option(help="A mirror of the bucket.")] = DownloadOptions.base_url,
    photo_size: Annotated[
        str, typer.Option("--size", help="original, large, medium, small, thumb or square.")
    ] = DownloadOptions.size,
    concurrency: Annotated[int, typer.Option(help="Requests at a time, at most.")] = DownloadOptions.concurrency,
    attempts: Annotated[int, typer.Option(help="Requests for one photo, at most.")] = DownloadOptions.attempts,
    retry_gone: Annotated[
        bool, typer.Option("--retry-gone", help="Ask again for photos that were gone or broken.")
    ] = False,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fetch the selected photos into class folders, filling holes from the reserve.

    Example: `shroomcurate download --size small`
    """
    from shroomcurate.download import download

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal), terminal.progress() as progress:
        options = DownloadOptions(
            base_url=base_url, size=photo_size, concurrency=concurrency, attempts=attempts, retry_gone=retry_gone
        )
        summary = download(Dataset(dataset), options, progress)
    show.download(terminal, summary)


@app.command()
def clean(
    eps: Annotated[
        float,
        typer.Option(
            help="DBSCAN's radius, as cosine distance. Smaller removes more, until no cluster is left to be the class."
        ),
    ] = CleanOptions.eps,
    min_samples: Annotated[
        int, typer.Option(help="Neighbours that make a photo the core of a cluster, at least.")
    ] = CleanOptions.min_samples,
    min_share: Annotated[
        float, typer.Option(help="Share of a class that a cluster must hold to belong to it.")
    ] = CleanOptions.min_share,
    max_share: Annotated[
        float, typer.Option(help="Leave a class alone of which more than this share would go.")
    ] = CleanOptions.max_share,
    embedder: Annotated[
        str, typer.Option(help="mobilenet_v3_small, or classic, which needs no weights.")
    ] = EmbedOptions.embedder,
    weights: Weights = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, but write and move nothing.")] = False,
    images: Images = None,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Move photos that do not belong to their class into removed/, and near-duplicates with them.

    Nothing is deleted: `shroomcurate restore` brings photos back. Another --eps judges all photos anew.

    Example: `shroomcurate clean --eps 0.3`
    """
    import tempfile

    from shroomcurate.clean import clean
    from shroomcurate.embed import embed

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal), terminal.progress() as progress:
        options = CleanOptions(
            eps=eps, min_samples=min_samples, min_share=min_share, max_share=max_share, dry_run=dry_run
        )
        place = Dataset(dataset, images)
        with tempfile.TemporaryDirectory() as scratch:
            elsewhere = Path(scratch) / "embeddings.parquet" if dry_run else None
            embedded = embed(place, EmbedOptions(embedder, weights), progress, elsewhere)
            summary = clean(place, options, progress, elsewhere)
    show.clean(terminal, summary, embedded)


@app.command()
def restore(
    reason: Annotated[str | None, typer.Option(help="Only those removed for this reason.")] = None,
    class_name: Annotated[str | None, typer.Option("--class", help="Only those of this class.")] = None,
    photo_id: Annotated[list[int] | None, typer.Option(help="Only this photo. Can be given again.")] = None,
    images: Images = None,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put removed photos back: all, or those that fulfil every option.

    It counts as your verdict: the next `clean` keeps them.

    Example: `shroomcurate restore --class Amanita_muscaria --reason outlier`
    """
    from shroomcurate.restore import restore

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal):
        options = RestoreOptions(reason, class_name and class_name.replace(" ", "_"), tuple(photo_id or ()))
        summary = restore(Dataset(dataset, images), options)
    show.restore(terminal, summary)


@app.command("train-baseline")
def train_baseline(
    mode: Annotated[str, typer.Option(help="finetune, or probe, which needs seconds.")] = TrainOptions.mode,
    compare: Annotated[
        str, typer.Option(help="Raw against cleaned by: probe, same (this mode's model) or none.")
    ] = TrainOptions.compare,
    head_epochs: Annotated[int, typer.Option(help="Epochs for the new head, at most.")] = TrainOptions.head_epochs,
    block_epochs: Annotated[int, typer.Option(help="Epochs for the last blocks, at most.")] = TrainOptions.block_epochs,
    batch_size: Annotated[int, typer.Option(help="Photos a step.")] = TrainOptions.batch_size,
    seed: Annotated[int, typer.Option(help="Of the split and of training.")] = TrainOptions.seed,
    embedder: Annotated[str, typer.Option(help="For probe: as in clean.")] = EmbedOptions.embedder,
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
    with reported(terminal), terminal.progress() as progress:
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
        if not place.path("embeddings.parquet").exists():
            embed(place, EmbedOptions(embedder, weights), progress)
        parts = split(place, SplitOptions(seed=seed))
        summary = train_baseline(place, options, progress)
    show.train_baseline(terminal, summary, parts, str(place.root / summary.run))


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
    with reported(terminal), terminal.progress() as progress:
        summary = report(Dataset(dataset, images), ReportOptions(note=note), progress)
    show.report(terminal, summary)


@app.command()
def status(
    images: Images = None, dataset: DatasetFolder = DATASET, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Say where the dataset stands, and what to type next.

    Example: `shroomcurate status --dataset ~/fungi`
    """
    from shroomcurate.status import status

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal):
        found = status(Dataset(dataset, images))
    show.status(terminal, found, str(dataset))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo's dump, catalogue and dataset go.")] = Path("demo"),
    per_species: Annotated[int, typer.Option(help="Photos painted of each species.")] = DemoOptions.per_species,
) -> None:
    """Run the whole pipeline on a painted dump and a photo server of its own. No network, about two minutes.

    Example: `shroomcurate demo`
    """
    from shroomcurate.demo.dump import make_demo
    from shroomcurate.demo.score import score_cleaning
    from shroomcurate.demo.server import serve_photos

    terminal = Terminal()
    page = folder / "dataset" / "report.html"
    with reported(terminal), _environment(SHROOMCURATE_HOME=folder / "home", SHROOMCURATE_DATASET=folder / "dataset"):
        terminal.say(f"Painting a dump of mushrooms that nobody ever found, into {folder / 'dump'} …")
        started = time.monotonic()
        with terminal.progress() as progress:
            truth = make_demo(folder / "dump", DemoOptions(per_species=per_species), progress)
        took = {"paint the dump": time.monotonic() - started}
        with serve_photos(folder / "dump") as url:
            for words in (
                ["load-csvs", str(folder / "dump")],
                ["query", "--species", str(truth.species), "--per-class", str(per_species * 2 // 3)],
                ["download", "--base-url", url],
                ["clean", "--eps", "0.3", "--embedder", "classic"],
                ["train-baseline", "--mode", "probe"],
                ["report", "--note", DEMO_NOTE],
                ["status"],
            ):
                terminal.say(f"\n[bold green]$ shroomcurate {shlex.join(words)}[/]")
                started = time.monotonic()
                code = app(words, standalone_mode=False)
                if code:
                    raise typer.Exit(code)
                took[words[0]] = time.monotonic() - started
        show.demo(terminal, score_cleaning(Dataset(folder / "dataset"), folder / "dump" / "truth.csv"), took, str(page))


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

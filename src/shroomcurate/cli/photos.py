"""The commands that fetch photos, clean them out and bring them back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shroomcurate import show
from shroomcurate.clean import CleanOptions
from shroomcurate.cli.root import DATASET, app, close, said_by
from shroomcurate.dataset import Dataset
from shroomcurate.download import SIZES, DownloadOptions
from shroomcurate.embed import EMBEDDERS, EmbedOptions
from shroomcurate.errors import BadOption
from shroomcurate.options import (
    AsJson,
    DatabaseUrl,
    DatasetFolder,
    Engine,
    Images,
    Quiet,
    RayAddress,
    Weights,
    one_of,
    removed_classes,
    removed_reasons,
)
from shroomcurate.ray_cluster import address_of
from shroomcurate.restore import RestoreOptions
from shroomcurate.terminal import Terminal, reported


@app.command()
def download(
    base_url: Annotated[
        str, typer.Option(envvar="SHROOMCURATE_BASE_URL", help="A mirror of the bucket.")
    ] = DownloadOptions.base_url,
    photo_size: Annotated[
        str,
        typer.Option("--size", help="original, large, medium, small, thumb or square.", autocompletion=one_of(*SIZES)),
    ] = DownloadOptions.size,
    concurrency: Annotated[int, typer.Option(help="Requests at a time, at most.")] = DownloadOptions.concurrency,
    max_rate: Annotated[
        list[str] | None,
        typer.Option(
            help="Requests a second (20), or bytes a second (2MB), at most; for both: --max-rate 20 --max-rate 2MB."
        ),
    ] = None,
    attempts: Annotated[int, typer.Option(help="Requests for one photo, at most.")] = DownloadOptions.attempts,
    retry_gone: Annotated[
        bool, typer.Option("--retry-gone", help="Ask again for photos that were gone or corrupt.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash the photos that are here, and fetch the damaged ones again.")
    ] = False,
    recheck: Annotated[
        bool,
        typer.Option(
            "--recheck", help="First take out photos that were taken down since, or have another licence now."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be fetched; ask for nothing.")] = False,
    engine: Engine = "local",
    ray_address: RayAddress = None,
    database_url: DatabaseUrl = None,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fetch the selected photos into class folders, filling holes from the reserve.

    Run it again after clean: the reserve fills what that took out.

    Example: `shroomcurate download --size small --max-rate 50`
    """
    from shroomcurate.download import download, plan
    from shroomcurate.download import recheck as look_again
    from shroomcurate.select import licenses_now

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal):
        place = Dataset(dataset)
        options = DownloadOptions(
            base_url=base_url,
            size=photo_size,
            concurrency=concurrency,
            max_rate=tuple(max_rate or ()),
            attempts=attempts,
            retry_gone=retry_gone,
            verify=verify,
            ray=address_of(engine, ray_address),
        )
        with terminal.progress():
            expected = plan(place, options)
        if dry_run:
            show.download_plan(terminal, expected, recheck=recheck, verify=verify)
            return
        show.warn_of_space(terminal, expected)
        rechecked = None
        if recheck:
            with terminal.progress() as progress:
                newer = licenses_now(place, database_url)
                rechecked = look_again(place, options, newer.licenses, progress)
            show.recheck(terminal, rechecked, newer.why_not)
        with terminal.progress() as progress:
            summary = download(place, options, progress)
        show.download(terminal, summary, rechecked)
        close(terminal, place)


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
    auto_eps: Annotated[
        bool, typer.Option("--auto-eps", help="Find eps for each class, at the knee of its k-distance curve.")
    ] = False,
    no_learn: Annotated[
        bool,
        typer.Option("--no-learn", help="DBSCAN alone: learn nothing from other classes and from verdicts."),
    ] = False,
    suggest: Annotated[
        int, typer.Option(help="Name this many photos whose verdict would teach most.")
    ] = CleanOptions.suggest,
    embedder: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(EMBEDDERS[:-1])}, or {EMBEDDERS[-1]}, which needs no weights.",
            autocompletion=one_of(*EMBEDDERS),
        ),
    ] = EmbedOptions.embedder,
    weights: Weights = None,
    engine: Engine = "local",
    ray_address: RayAddress = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, but write and move nothing.")] = False,
    images: Images = None,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: Quiet = False,
    *,
    ctx: typer.Context,
) -> None:
    """Move photos that do not belong to their class into removed/, and near-duplicates with them.

    Nothing is deleted: `shroomcurate restore` brings photos back. Another --eps judges all photos anew. Verdicts in
    verdicts.csv count above all, and the next run learns from them.

    Example: `shroomcurate clean --eps 0.3 --suggest 50`
    """
    import tempfile

    from shroomcurate.clean import clean
    from shroomcurate.embed import embed

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal):
        if auto_eps and said_by(ctx, "eps") == "COMMANDLINE":
            raise BadOption("--eps gives one eps, --auto-eps finds one for each class.", "Leave one of them away.")
        options = CleanOptions(
            eps=eps,
            auto_eps=auto_eps,
            min_samples=min_samples,
            min_share=min_share,
            max_share=max_share,
            learn=not no_learn,
            suggest=suggest,
            dry_run=dry_run,
        )
        place = Dataset(dataset, images)
        with terminal.progress() as progress, tempfile.TemporaryDirectory() as scratch:
            elsewhere = Path(scratch) / "embeddings.parquet" if dry_run else None
            described = EmbedOptions(embedder, weights, address_of(engine, ray_address))
            embedded = embed(place, described, progress, elsewhere)
            summary = clean(place, options, progress, elsewhere)
        show.clean(terminal, summary, embedded, place)
        if not dry_run:
            close(terminal, place)


@app.command()
def restore(
    reason: Annotated[
        str | None, typer.Option(help="Only those removed for this reason.", autocompletion=removed_reasons)
    ] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Only those of this class.", autocompletion=removed_classes)
    ] = None,
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
        options = RestoreOptions(reason and reason.replace(" ", "_"), class_name, tuple(photo_id or ()))
        place = Dataset(dataset, images)
        with terminal.progress() as progress:
            summary = restore(place, options, progress)
        show.restore(terminal, summary)
        close(terminal, place)

"""The commands that fetch photos, clean them out and bring them back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shroomcurate import show
from shroomcurate.clean import CleanOptions
from shroomcurate.cli.app import DATASET, app
from shroomcurate.dataset import Dataset
from shroomcurate.download import DownloadOptions
from shroomcurate.embed import EmbedOptions
from shroomcurate.options import AsJson, DatasetFolder, Images, Quiet, Weights
from shroomcurate.restore import RestoreOptions
from shroomcurate.terminal import Terminal, reported


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

"""The commands that hand a dataset on: its export, and the check of one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from shroomcurate import show_export
from shroomcurate.cli.root import DATASET, app
from shroomcurate.dataset import Dataset
from shroomcurate.errors import UNSOUND
from shroomcurate.export import FORMATS, LINKS, ExportOptions
from shroomcurate.licences import LICENSE_PROFILES, LICENSES
from shroomcurate.options import AsJson, DatasetFolder, Images, Quiet, one_of, several_of
from shroomcurate.terminal import Terminal, reported


@app.command()
def export(
    format: Annotated[  # noqa: A002  # the option's name
        str, typer.Option(help=f"One of: {', '.join(FORMATS)}.", autocompletion=one_of(*FORMATS))
    ] = ExportOptions.format,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write. Left away: exports/FORMAT in the dataset.")
    ] = None,
    licenses: Annotated[
        str,
        typer.Option(
            help="Only photos of these licences: commercial (any use), share (non-commercial, changes allowed), any; "
            "or names joined by commas.",
            autocompletion=several_of(*LICENSES, alone=LICENSE_PROFILES),
        ),
    ] = ExportOptions.licenses,
    no_split: Annotated[bool, typer.Option("--no-split", help="All photos together, no train, val and test.")] = False,
    link: Annotated[
        str,
        typer.Option(
            help="copy; or hard or symlink, which take no room (class folders only).", autocompletion=one_of(*LINKS)
        ),
    ] = ExportOptions.link,
    name: Annotated[
        str | None, typer.Option(help="What the dataset is called inside. Left away: inaturalist-N-classes.")
    ] = None,
    shard_mb: Annotated[
        int, typer.Option(help="Size of a shard in MB, for formats that have them.")
    ] = ExportOptions.shard_mb,
    force: Annotated[bool, typer.Option("--force", help="Replace whatever the folder holds.")] = False,
    images: Images = None,
    dataset: DatasetFolder = DATASET,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the kept photos for others to use: a format, licences, attribution and a manifest beside it.

    An export that stands there is replaced in one moment. Where there is no split yet, it is made as train-baseline
    would make it.

    Example: `shroomcurate export --format webdataset --licenses commercial`
    """
    from shroomcurate.export import export
    from shroomcurate.resplit import split_if_due

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal):
        options = ExportOptions(format, link, licenses, not no_split, name, shard_mb, force)
        place = Dataset(dataset, images)
        with terminal.progress() as progress:
            tell = partial(show_export.splitting, terminal)
            made = split_if_due(place, progress=progress, tell=tell) if options.split else None
            summary = export(place, out, options, progress)
        show_export.export(terminal, summary, options, made)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="The folder that `export` wrote.")],
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check an export against its manifest: every file, every hash, every licence. Ends with 18 when it is not sound.

    Example: `shroomcurate verify dataset/exports/webdataset`
    """
    from shroomcurate.export.verify import verify

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal):
        with terminal.progress() as progress:
            found = verify(folder, progress)
        show_export.verification(terminal, found)
        if not found.sound:
            raise typer.Exit(UNSOUND)

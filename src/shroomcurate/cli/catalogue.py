"""The commands that fill the catalogue and select from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shroomcurate import show
from shroomcurate.catalogue.load import LoadOptions
from shroomcurate.cli.app import DATASET, app
from shroomcurate.dataset import Dataset
from shroomcurate.options import AsJson, DatabaseUrl, DatasetFolder, Quiet
from shroomcurate.select import QueryOptions
from shroomcurate.terminal import Terminal, reported


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
    names: Annotated[
        Path | None, typer.Option(help="File of the classes you want, a name or taxon id a line, instead of the best.")
    ] = None,
    taxon: Annotated[
        list[str] | None, typer.Option(help="Only what lies at or below this name or id. Can be given again.")
    ] = None,
    licenses: Annotated[
        str, typer.Option(help="any, commercial, share, or licences joined by commas.")
    ] = QueryOptions.licenses,
    region: Annotated[
        str | None,
        typer.Option(
            help="conus (contiguous United States), or west,south,east,north in degrees: --region=-10,35,30,60"
        ),
    ] = None,
    since: Annotated[str | None, typer.Option(help="First day of observation, YYYY-MM-DD or YYYY.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day of observation, YYYY-MM-DD or YYYY.")] = None,
    quality: Annotated[
        str, typer.Option(help="Quality grade: research, needs_id, casual or any. Others than research are unverified.")
    ] = QueryOptions.quality,
    min_per_class: Annotated[int, typer.Option(help="Leave out classes with fewer photos.")] = 1,
    max_per_observation: Annotated[int | None, typer.Option(help="Photos of one observation, at most.")] = None,
    max_per_observer: Annotated[int | None, typer.Option(help="Photos of one observer in a class, at most.")] = None,
    exclude: Annotated[
        list[Path] | None,
        typer.Option(
            help="An earlier dataset: its folder, its selection, or a file of photo ids. Its photos are left out, "
            "and the others of their observations. Can be given again."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws another sample.")] = QueryOptions.seed,
    template: Annotated[
        str | None, typer.Option(help="A template by name, or a file with a SELECT of your own.")
    ] = None,
    list_templates: Annotated[
        bool, typer.Option("--list-templates", help="List the templates and their parameters, and stop.")
    ] = False,
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
        if list_templates:
            show.templates(terminal, select.list_templates())
            return
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
            names=names,
            taxa=tuple(taxon or ()),
            quality=quality,
            region=region,
            since=since,
            until=until,
            exclude=tuple(exclude or ()),
        )
        if show_sql:
            typer.echo(select.show_sql(options, database_url))
            return
        summary = select.query(Dataset(dataset), options, database_url)
    show.query(terminal, summary, options)

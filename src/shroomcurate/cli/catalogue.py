"""The commands that fill the catalogue and select from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shroomcurate import show
from shroomcurate.catalogue.api import ApiOptions
from shroomcurate.catalogue.fetch import FetchOptions
from shroomcurate.catalogue.load import QUALITIES, LoadOptions
from shroomcurate.cli.root import DATASET, app, close
from shroomcurate.dataset import Dataset
from shroomcurate.options import AsJson, DatabaseUrl, DatasetFolder, Quiet, one_of, several_of
from shroomcurate.select import LICENSE_PROFILES, LICENSES, QueryOptions
from shroomcurate.select.options import RANKS
from shroomcurate.terminal import Terminal, reported


@app.command("fetch-dumps")
def fetch_dumps(
    folder: Annotated[
        Path, typer.Argument(help="Where the files shall lie; made when it is not there.")
    ] = FetchOptions.folder,
    base_url: Annotated[
        str, typer.Option(help="The bucket, or a mirror with the same files in the same places.")
    ] = FetchOptions.base_url,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="The one .tar.gz of all tables, not the four files.")
    ] = False,
    connections: Annotated[int, typer.Option(help="Requests at a time, 1 to 16.")] = FetchOptions.connections,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash the files that are here, also where size and time look right.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Take files whose dates lie more than a week apart.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fetch the iNaturalist open-data dump: four files, 32 GB, or what is missing of them.

    It can be stopped at any moment and typed again. Each file is checked, and dump.lock says what came from where.
    A newer snapshot takes the place of an older one when all of it is there.

    Example: `shroomcurate fetch-dumps ~/inaturalist-open-data`
    """
    from shroomcurate.catalogue import fetch

    terminal = Terminal(as_json=as_json, quiet=quiet)
    options = FetchOptions(folder, base_url, bundle, connections, verify, force)
    with reported(terminal), terminal.progress() as progress:
        report = fetch.fetch_dumps(options, progress)
    show.fetch_dumps(terminal, report)


@app.command("load-csvs")
def load_csvs(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folder of taxa, observations, photos and observers, .csv or .csv.gz; or the .tar.gz; or the four "
            "files. Paths or URLs. Left away: inaturalist-open-data.",
            show_default=False,
        ),
    ] = None,
    taxon: Annotated[
        list[str] | None,
        typer.Option(
            help="Name or id; everything below it is kept. Can be given again. Left away: Basidiomycota and Ascomycota."
        ),
    ] = None,
    quality: Annotated[
        str,
        typer.Option(help="Quality grade: research, needs_id, casual or any.", autocompletion=one_of(*QUALITIES)),
    ] = "research",
    all_taxa: Annotated[bool, typer.Option("--all-taxa", help="Keep every taxon.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Accept a dump with less than half of the rows of the load before; load the same one again."
        ),
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Tell what changed since the load before: gone, relicensed, re-identified.")
    ] = False,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Load the iNaturalist open-data dump into the catalogue.

    The files are filtered while they are read and never unpacked to disk. The old catalogue stays in use until the
    new one is complete. The same dump again is recognised, and done at once.

    Example: `shroomcurate load-csvs ~/inaturalist-open-data`
    """
    from shroomcurate.catalogue.load import load_csvs

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal), terminal.progress() as progress:
        options = LoadOptions(
            source=source or ["inaturalist-open-data"],
            taxa=tuple(taxon) if taxon else LoadOptions.taxa,
            quality=quality,
            all_taxa=all_taxa,
            force=force,
            diff=diff,
        )
        report = load_csvs(options, database_url, progress)
    show.load_csvs(terminal, report, diff=diff)


@app.command("load-api")
def load_api(
    species_file: Annotated[
        Path | None, typer.Option(help="Text file: a name or id of a species a line, # begins a comment.")
    ] = None,
    taxon: Annotated[
        list[str] | None,
        typer.Option(help="Name or id. Above species: its best-covered species. Can be given again."),
    ] = None,
    per_species: Annotated[
        int, typer.Option(help="Photos of each species; half as many again are fetched for the reserve.")
    ] = ApiOptions.per_species,
    species: Annotated[int, typer.Option(help="Species of each --taxon above species, at most.")] = ApiOptions.species,
    contact: Annotated[
        str | None,
        typer.Option(
            envvar="SHROOMCURATE_CONTACT",
            help="Your e-mail address or web page, sent along so that iNaturalist can reach you.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where the fetched pages and the small dump lie. Left away: under SHROOMCURATE_HOME."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask for every page again, also for those fetched.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a catalogue that came from elsewhere.")] = False,
    api_url: Annotated[str, typer.Option(help="Where the API is.")] = ApiOptions.api_url,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Load a small set of species from the iNaturalist API, without the dump.

    Research-grade photos with an open licence, oldest observations first; one request a second. Can be stopped at any
    moment and typed again.

    Example: `shroomcurate load-api --taxon Amanita --species 10 --contact you@example.org`
    """
    from shroomcurate.catalogue import api
    from shroomcurate.catalogue.api_folder import pages_there

    terminal = Terminal(as_json=as_json, quiet=quiet)
    with reported(terminal), terminal.progress() as progress:
        options = ApiOptions(
            species_file=species_file,
            taxa=tuple(taxon or ()),
            per_species=per_species,
            species=species,
            contact=contact,
            api_url=api_url,
            folder=folder,
            fresh=fresh,
            force=force,
        )
        there = 0 if fresh else pages_there(options.place)
        show.load_api_ahead(terminal, api.expected_requests(options), there, options)
        report = api.load_api(options, database_url, progress)
    show.load_api(terminal, report, options)


def _template_names(incomplete: str) -> list[str]:
    from shroomcurate.select import list_templates

    return one_of(*(template.name for template in list_templates()))(incomplete)


@app.command()
def query(
    species: Annotated[int, typer.Option(help="Classes: those with most available photos.")] = QueryOptions.species,
    per_class: Annotated[int, typer.Option(help="Photos of each class.")] = QueryOptions.per_class,
    reserve: Annotated[
        int | None, typer.Option(help="Further photos of each class, to fill holes. Left away: half of --per-class.")
    ] = None,
    rank: Annotated[
        str, typer.Option(help="What a class is: species, genus or family.", autocompletion=one_of(*RANKS))
    ] = QueryOptions.rank,
    names: Annotated[
        Path | None, typer.Option(help="File of the classes you want, a name or taxon id a line, instead of the best.")
    ] = None,
    taxon: Annotated[
        list[str] | None, typer.Option(help="Only what lies at or below this name or id. Can be given again.")
    ] = None,
    licenses: Annotated[
        str,
        typer.Option(
            help="any, commercial, share, or licences joined by commas.",
            autocompletion=several_of(*LICENSES, alone=LICENSE_PROFILES),
        ),
    ] = QueryOptions.licenses,
    region: Annotated[
        str | None,
        typer.Option(
            help="conus (contiguous United States), or west,south,east,north in degrees: --region=-10,35,30,60",
            autocompletion=one_of("conus"),
        ),
    ] = None,
    since: Annotated[str | None, typer.Option(help="First day of observation, YYYY-MM-DD or YYYY.")] = None,
    until: Annotated[str | None, typer.Option(help="Last day of observation, YYYY-MM-DD or YYYY.")] = None,
    quality: Annotated[
        str,
        typer.Option(
            help="Quality grade: research, needs_id, casual or any. Others than research are unverified.",
            autocompletion=one_of(*QUALITIES),
        ),
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
        str | None,
        typer.Option(help="A template by name, or a file with a SELECT of your own.", autocompletion=_template_names),
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
        place = Dataset(dataset)
        with terminal.progress() as progress:
            summary = select.query(place, options, database_url, progress)
        show.query(terminal, summary, options)
        close(terminal, place)

"""Fill the catalogue from the iNaturalist API: a small set, without the dumps.

Reads: the API, a page at a time. Writes: the pages and a small dump in the true layout, under one folder; then the
catalogue, by the same load as any dump, with its checks, its report and its one swap. Resumes: a page that came is not
asked for again, and a killed run that is typed again ends with the same bytes as one that was not killed.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from shroomcurate.catalogue.api_client import POLITE, Api, Manners
from shroomcurate.catalogue.api_folder import clear_pages, named_refusal, refuse_foreign, write_dump
from shroomcurate.catalogue.api_pages import Pages, keep_observations
from shroomcurate.catalogue.api_rows import observation_row, observer_row, photo_rows, taxon_row
from shroomcurate.catalogue.api_taxa import (
    COUNTS_AT_A_TIME,
    IDS_AT_A_TIME,
    OBSERVATIONS,
    Taxon,
    Wish,
    best_covered,
    find_taxa,
    is_above_species,
    with_ancestors,
)
from shroomcurate.catalogue.ledger import LoadReport
from shroomcurate.catalogue.load import LoadOptions, load_csvs
from shroomcurate.catalogue.note import write_note
from shroomcurate.catalogue.request import request_of
from shroomcurate.catalogue.server import connect
from shroomcurate.dataset import Dataset
from shroomcurate.errors import BadOption, NothingMatches
from shroomcurate.home import home
from shroomcurate.names_file import read_names
from shroomcurate.progress import Progress, silent
from shroomcurate.summary import Summary
from shroomcurate.transport import run_to_end

#: Observations in one page, at most: the API's limit.
_PAGE = 200
#: More is no small set: half an hour, some GB of answers, and a fifth of what the API bears from one user in a day.
_MOST_REQUESTS = 2_000

_USE_THE_DUMP = "For large sets the dump is faster, and kinder to the API: shroomcurate load-csvs"


@dataclass(frozen=True)
class ApiOptions:
    """What to ask the API for."""

    species_file: Path | None = None
    taxa: tuple[str, ...] = ()
    """Names or ids beside the file's; above species, the best-covered species below are meant."""
    per_species: int = 100
    """What ``query --per-class`` will want; half as many again are fetched for its reserve."""
    species: int = 50
    """Of each taxon above species, at most. Fifty of them cost a minute or two."""
    contact: str | None = None
    api_url: str = "https://api.inaturalist.org/v1"
    folder: Path | None = None
    """Where pages and the small dump lie; None is a folder of the user's data directory."""
    fresh: bool = False
    """Ask for every page again."""
    force: bool = False
    """Replace a catalogue that came from elsewhere."""

    def __post_init__(self) -> None:
        if self.species_file is None and not self.taxa:
            raise BadOption(
                "There is no species to ask for.",
                "Name them: --species-file FILE with a name a line, or --taxon Amanita --species 10",
            )
        for name, value, most in (
            ("--per-species", self.per_species, 10_000),
            ("--species", self.species, COUNTS_AT_A_TIME),
        ):
            if not 1 <= value <= most:
                raise BadOption(f"{name} {value} is not between 1 and {most:,}.", _USE_THE_DUMP)
        for text in self.taxa:
            if not text.isprintable():  # among others, bytes of the command line that are no UTF-8
                raise BadOption(f"--taxon {text!r} holds what is no text.", "Write the name in UTF-8, or give its id.")

    @property
    def wanted(self) -> int:
        """Photos to fetch of each species: those of a class and its reserve."""
        return self.per_species + self.per_species // 2

    @property
    def place(self) -> Path:
        """The folder of the pages and the small dump."""
        return (self.folder or home() / "api").absolute()

    def wishes(self) -> list[Wish]:
        """Return all that is asked for. An underscore stands for a blank, as in the names of class folders."""
        entries = read_names(self.species_file, "--species-file") if self.species_file else []
        listed = [
            Wish(entry.text.replace("_", " "), f"{self.species_file}, line {entry.line}", only_species=True)
            for entry in entries
        ]
        return listed + [Wish(" ".join(text.replace("_", " ").split()), "--taxon") for text in self.taxa]


@dataclass(frozen=True)
class SpeciesFetched:
    """What came of one species."""

    taxon_id: int
    name: str
    observations: int
    photos: int
    """With an open licence and in the bucket, each once."""
    ended: str
    """``enough``, ``all there are``, or ``too few of them usable``: why no further page was asked for."""


@dataclass(frozen=True)
class ApiReport(Summary):
    """What a load from the API did."""

    dump: str
    """The folder of the small dump, which ``load-csvs`` can load as well."""
    requests: int
    pages_there: int
    """Pages that an earlier run had fetched."""
    oldest_page: str | None
    """The day on which the oldest of them had come."""
    species: list[SpeciesFetched]
    left_out: dict[str, int]
    """Reason -> photos."""
    load: LoadReport


@dataclass
class _Found:
    """What the pages hold."""

    observations: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By UUID."""
    species: list[SpeciesFetched] = field(default_factory=list)
    taxa: list[Taxon] = field(default_factory=list)
    named: dict[tuple[int, ...], Taxon] = field(default_factory=dict)
    """The observations' taxa, one object for all observations of a taxon."""


def load_api(
    options: ApiOptions,
    database_url: str | None = None,
    progress: Progress = silent,
    manners: Manners = POLITE,
) -> ApiReport:
    """Fetch research-grade photos with an open licence of some species, and load them into the catalogue.

    Raises
    ------
    BadOption
        An option or the list of species cannot be used, the catalogue came from elsewhere and ``force`` is not set, or
        something lies in the folder that ``load-api`` did not make.
    NotWritable
        The folder cannot be made or written to.
    NothingMatches
        A name is unknown to iNaturalist, or there is no photo.
    NetworkDown, Refused
        The API's side of it; pages that came are kept.
    Busy
        Another load runs in the same folder or database.
    DatabaseUnreachable, DiskFull
        The server's side of it.
    """
    wishes = options.wishes()
    expected = expected_requests(options)
    if expected > _MOST_REQUESTS:
        raise BadOption(
            f"That would take {expected:,} requests; load-api makes {_MOST_REQUESTS:,} at most.", _USE_THE_DUMP
        )
    api = Api(options.api_url, options.contact, manners)
    dump = options.place / "dump"
    with named_refusal(options.place):
        refuse_foreign(options.place, fresh=options.fresh)  # the lock below would make the folder
    with named_refusal(options.place), Dataset(options.place).lock("load-api"):
        _refuse_other_catalogue(dump, database_url, options)
        if options.fresh:
            clear_pages(options.place / "pages")
        pages = Pages(options.place / "pages", api, progress, expected)
        found = _Found()
        run_to_end(_fetch(found, options, wishes, pages))
        left_out = _write(dump, found)
        report = load_csvs(_load_options(dump, found), database_url, progress)
    write_note(database_url, report, request_of(options))
    return ApiReport(
        dump=str(dump),
        requests=api.requests,
        pages_there=pages.there,
        oldest_page=None if pages.oldest is None else datetime.fromtimestamp(pages.oldest, UTC).date().isoformat(),
        species=found.species,
        left_out=left_out,
        load=report,
    )


def expected_requests(options: ApiOptions) -> int:
    """Return about how many requests it takes when no page is there yet: as many seconds."""
    wishes = options.wishes()
    named = [wish for wish in wishes if wish.taxon_id is None]
    # Only names of one word stand above species.
    above = [wish for wish in named if not wish.only_species and " " not in wish.text]
    species = len(wishes) - len(above) + options.species * len(above)
    ids = len(wishes) - len(named)
    return len(named) + -(-ids // IDS_AT_A_TIME) + len(above) + species * _pages(options.wanted) + _look_ups(species)


def _look_ups(species: int) -> int:
    """Return about how many requests it takes to look up what stands above and below some species."""
    # Three, one after the other, for a single one; each further brings some six taxa of its own.
    return 3 + 6 * species // IDS_AT_A_TIME


def _refuse_other_catalogue(dump: Path, database_url: str | None, options: ApiOptions) -> None:
    """Refuse to replace what did not come from this folder, unless that is wanted; before anything is asked for."""
    if options.force:
        return
    with connect(database_url, "load-api") as engine, engine.connect() as connection:
        if connection.exec_driver_sql("SELECT to_regclass('shroomcurate.load_ledger')").scalar() is None:
            return
        last = connection.exec_driver_sql(
            "SELECT source, loaded_at::date FROM shroomcurate.load_ledger ORDER BY load_id DESC LIMIT 1"
        ).first()
    if last is not None and last[0] != shlex.join([str(dump)]):
        raise BadOption(
            f"The catalogue in use was loaded from {last[0]} on {last[1]}; load-api would replace it.",
            "To keep both, set SHROOMCURATE_HOME to another folder, or give another --database-url, also to query. "
            "To replace it, add --force.",
        )


def _load_options(dump: Path, found: _Found) -> LoadOptions:
    known = {taxon["id"] for taxon in found.taxa}
    taxa = tuple(str(each.taxon_id) for each in found.species if each.taxon_id in known)
    # This dump is as large as was asked for: fewer rows than the load before had are no sign of a damage.
    return LoadOptions(dump, taxa, quality="research", force=True)


# -- fetching ----------------------------------------------------------------------------------------------------


async def _fetch(found: _Found, options: ApiOptions, wishes: Sequence[Wish], pages: Pages) -> None:
    async with pages.api:
        wanted: dict[int, Taxon] = {}
        for taxon in await find_taxa(pages, wishes):
            some = await best_covered(pages, taxon, options.species) if is_above_species(taxon) else [taxon]
            wanted.update((each["id"], each) for each in some)
        pages.expected = pages.done + len(wanted) * _pages(options.wanted) + _look_ups(len(wanted))
        for taxon in wanted.values():
            found.species.append(await _fetch_species(found, taxon, options.wanted, pages))
        found.taxa = await with_ancestors(pages, _ids(found, wanted.values()))
    pages.progress(pages.done, pages.done, "ask the API")


async def _fetch_species(found: _Found, taxon: Taxon, wanted: int, pages: Pages) -> SpeciesFetched:
    """Take pages in the order of observation ids until there are photos enough, or no more, or hardly any usable."""
    photos: set[int] = set()
    last = count = 0
    ended = "too few of them usable"
    # Each observation has a photo with an open licence; after four times the pages that this takes, something else
    # is wrong with this species' photos.
    per_page = min(_PAGE, wanted)
    for _ in range(4 * _pages(wanted)):
        parameters = {
            **OBSERVATIONS,
            "taxon_id": str(taxon["id"]),
            "per_page": str(per_page),
            "order_by": "id",
            "order": "asc",
            "id_above": str(last),
        }
        series = f"observations-{taxon['id']}-{wanted}"
        page = await pages.get(series, "observations", parameters, partial(keep_observations, above=last))
        for observation in page["observations"]:
            last = observation["id"]
            count += 1
            photos |= {row["photo_id"] for row in photo_rows(observation)[0]}
            _take(found, observation)
        if len(photos) >= wanted:
            ended = "enough"
            break
        if not page["observations"] or not page["more"]:
            ended = "all there are"
            break
    return SpeciesFetched(taxon["id"], str(taxon.get("name")), count, len(photos), ended)


def _pages(photos: int) -> int:
    """Return how many pages hold so many photos: each observation has one at least."""
    return -(-photos // _PAGE)


def _take(found: _Found, observation: dict[str, Any]) -> None:
    """Take an observation; of two states of one, which was identified anew between two pages, the later."""
    key = str(observation.get("uuid", observation["id"]))
    known = found.observations.get(key)
    if known is None or _changed_at(observation) >= _changed_at(known):
        if taxon := observation["taxon"]:
            observation["taxon"] = found.named.setdefault((taxon["id"], *taxon["ancestor_ids"]), taxon)
        found.observations[key] = observation


def _changed_at(observation: dict[str, Any]) -> datetime:
    try:
        when = datetime.fromisoformat(str(observation.get("updated_at")))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _ids(found: _Found, wanted: Iterable[Taxon]) -> set[int]:
    taxa = [*wanted, *(each["taxon"] for each in found.observations.values() if each["taxon"])]
    return {taxon_id for taxon in taxa for taxon_id in (taxon["id"], *taxon["ancestor_ids"])}


def _write(dump: Path, found: _Found) -> dict[str, int]:
    """Write the small dump, and return why photos are not in it."""
    observations, photos, left_out = [], [], Counter[str]()
    observers: dict[int, dict[str, Any]] = {}
    for observation in sorted(found.observations.values(), key=lambda each: (each["id"], str(each.get("uuid")))):
        rows, reasons = photo_rows(observation)
        left_out += reasons
        if rows:
            photos += rows
            observations.append(observation_row(observation))
            observers[observation["user"]["id"]] = observer_row(observation)
    if not photos:
        names = ", ".join(each.name for each in found.species[:5])
        raise NothingMatches(
            f"iNaturalist gives no research-grade photo with an open licence of {names}"
            f"{' and others' if len(found.species) > 5 else ''}; the catalogue stays as it was.",
            "Name other species.",
        )
    tables = {
        "taxa": [taxon_row(taxon) for taxon in found.taxa],
        "observations": observations,
        "photos": photos,
        "observers": [observers[each] for each in sorted(observers)],
    }
    write_dump(dump, tables)
    return dict(left_out.most_common())

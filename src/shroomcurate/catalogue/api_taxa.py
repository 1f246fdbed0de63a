"""The taxa that ``load-api`` is asked for: found by name or id, their species, and all that stands above them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shroomcurate.catalogue.api_pages import Pages, keep_counts, keep_taxa
from shroomcurate.catalogue.api_rows import LICENSES
from shroomcurate.errors import NothingMatches

#: What is a training example, in the API's words. Research grade excludes what is captive or cultivated.
OBSERVATIONS = {"quality_grade": "research", "photos": "true", "photo_license": ",".join(sorted(LICENSES))}

#: Ids in one look-up: the API refuses more.
IDS_AT_A_TIME = 30
#: Species in one answer of species_counts.
COUNTS_AT_A_TIME = 500
_SPECIES_LEVEL = 10
_SUGGESTIONS = 3

Taxon = dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """A name or id as a person wrote it, and where."""

    text: str
    where: str
    """``fungi.txt, line 3``, or ``--taxon``."""
    only_species: bool = False
    """Nothing above species is meant."""

    @property
    def taxon_id(self) -> int | None:
        """The id, when it is one."""
        return int(self.text) if re.fullmatch(r"[0-9]{1,18}", self.text) else None


# -- names and ids -----------------------------------------------------------------------------------------------


async def find_taxa(pages: Pages, wishes: Sequence[Wish]) -> list[Taxon]:
    """Return the taxon that each wish means, once each, in the order of the wishes.

    Raises
    ------
    NothingMatches
        Some are unknown, mean several taxa, or are not what was asked for; all of them are named, with the nearest
        names that the API has.
    """
    ids = sorted({wish.taxon_id for wish in wishes if wish.taxon_id is not None})
    by_id = {taxon["id"]: taxon for taxon in await _look_up(pages, ids)}
    found: dict[int, Taxon] = {}
    wrong = []
    for wish in wishes:
        candidates = []
        if wish.taxon_id is None:
            candidates = _of_that_name(await _search(pages, wish.text), wish.text)
        elif wish.taxon_id in by_id:
            candidates = [by_id[wish.taxon_id]]
        problem = _problem(wish, candidates)
        if problem is None:
            found[candidates[0]["id"]] = candidates[0]
        else:
            near = "" if candidates or wish.taxon_id is not None else await _nearest(pages, wish.text)
            wrong.append(f"{wish.where}: {problem}{near}")
    if wrong:
        raise NothingMatches(
            "\n".join(wrong), "Write scientific names as iNaturalist has them, or taxon ids, then type it again."
        )
    return list(found.values())


def _problem(wish: Wish, candidates: Sequence[Taxon]) -> str | None:
    if not candidates:
        return f"iNaturalist knows no taxon {wish.text!r}."
    if len(candidates) > 1:
        ids = ", ".join(f"{each['id']} ({each.get('iconic_taxon_name') or each.get('rank')})" for each in candidates)
        return f"{wish.text!r} names {len(candidates)} taxa; give the id of the one you mean: {ids}."
    (taxon,) = candidates
    if not _in_use(taxon):
        others = taxon.get("current_synonymous_taxon_ids")
        now = ", ".join(map(str, others if isinstance(others, list) else [])) or "unknown"
        return f"{wish.text!r} ({taxon.get('name')}) is no longer in use at iNaturalist; what replaced it: {now}."
    if wish.only_species and is_above_species(taxon):
        return (
            f"{wish.text!r} is a {taxon.get('rank')}, not a species. "
            f"For its best-covered species: --taxon {taxon['id']} --species 10."
        )
    return None


def is_above_species(taxon: Taxon) -> bool:
    """Tell whether a taxon holds species, rather than being one or a part of one."""
    level = taxon.get("rank_level")
    return isinstance(level, int | float) and level > _SPECIES_LEVEL


def _in_use(taxon: Taxon) -> bool:
    return taxon.get("is_active") is not False


def _of_that_name(taxa: Sequence[Taxon], name: str) -> list[Taxon]:
    """Return the taxa of exactly this scientific name.

    One in use comes before one that is not, a species before the complex or section that is named after it, and else
    the higher of two in one line.
    """
    same = [taxon for taxon in taxa if str(taxon.get("name")).casefold() == name.casefold()]
    same = [taxon for taxon in same if _in_use(taxon)] or same
    species = [taxon for taxon in same if taxon.get("rank") == "species"]
    ids = {taxon["id"] for taxon in same}
    return species or [taxon for taxon in same if not ids & set(taxon["ancestor_ids"])]


async def _nearest(pages: Pages, name: str) -> str:
    """Return the names that the API finds for a text, best first; or, where it finds none, of the same genus."""
    near = [taxon for taxon in await _search(pages, name) if _in_use(taxon)]
    if not near and " " in name:
        genus = await _search(pages, name.split(maxsplit=1)[0])
        named = {str(taxon.get("name")): taxon for taxon in genus if _in_use(taxon)}
        near = [named[each] for each in difflib.get_close_matches(name, named, _SUGGESTIONS)]
    shown = ", ".join(f"{taxon.get('name')} ({taxon['id']})" for taxon in near[:_SUGGESTIONS])
    return f" Nearest: {shown}." if shown else ""


async def _search(pages: Pages, text: str) -> list[Taxon]:
    # They come by number of observations, not by likeness: a hundred, so that what is meant is among them.
    parameters = {"q": text, "is_active": "any", "per_page": "100"}
    taxa: list[Taxon] = await pages.get("names", "taxa", parameters, keep_taxa)
    return taxa


async def _look_up(pages: Pages, ids: Sequence[int]) -> list[Taxon]:
    taxa: list[Taxon] = []
    for first in range(0, len(ids), IDS_AT_A_TIME):
        some = ",".join(map(str, ids[first : first + IDS_AT_A_TIME]))
        # Without skip_ancestors, each comes with its ancestors, its children and all of their photos.
        parameters = {"per_page": str(IDS_AT_A_TIME), "skip_ancestors": "true"}
        taxa += await pages.get("taxa", f"taxa/{some}", parameters, keep_taxa)
    return taxa


# -- down and up -------------------------------------------------------------------------------------------------


async def best_covered(pages: Pages, taxon: Taxon, most: int) -> list[Taxon]:
    """Return the species below a taxon with most observations that can be used, at most so many, best first.

    Raises
    ------
    NothingMatches
        There are none.
    """
    parameters = {**OBSERVATIONS, "taxon_id": str(taxon["id"]), "per_page": str(COUNTS_AT_A_TIME)}
    counts = await pages.get(f"species-of-{taxon['id']}", "observations/species_counts", parameters, keep_counts)
    # It counts leaves: an observation that is known to its genus only counts for the genus.
    species = [each for each in counts if each.get("rank") == "species" and _in_use(each)]
    if not species:
        raise NothingMatches(
            f"iNaturalist has no research-grade photos with an open licence of a species of {taxon.get('name')}.",
            "Name another --taxon.",
        )
    species.sort(key=lambda each: (-each["count"], each["id"]))
    return species[:most]


async def with_ancestors(pages: Pages, ids: Iterable[int]) -> list[Taxon]:
    """Return these taxa and all that stand above them, by id. One that the API no longer has is left out."""
    known: dict[int, Taxon] = {}
    asked: set[int] = set()
    missing = set(ids)
    while missing:
        asked |= missing
        for taxon in await _look_up(pages, sorted(missing)):
            known[taxon["id"]] = taxon
        missing = {above for taxon in known.values() for above in taxon["ancestor_ids"]} - asked
    return [known[taxon_id] for taxon_id in sorted(known)]

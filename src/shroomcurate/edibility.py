"""What published sources say of the edibility of a fungal species. This is no food advice.

The table beside this module serves to warn: to say in a report that two species which a model confuses are a good
edible and a deadly one, or that a class holds a deadly species. It must never serve to decide what to eat: a photograph
does not show which species a mushroom is. Wherever a word of this table is shown, the notice of
:mod:`shroomcurate.safety` belongs beside it. How the table was made, and where it ends, is in ``docs/edibility.md``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

EDIBLE = "edible"
INEDIBLE = "inedible"
UNKNOWN = "unknown"
POISONOUS = "poisonous"
DEADLY = "deadly"

#: The words from the harmless to the worst. What nobody knows counts as worse than what is merely no food.
DANGER = (EDIBLE, INEDIBLE, UNKNOWN, POISONOUS, DEADLY)

COLUMNS = ("name", "taxon_id", "edibility", "note", "sources", "synonyms")

_FILE = "edibility.csv"
_SEPARATOR = "; "
_GENUS, _EPITHET = re.compile(r"[A-Z][a-z]+"), re.compile(r"[a-z]+(-[a-z]+)*")
#: What, after the name of a species, says that more than this species may be meant, or another.
_WIDER = {"×", "x", "group", "complex", "agg", "agg.", "aggregate", "aff.", "cf."}


@dataclass(frozen=True)
class Edibility:
    """What the sources say of a species. No food advice: show `shroomcurate.safety.SAFETY_NOTICE` beside it.

    Attributes
    ----------
    name
        The accepted name, two words.
    edibility
        One of `DANGER`: the most dangerous word that any of the sources read uses of the species.
    note
        A few words on it, such as "raw or undercooked poisonous"; often empty.
    sources
        Addresses of the pages that were read for this word; empty only where nothing is known.
    synonyms
        Older names that are still met with.
    taxon_id
        The taxon at iNaturalist, where it was verified.
    """

    name: str
    edibility: str
    note: str = ""
    sources: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    taxon_id: int | None = None


@cache
def load() -> Mapping[str, Edibility]:
    """Return the whole table by name; a synonym leads to the entry of the accepted name. No food advice."""
    text = resources.files("shroomcurate").joinpath(_FILE).read_text(encoding="utf-8")
    table: dict[str, Edibility] = {}
    for row in csv.DictReader(text.splitlines()):
        entry = Edibility(
            row["name"],
            row["edibility"],
            row["note"],
            _parts(row["sources"]),
            _parts(row["synonyms"]),
            int(row["taxon_id"]) if row["taxon_id"] else None,
        )
        table |= dict.fromkeys((entry.name, *entry.synonyms), entry)
    return MappingProxyType(table)


def of(name: str) -> Edibility:
    """Return what is known of a taxon, which is `UNKNOWN` where the table does not have it. No food advice.

    Underscores count as spaces, as in the names of class folders; a subspecies, variety or form has the entry of its
    species. A genus has none, since its species differ, nor has a hybrid, a group of species or an uncertain name.
    """
    species = _species(name)
    return load().get(species) or Edibility(species or " ".join(name.replace("_", " ").split()), UNKNOWN)


def most_dangerous(words: Iterable[str]) -> str:
    """Return the worst of some words of `DANGER`, and `UNKNOWN` if there are none."""
    return max(words, key=DANGER.index, default=UNKNOWN)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(text.split(_SEPARATOR)) if text else ()


def _species(name: str) -> str:
    """Return the two words that name the species, or nothing if it is not one species that is named."""
    words = name.replace("_", " ").split()
    if len(words) < 2:
        return ""
    genus, epithet = words[0].capitalize(), words[1]
    if _WIDER & {word.casefold() for word in words} or not (_GENUS.fullmatch(genus) and _EPITHET.fullmatch(epithet)):
        return ""
    return f"{genus} {epithet}"

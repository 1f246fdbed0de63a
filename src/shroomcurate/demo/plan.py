"""Decides what the generated dump says: every observer, observation and photo, with all the traps of the real ones.

Pure: the same options give the same plan, on any machine. Nothing is rendered or written here.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from shroomcurate.demo.species import BIRCH, HYBRID, INACTIVE, INFRASPECIES, ROBIN, SPECIES, Taxon, make_taxa
from shroomcurate.errors import BadOption

if TYPE_CHECKING:
    import numpy as np

UNKNOWN_TAXON = 99_999_999  # 'a taxon that taxa does not have'


@dataclass(frozen=True)
class DemoOptions:
    """How large the demo is.

    Parameters
    ----------
    species
        How many species have photos; at least 2. Twenty make a confusion matrix worth looking at.
    per_species
        Photos of research grade that each has, give or take a tenth. 45 leave a reserve after 35 are taken.
    noise
        Share of photos that do not belong, 0..0.5. 0.08 is what two hand-checked samples of real fungi held.
    seed
        Another seed gives another dump of the same kind.
    """

    species: int = 20
    per_species: int = 45
    noise: float = 0.08
    seed: int = 1

    def __post_init__(self) -> None:
        if not 2 <= self.species <= len(SPECIES):
            raise BadOption(f"species is {self.species}.", f"Give a number from 2 to {len(SPECIES)}.")
        if not 4 <= self.per_species <= 10_000:
            raise BadOption(f"per_species is {self.per_species}.", "Give a number from 4 to 10000.")
        if not 0 <= self.noise <= 0.5:
            raise BadOption(f"noise is {self.noise}.", "Give a share from 0 to 0.5.")


class Observer(NamedTuple):
    """A row of observers.csv."""

    observer_id: int
    login: str
    name: str


class Observation(NamedTuple):
    """A row of observations.csv; every field is text as it stands there."""

    observation_uuid: str
    observer_id: int
    latitude: str
    longitude: str
    positional_accuracy: str
    taxon_id: str
    quality_grade: str
    observed_on: str
    anomaly_score: str


class Photo(NamedTuple):
    """A photo: its row of photos.csv (but its size), what it shows, and how to render it."""

    photo_uuid: str
    photo_id: int
    observation_uuid: str
    observer_id: int
    extension: str
    license: str
    position: int
    species: str
    kind: str  # ok, duplicate, or one of decoys.DECOYS
    state: str  # served, gone, truncated, empty or html
    seed: int
    view: int
    duplicate_of: int | None = None


class Plan(NamedTuple):
    """The whole dump. A photo that stands in two observations is two rows of one photo_id."""

    taxa: list[Taxon]
    observers: list[Observer]
    observations: list[Observation]
    photos: list[Photo]


#: Two of a hundred photos are another upload of the same picture.
_DUPLICATES = 0.02
_KINDS = {"microscopy": 0.32, "scenery": 0.26, "obstructed": 0.21, "too_far": 0.21}
_STATES = {"served": 0.94, "gone": 0.03, "truncated": 0.012, "empty": 0.009, "html": 0.009}
_EXTENSIONS = {"jpg": 0.86, "jpeg": 0.09, "JPG": 0.02, "png": 0.02, "gif": 0.01}
_LICENSES = {
    "CC-BY-NC": 0.6, "CC-BY": 0.15, "CC0": 0.1, "CC-BY-NC-SA": 0.05, "CC-BY-SA": 0.03, "CC-BY-NC-ND": 0.03,
    "CC-BY-ND": 0.02, "PD": 0.02,
}  # fmt: skip
#: Observers' names as people write them: blank, with quotes, a backslash, a blank at the end, in any script.
_NAMES = (
    "", "Łukasz Grzyb", "M. de la Peña ", 'Ann "Chanterelle" O\'Brien', "山田 きのこ", "Søren Ångström", "",
    "C:\\spores\\new", "Zoë 🍄", "Иван Грибов", "Mycological Society of the Valley, inc.", "",
)  # fmt: skip
_MONTHS = {"spring": (3, 5), "summer": (6, 8), "autumn": (9, 11), "winter": (1, 2)}


def make_plan(options: DemoOptions) -> Plan:
    """Return everything the dump will say."""
    import numpy as np

    planner = _Planner(np.random.default_rng([options.seed, 7]), options)
    species = SPECIES[: options.species]
    for number, one in enumerate(species):
        varieties = [name for parent, _, name in INFRASPECIES if parent == one.name]
        wanted = max(4, options.per_species + round(options.per_species * 0.1 * ((number * 7) % 9 - 4) / 4))
        made = 0
        while made < wanted:
            # A tenth of the observations is named to the variety; they belong to the species all the same.
            name = varieties[0] if varieties and planner.chance(0.1) else one.name
            made += planner.observe(one.name, name, most=wanted - made)
        for quality in ("needs_id", "casual"):
            planner.observe(one.name, one.name, quality=quality, most=2)
    planner.add_strays()
    planner.repeat_rows()
    return planner.finish()


def deal(rng: np.random.Generator, shares: Mapping[str, float], count: int) -> list[str]:
    """Return `count` values in their shares, shuffled; every value comes at least once while there is room."""
    values: list[str] = []
    for value, share in shares.items():
        values += [value] * max(1, round(share * count))
    commonest = max(shares, key=lambda value: shares[value])
    rare = [value for value in values if value != commonest][:count]
    dealt = rare + [commonest] * (count - len(rare))
    return [dealt[int(index)] for index in rng.permutation(count)]


class _Planner:
    """Collects observations and photos; `finish` then deals out kinds, states, licences and extensions."""

    def __init__(self, rng: np.random.Generator, options: DemoOptions) -> None:
        self.rng = rng
        self.options = options
        self.species = SPECIES[: options.species]
        self.looks = {one.name: one.look for one in self.species}
        self.taxa = make_taxa(self.species)
        names = [_NAMES[index % len(_NAMES)] for index in range(40)]
        self.observers = [Observer(index + 1, f"mycophile_{index + 1}", name) for index, name in enumerate(names)]
        self.observations: list[Observation] = []
        self.photos: list[Photo] = []
        self.repeated: list[Photo] = []
        # Far beyond any photo of iNaturalist, so that no link in a report leads to a stranger's photo.
        self.photo_id = 9_000_000_000_000

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def observe(self, looks_like: str, taxon: str | int | None, quality: str = "research", most: int = 4) -> int:
        """Add one observation with one to four photos; return how many."""
        rng = self.rng
        observer = int(rng.choice(len(self.observers), p=_long_tail(len(self.observers)))) + 1
        taxon_id = self.taxa[taxon].taxon_id if isinstance(taxon, str) else taxon
        latitude, longitude, accuracy = self._place()
        row = Observation(
            self._uuid(), observer, latitude, longitude, accuracy,
            "" if taxon_id is None else str(taxon_id), quality, self._date(looks_like),
            f"{rng.uniform(0, 3):.6f}" if self.chance(0.3) else "",
        )  # fmt: skip
        self.observations.append(row)
        seed = int(rng.integers(1 << 40))
        position = 1 if self.chance(0.08) else 0
        count = min(most, 1 + int(rng.choice(4, p=(0.5, 0.28, 0.14, 0.08))))
        for view in range(count):
            self.photo_id += 1 + int(rng.integers(5000))
            self.photos.append(
                Photo(self._uuid(), self.photo_id, row.observation_uuid, observer, "jpg", "", position,
                      looks_like, "ok", "served", seed, view)
            )  # fmt: skip
            position += 2 if self.chance(0.1) else 1
        return count

    def add_strays(self) -> None:
        """Add what a load must leave out or a query must not choose."""
        first = self.species[0].name
        for taxon in (UNKNOWN_TAXON, None, INACTIVE, HYBRID, first.split()[0], "Fungi", BIRCH, ROBIN):
            for _ in range(2):
                self.observe(first, taxon, most=1)

    def repeat_rows(self) -> None:
        """Let photos stand twice: in the same observation, in another of its species, in one of another species."""
        by_species: dict[str, list[Photo]] = {}
        for photo in self.photos:
            by_species.setdefault(photo.species, []).append(photo)
        mine, other = by_species[self.species[0].name], by_species[self.species[1].name]
        strangers = [photo for photo in mine if photo.observation_uuid != mine[0].observation_uuid]
        self.repeated.append(mine[0])
        self.repeated.append(mine[0]._replace(observation_uuid=strangers[0].observation_uuid, position=7))
        for left, right in zip(mine[1:3], other[:2], strict=True):
            self.repeated.append(left._replace(observation_uuid=right.observation_uuid, position=8))

    def finish(self) -> Plan:
        """Deal out everything that comes in shares, and shuffle the rows as the real files are."""
        rng, count = self.rng, len(self.photos)
        noise = round(self.options.noise * count)
        kinds = dict.fromkeys(range(count), "ok")
        for index, kind in zip(rng.permutation(count)[:noise], deal(rng, _KINDS, noise), strict=True):
            kinds[int(index)] = kind
        dealt = zip(
            self.photos, kinds.values(), deal(rng, _STATES, count), deal(rng, _EXTENSIONS, count),
            deal(rng, _LICENSES, count), strict=True,
        )  # fmt: skip
        photos = [
            photo._replace(kind=kind, state=state, extension=extension, license=licence)
            for photo, kind, state, extension, licence in dealt
        ]
        photos = self._with_duplicates(photos)
        by_id = {photo.photo_id: photo for photo in photos}
        for row in self.repeated:
            true = by_id[row.photo_id]
            photos.append(true._replace(observation_uuid=row.observation_uuid, position=row.position))
        order = rng.permutation(len(photos))
        observations = [self.observations[int(index)] for index in rng.permutation(len(self.observations))]
        return Plan(list(self.taxa.values()), self.observers, observations, [photos[int(index)] for index in order])

    def _with_duplicates(self, photos: list[Photo]) -> list[Photo]:
        """Turn some photos into another upload of an earlier photo of their species."""
        taken = {row.photo_id for row in self.repeated}
        result = list(photos)
        wanted = max(1, round(_DUPLICATES * len(photos)))
        for index in (int(one) for one in self.rng.permutation(len(photos))):
            photo = result[index]
            earlier = [
                one
                for one in result
                if one.species == photo.species
                and one.kind == "ok"
                and one.state == "served"
                and one.photo_id < photo.photo_id
                and one.observation_uuid != photo.observation_uuid
                and one.photo_id not in taken
            ]
            if photo.kind != "ok" or photo.state != "served" or photo.photo_id in taken or not earlier:
                continue
            original = earlier[int(self.rng.integers(len(earlier)))]
            taken |= {original.photo_id, photo.photo_id}
            result[index] = photo._replace(
                kind="duplicate",
                seed=original.seed,
                view=original.view,
                duplicate_of=original.photo_id,
                extension="jpg",
            )
            wanted -= 1
            if not wanted:
                break
        return result

    def _uuid(self) -> str:
        return str(uuid.UUID(bytes=self.rng.bytes(16), version=4))

    def _place(self) -> tuple[str, str, str]:
        rng = self.rng
        if self.chance(0.02):
            return "", "", ""
        south, north, west, east = (36, 48, -122, -72) if self.chance(0.6) else (44, 60, -2, 26)
        accuracy = "" if self.chance(0.25) else "28000" if self.chance(0.05) else str(int(rng.integers(3, 300)))
        return f"{rng.uniform(south, north):.10f}", f"{rng.uniform(west, east):.10f}", accuracy

    def _date(self, species: str) -> str:
        if self.chance(0.03):
            return ""
        low, high = _MONTHS[self.looks[species].season]
        day = datetime.date(int(self.rng.integers(2012, 2026)), int(self.rng.integers(low, high + 1)), 1)
        return (day + datetime.timedelta(days=int(self.rng.integers(28)))).isoformat()


def _long_tail(count: int) -> list[float]:
    """Return shares in which few observers contribute much, as everywhere."""
    weights = [1 / (rank + 4) for rank in range(count)]
    return [weight / sum(weights) for weight in weights]

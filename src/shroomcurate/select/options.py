"""What a query can be asked for, checked before the database is."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from shroomcurate.errors import BadOption
from shroomcurate.licences import accepted_licenses

RANKS = ("species", "genus", "family")
QUALITIES = ("research", "needs_id", "casual", "any")

#: The box of the contiguous United States, in degrees west, south, east, north: Cape Alava (-124.73), Ballast Key
#: (24.52), West Quoddy Head (-66.95) and the Northwest Angle (49.38). It holds parts of Canada and Mexico, too.
CONUS = (-124.74, 24.52, -66.94, 49.39)

#: Field of :class:`QueryOptions` -> the parameters by which a template heeds it. ``per_class`` is not here: whatever
#: the template, it is what parts the photos wanted from the reserve.
PARAMETERS_OF = {
    "species": ("species",),
    "reserve": ("reserve",),
    "rank": ("rank",),
    "licenses": ("licenses",),
    "min_per_class": ("min_per_class",),
    "max_per_observation": ("max_per_observation",),
    "max_per_observer": ("max_per_observer",),
    "seed": ("seed",),
    "names": ("classes",),
    "taxa": ("taxa",),
    "quality": ("quality",),
    "region": ("west", "south", "east", "north"),
    "since": ("since",),
    "until": ("until",),
    "exclude": ("exclude",),
}

#: More than any catalogue holds, and a sum of two is still a number for PostgreSQL.
_MOST = 1_000_000_000

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class QueryOptions:
    """What to select."""

    species: int = 445
    """Classes. The dataset this tool grew out of had 445 species."""
    per_class: int = 500
    reserve: int | None = None
    """Further photos of each class to fill holes with; None: half of per_class. Some 3 % of photos are gone or broken
    and cleaning takes 10 %, up to 40 % in a bad class."""
    rank: str = "species"
    licenses: str = "any"
    """A profile (any, commercial, share) or licences joined by commas."""
    min_per_class: int = 1
    max_per_observation: int | None = None
    max_per_observer: int | None = None
    seed: int = 0
    template: str | None = None
    """The name of a template in ``sql/select/``, or a file with a SELECT of the user's own. None: ``species_list``
    with names, ``balanced`` without."""
    names: Path | None = None
    """A file of the classes wanted: a name or taxon id a line."""
    taxa: tuple[str, ...] = ()
    """Names or ids; only what lies at or below them is taken. None: all that was loaded."""
    quality: str = "research"
    """Identifications of another grade are not confirmed by a second person."""
    region: str | None = None
    """``conus`` or ``W,S,E,N`` in degrees; W greater than E reaches over the 180th meridian."""
    since: str | None = None
    """First day of observation, ``YYYY-MM-DD`` or ``YYYY``."""
    until: str | None = None
    exclude: tuple[Path, ...] = ()
    """Earlier datasets, whose photos and the other photos of their observations are left out."""

    def __post_init__(self) -> None:
        for name, least in (("species", 1), ("per_class", 1), ("min_per_class", 1)):
            _within(name, getattr(self, name), least)
        for name, least in (("reserve", 0), ("max_per_observation", 1), ("max_per_observer", 1)):
            if getattr(self, name) is not None:
                _within(name, getattr(self, name), least)
        if self.rank not in RANKS:
            raise BadOption(f"--rank {self.rank!r} is not a rank to select by.", f"Use one of: {', '.join(RANKS)}")
        if self.quality not in QUALITIES:
            raise BadOption(
                f"--quality {self.quality!r} is not a quality grade.", f"Use one of: {', '.join(QUALITIES)}"
            )
        accepted_licenses(self.licenses)
        box(self.region)
        since, until = day("--since", self.since), day("--until", self.until, last=True)
        if since and until and since > until:
            raise BadOption(f"--since {since} lies after --until {until}.", "Exchange the two.")
        if self.template == "species_list" and self.names is None:
            raise BadOption("The template species_list needs the list.", "Add --names FILE, a name or id a line.")
        if self.template == "balanced" and self.names is not None:
            raise BadOption("The template balanced takes no list.", "Leave --template away, or --names.")


def _within(name: str, value: int, least: int) -> None:
    if value < least:
        raise BadOption(f"--{name.replace('_', '-')} {value} is too small.", f"Give {least} or more.")
    if value > _MOST:
        raise BadOption(f"--{name.replace('_', '-')} {value} is too large.", f"Give {_MOST:,} at most.")


def box(region: str | None) -> Box | None:
    """Return the bounding box of a region: west, south, east, north in degrees.

    Raises
    ------
    BadOption
        It is neither ``conus`` nor four numbers that bound a box on Earth.
    """
    if region is None:
        return None
    if region.strip().lower() == "conus":
        return CONUS
    hint = (
        "Give conus, or west,south,east,north in degrees, such as --region=-10,35,30,60 (with the sign =). "
        "West greater than east reaches over the 180th meridian."
    )
    try:
        west, south, east, north = (float(part) for part in region.split(","))
    except ValueError as error:
        raise BadOption(f"--region {region!r} is not four numbers.", hint) from error
    for name, value, most in (("west", west, 180), ("south", south, 90), ("east", east, 180), ("north", north, 90)):
        if not (math.isfinite(value) and abs(value) <= most):
            raise BadOption(f"--region: {name} {value:g} is not between -{most} and {most} degrees.", hint)
    if south > north:
        raise BadOption(f"--region: south {south:g} lies north of north {north:g}.", hint)
    return west, south, east, north


def day(option: str, text: str | None, *, last: bool = False) -> date | None:
    """Return the date that an option names; a year stands for its first day, or its last one.

    Raises
    ------
    BadOption
        It is no date.
    """
    if text is None:
        return None
    try:
        if re.fullmatch(r"[0-9]{4}", text):
            return date(int(text), 12, 31) if last else date(int(text), 1, 1)
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError("not of the form YYYY-MM-DD")
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadOption(
            f"{option} {text!r} is not a date: {error}.", f"Give a day or a year: {option} 2024-05-31"
        ) from error

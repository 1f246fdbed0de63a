"""Where and when the photos of a dataset were taken: a map, the months and the years, as figures and as SVG paths.

The map has no coasts, for it carries no data but the dataset's own: degrees, equator, tropics and the oceans' names
tell where one is. Longitude runs to the right and latitude upwards, both in equal steps (plate carrée).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from shroomcurate.report.known import Known

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.integer[Any]]

#: Latitude of the tropics: the tilt of the Earth's axis.
TROPIC = 23.44
#: Side of the world map's squares, in degrees: 220 km at the equator.
CELL = 2
#: Years shown one by one; what is older is one bar.
YEARS = 20

#: Where there is room for a name, in degrees north and east.
_OCEANS = (
    ("Pacific", 6, -140), ("Atlantic", 33, -42), ("Indian Ocean", -38, 78), ("Atlantic", -38, -14),
    ("Pacific", 8, 162), ("Arctic Ocean", 77, -150),
)  # fmt: skip
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

#: Heights of the inset in degrees, the smallest that holds half of the photos is taken; it is twice as wide.
_WINDOWS = (2, 5, 10, 20, 30)
#: And the side of its squares: finer than 28 km they would pretend to know where obscured places are.
_FINER = {2: 0.25, 5: 0.25, 10: 0.25, 20: 0.5, 30: 1.0}


class Box(NamedTuple):
    """A part of the map, in degrees."""

    west: float
    south: float
    east: float
    north: float

    def __str__(self) -> str:
        return f"{degrees(self.south, 'N')} to {degrees(self.north, 'N')}, {degrees(self.west)} to {degrees(self.east)}"


class Level(NamedTuple):
    """The squares of one size: those with at least `least` photos and fewer than the next level's."""

    least: int
    most: int
    side: float
    """In pixels."""
    opacity: float
    """Paler where there are fewer, so that a crowded map has a middle."""
    path: str
    """All of them, as the ``d`` of an SVG path."""


class Line(NamedTuple):
    """A line of the graticule, with its label."""

    kind: str
    """``meridian``, ``parallel``, or the name of a line that has one: ``equator``, ``tropic``."""
    at: float
    """x of a meridian, y of any other, in pixels."""
    label: str


class Map(NamedTuple):
    """A map, in pixels from its upper left corner."""

    box: Box
    cell: float
    """Side of a square, in degrees."""
    width: float
    height: float
    levels: list[Level]
    lines: list[Line]
    names: list[tuple[str, float, float]]
    """Name, x, y."""
    frame: tuple[float, float, float, float] | None
    """x, y, width, height of what the inset shows."""


def places(known: Known) -> dict[str, Any] | None:
    """Return where and when the photos that the dataset offers were taken; None when no selection tells of them."""
    import numpy as np

    if known.offered is None:
        return None
    latitude, longitude = (
        known.offered.rows[name].to_numpy().astype(np.float64) for name in ("latitude", "longitude")
    )  # fmt: skip
    placed = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)  # no for NaN, which is 'not known'
    north, east = latitude[placed], longitude[placed]
    inset = _densest(north, east)
    zoomed = _inside(north, east, inset) if inset else None
    return {
        "of": known.offered.words,
        "total": len(latitude),
        "placed": len(north),
        "world": _draw(north, east, _world(north), CELL, 720, inset) if len(north) else None,
        "inset": _draw(north[zoomed], east[zoomed], inset, _FINER[round(inset.north - inset.south)], 480)
        if inset is not None and zoomed is not None
        else None,
        "inset_share": float(zoomed.mean()) if zoomed is not None else None,
        "south": int((north < 0).sum()),
        "tropical": int((np.abs(north) <= TROPIC).sum()),
        "busiest": _busiest(north, east),
        **_dates(known.offered.rows, latitude, placed),
    }


# -- where -----------------------------------------------------------------------------------------------------


def _world(north: Floats) -> Box:
    """Return the part of the world that is drawn: without the polar caps, unless a photo was taken there."""
    return Box(-180, -90 if north.min() < -60 else -60, 180, 90 if north.max() > 84 else 84)


def _is_world(box: Box) -> bool:
    return box.east - box.west >= 360


def _densest(north: Floats, east: Floats) -> Box | None:
    """Return the smallest window that holds half of the photos; None when that is no small part of the world.

    Windows lie on whole degrees and do not reach across the date line.
    """
    import numpy as np

    if not len(north):
        return None
    grid, _, _ = np.histogram2d(north, east, bins=(180, 360), range=((-90, 90), (-180, 180)))
    sums = np.pad(grid.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    for height in _WINDOWS:
        width = 2 * height
        inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
        if inside.max() * 2 >= len(north):
            best = np.argwhere(inside == inside.max())  # several: the middle one shows what lies around them
            y, x = best[len(best) // 2]
            return Box(float(x - 180), float(y - 90), float(x - 180 + width), float(y - 90 + height))
    return None


def _inside(north: Floats, east: Floats, box: Box) -> NDArray[np.bool_]:
    """Tell which points lie in a box; its upper and its right edge belong to it only where the world ends there."""
    upper = (north < box.north) | ((north == 90) & (box.north == 90))
    right = (east < box.east) | ((east == 180) & (box.east == 180))
    found: NDArray[np.bool_] = (north >= box.south) & upper & (east >= box.west) & right
    return found


def _draw(north: Floats, east: Floats, box: Box, cell: float, width: float, frame: Box | None = None) -> Map:
    """Return a map of these points: a square for each cell that has any, the larger the more."""
    # A degree east is shorter than one north; on the world map that is left as it is, as everybody draws it.
    squeeze = 1.0 if _is_world(box) else max(math.cos(math.radians((box.north + box.south) / 2)), 0.3)
    across = width / (box.east - box.west)
    up = across / squeeze
    height = up * (box.north - box.south)

    def at(latitude: float, longitude: float) -> tuple[float, float]:
        return round((longitude - box.west) * across, 1), round((box.north - latitude) * up, 1)

    framed = None
    if frame:
        (x, y), (right, bottom) = at(frame.north, frame.west), at(frame.south, frame.east)
        framed = (x, y, round(right - x, 1), round(bottom - y, 1))
    return Map(
        box=box,
        cell=cell,
        width=width,
        height=round(height, 1),
        levels=_levels(north, east, box, cell, across, up),
        lines=_graticule(box, at),
        names=[(name, *at(*place)) for name, *place in _OCEANS if _is_world(box)],
        frame=framed,
    )


def _levels(north: Floats, east: Floats, box: Box, cell: float, across: float, up: float) -> list[Level]:
    """Return the squares of each size: their area grows with the logarithm of the count."""
    import numpy as np

    row, column, count = _cells(north, east, box, cell)
    most = int(count.max(initial=1))
    starts = [start for power in range(9) for start in (10**power, 3 * 10**power) if start <= most]
    level_of = np.searchsorted(starts, count, side="right") - 1
    levels = []
    for level, least in enumerate(starts):
        # One photo alone shall be seen: it has what half a power of ten has.
        share = math.sqrt((math.log10(least) + 0.5) / (math.log10(starts[-1]) + 0.5))
        side, tall = 0.92 * cell * across * share, 0.92 * cell * up * share
        x = (column[level_of == level] + 0.5) * cell * across - side / 2
        y = (box.north - box.south) * up - (row[level_of == level] + 0.5) * cell * up - tall / 2
        square = f"h{side:.2f}v{tall:.2f}h{-side:.2f}z"
        path = "".join(f"M{a:.1f} {b:.1f}{square}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
        up_to = starts[level + 1] - 1 if level + 1 < len(starts) else most
        levels.append(Level(least, up_to, round(side, 2), round(0.5 + share / 2, 2), path))
    return levels


def _cells(north: Floats, east: Floats, box: Box, cell: float) -> tuple[Ints, Ints, Ints]:
    """Return row from the south, column from the west and count of each cell that holds a point."""
    import numpy as np

    columns = math.ceil((box.east - box.west) / cell - 1e-9)
    rows = math.ceil((box.north - box.south) / cell - 1e-9)
    row = np.clip((north - box.south) / cell, 0, rows - 1).astype(np.int64)  # the pole belongs to the last row
    column = np.clip((east - box.west) / cell, 0, columns - 1).astype(np.int64)
    found, count = np.unique(row * columns + column, return_counts=True)
    return found // columns, found % columns, count


def _graticule(box: Box, at: Any) -> list[Line]:
    step = next(step for step in (1, 2, 5, 10, 20, 30) if (box.east - box.west) / step <= (12 if _is_world(box) else 8))
    meridians = range(math.ceil(box.west / step) * step, math.floor(box.east) + 1, step)
    parallels = range(math.ceil(box.south / step) * step, math.floor(box.north) + 1, step)
    lines = [Line("meridian", at(0, value)[0], degrees(value)) for value in meridians if value < box.east]
    lines += [
        Line("parallel", at(value, 0)[1], degrees(value, "N"))
        for value in parallels
        if value and box.south < value < box.north
    ]
    for kind, value, label in (
        ("equator", 0.0, "Equator"),
        ("tropic", TROPIC, "Tropic of Cancer"),
        ("tropic", -TROPIC, "Tropic of Capricorn"),
    ):
        if box.south < value < box.north:
            lines.append(Line(kind, at(value, 0)[1], label))
    return lines


def _busiest(north: Floats, east: Floats, at_most: int = 12) -> list[tuple[str, int]]:
    """Return the squares of the world map with most photos, in words, and how many there are in each."""
    row, column, count = _cells(north, east, Box(-180, -90, 180, 90), CELL)
    order = sorted(range(len(count)), key=lambda i: (-count[i], row[i], column[i]))[:at_most]
    found = []
    for i in order:
        south, west = int(row[i]) * CELL - 90, int(column[i]) * CELL - 180
        found.append((str(Box(west, south, west + CELL, south + CELL)), int(count[i])))
    return found


def degrees(value: float, positive: str = "E") -> str:
    """Write degrees: ``48° N``, ``120° W``, ``0°``."""
    letter = positive if value > 0 else {"N": "S", "E": "W"}[positive]
    return f"{abs(value):g}°" + (f"\u00a0{letter}" if value else "")


# -- when ------------------------------------------------------------------------------------------------------


def _dates(rows: pa.Table, latitude: Floats, placed: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the photos of each month, north and south of the equator, and of each year."""
    import numpy as np
    import pyarrow.compute as pc

    dated = rows["observed_on"].is_valid().to_numpy()
    month = pc.month(rows["observed_on"]).fill_null(0).to_numpy()
    year = pc.year(rows["observed_on"]).fill_null(0).to_numpy()[dated]
    sides = {
        "north": placed & (latitude >= 0),
        "south": placed & (latitude < 0),
        "unplaced": ~placed,
    }
    counts = {side: np.bincount(month[mask & dated], minlength=13)[1:].tolist() for side, mask in sides.items()}
    months = [
        {"label": label, "short": label, **{side: found[number] for side, found in counts.items()}}
        for number, label in enumerate(_MONTHS)
    ]
    return {"dated": int(dated.sum()), "months": months if dated.any() else [], "years": _years(year)}


def _years(year: Ints) -> list[dict[str, Any]]:
    """Return the photos of each of the last years, none left out between them, and of all before together."""
    if not len(year):
        return []
    last = int(year.max())
    first = max(int(year.min()), last - YEARS + 1)
    before = int((year < first).sum())
    shown = [{"label": f"before {first}", "short": f"≤ ’{(first - 1) % 100:02}", "count": before}] if before else []
    return shown + [
        {"label": str(one), "short": f"’{one % 100:02}", "count": int((year == one).sum())}
        for one in range(first, last + 1)
    ]

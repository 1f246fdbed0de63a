"""Which photos the page shows, in which order: the views and their filters. Pure functions of what is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shroomcurate.dataset import Dataset
from shroomcurate.errors import BadOption
from shroomcurate.review.gallery import KEPT, REASON_NUMBERS, Gallery
from shroomcurate.tree import REASONS
from shroomcurate.vectors import first_unlike, read_vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Photos of the view of those whose verdict would teach most: an hour's work.
USEFUL = 200

#: Of so many times as many photos, those nearest to the line, the useful ones are chosen.
_CANDIDATES = 25


@dataclass(frozen=True)
class Filter:
    """Which photos a view is of; None does not ask.

    Parameters
    ----------
    class_name, licence
        As the gallery names them.
    reason
        One of REASONS, or ``kept``.
    decided
        ``yes``: with a verdict; ``no``: without.
    text
        Found in path, species, photographer's line or observation, letter case aside.
    """

    class_name: str | None = None
    reason: str | None = None
    licence: str | None = None
    decided: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if self.reason is not None and self.reason not in (*REASONS, "kept"):
            raise BadOption(f"There is no reason {self.reason!r}.", f"Choose one of: kept, {', '.join(REASONS)}")
        if self.decided not in (None, "yes", "no"):
            raise BadOption(f"decided is {self.decided!r}.", "Give yes or no.")


@dataclass(frozen=True)
class Section:
    """Photos of a view that stand under one heading: `count` of them from `start` on."""

    title: str
    detail: str
    start: int
    count: int
    decide: bool = False
    """Whether it makes sense to judge them together."""


@dataclass(frozen=True)
class View:
    """Numbers of photos in order, and the sections that cover them without a hole."""

    order: list[int]
    sections: list[Section]


@dataclass(frozen=True)
class _Named:
    title: str
    about: str
    make: Callable[[Gallery, NDArray[np.bool_], Dataset], View]
    needs: str = ""
    """Without which there is nothing to see, see :func:`why_not`."""


def view(gallery: Gallery, name: str, wanted: Filter, codes: NDArray[np.int8], dataset: Dataset) -> View:
    """Return a view.

    Parameters
    ----------
    codes
        Each photo's verdict, see :func:`shroomcurate.review.gallery.verdict_code`.

    Raises
    ------
    BadOption
        There is no view of that name, or its table is not there.
    """
    if name not in VIEWS:
        raise BadOption(f"There is no view {name!r}.", f"Choose one of: {', '.join(VIEWS)}")
    if why := why_not(gallery, name, dataset):
        raise BadOption(f"The view {VIEWS[name].title!r} cannot be shown.", why)
    return VIEWS[name].make(gallery, passing(gallery, wanted, codes), dataset)


def why_not(gallery: Gallery, name: str, dataset: Dataset) -> str | None:
    """Return the command without which a view has nothing to show; None when it can be shown."""
    needs = VIEWS[name].needs
    there = {
        "": True,
        "clean": gallery.clean is not None,
        "embeddings": gallery.stamp["embeddings.parquet"] is not None,
        "scores": gallery.clean is not None and gallery.stamp["embeddings.parquet"] is not None,
        "moved": bool(gallery.before),
        "predictions": gallery.predictions is not None,
    }
    if needs == "moved" and gallery.clean is not None:
        return None if there[needs] else "Nothing was cleaned since this page was opened."
    command = "train-baseline" if needs == "predictions" else "clean"
    return None if there[needs] else f"Type: shroomcurate {command} {dataset.option}"


def passing(gallery: Gallery, wanted: Filter, codes: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return which photos fulfil every condition of a filter."""
    import numpy as np

    found = np.ones(len(gallery.paths), bool)
    if wanted.class_name is not None:
        number = gallery.classes.index(wanted.class_name) if wanted.class_name in gallery.classes else -1
        found &= gallery.class_of == number
    if wanted.reason is not None:
        found &= gallery.reason == (KEPT if wanted.reason == "kept" else REASON_NUMBERS[wanted.reason])
    if wanted.decided is not None:
        found &= (codes != 0) == (wanted.decided == "yes")
    if wanted.licence is not None:
        found &= _selected(gallery, "license", lambda column: np.array(column.to_pylist(), object) == wanted.licence)
    if wanted.text:
        found &= _with_text(gallery, wanted.text)
    return found


def _with_text(gallery: Gallery, text: str) -> NDArray[np.bool_]:
    import numpy as np
    import pyarrow.compute as pc

    words = text.casefold()
    found = np.array([words in path.casefold() or words in path.replace("_", " ").casefold() for path in gallery.paths])
    for column in ("taxon_name", "attribution", "observation_uuid"):
        found |= _selected(
            gallery,
            column,
            lambda values: pc.match_substring(values, text, ignore_case=True).fill_null(False).to_numpy(),
        )
    return found


def _selected(gallery: Gallery, column: str, test: Callable[..., NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Return of which photos a column of the selection passes a test; those that it does not know do not."""
    import numpy as np

    found = np.zeros(len(gallery.paths), bool)
    if gallery.selection is not None:
        known = gallery.selection_row >= 0
        found[known] = test(gallery.selection.whole[column])[gallery.selection_row[known]]
    return found


# -- the views -------------------------------------------------------------------------------------------------


def _removed(gallery: Gallery, found: NDArray[np.bool_], _dataset: Dataset) -> View:
    """By reason, within each the least certain first: there the mistakes are."""
    groups = []
    for reason, number in REASON_NUMBERS.items():
        members = _nearest(gallery, found & (gallery.reason == number))
        groups.append((reason.replace("_", " "), REASONS[reason], members, False))
    return _sections(groups)


def _borderline(gallery: Gallery, found: NDArray[np.bool_], _dataset: Dataset) -> View:
    import numpy as np

    asked = found & ~np.isnan(gallery.score) & (gallery.reason != _DUPLICATE)
    return _sections([("Nearest to the line first", "", _nearest(gallery, asked), False)])


def _classes(gallery: Gallery, found: NDArray[np.bool_], _dataset: Dataset) -> View:
    """Each class by cluster: its noise, then the small clusters, then the large ones; in each the noisiest first."""
    import numpy as np

    order = np.lexsort((-gallery.score, -gallery.cluster, gallery.cluster >= 0, gallery.class_of))
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number in order[found[order]].tolist():
        groups[int(gallery.class_of[number]), int(gallery.cluster[number])].append(number)
    judged = gallery.clean is not None
    return _sections(
        (_words(gallery.classes[name]), _cluster(cluster) if judged else "", members, judged)
        for (name, cluster), members in groups.items()
    )


def _cluster(number: int) -> str:
    return {-1: "in no cluster", 0: "the largest cluster"}.get(number, f"cluster {number}")


def _duplicates(gallery: Gallery, found: NDArray[np.bool_], _dataset: Dataset) -> View:
    """Show groups of photos that are the same, those with different labels first; in each the one kept first."""
    ordered = []
    for members in gallery.duplicate_groups:
        if not found[members].any():
            continue
        names = sorted({_words(gallery.classes[gallery.class_of[number]]) for number in members})
        title = " and ".join(names)
        detail = "the same photo under different names" if len(names) > 1 else f"{len(members)} alike"
        ordered.append((len(names) == 1, title, members, detail))
    ordered.sort()
    return _sections((title, detail, members, True) for _, title, members, detail in ordered)


def _useful(gallery: Gallery, found: NDArray[np.bool_], dataset: Dataset) -> View:
    """Show the photos whose verdict would teach most, as `clean --suggest` names them."""
    import numpy as np

    asked = found & ~np.isnan(gallery.score) & (gallery.reason != _DUPLICATE) & (gallery.applied == 0)
    nearest = _nearest(gallery, asked)[: USEFUL * _CANDIDATES]
    rows = {gallery.paths[number]: row for row, number in enumerate(nearest)}
    vectors = read_vectors(dataset.path("embeddings.parquet"), rows)
    chosen = [nearest[place] for place in first_unlike(vectors, USEFUL)]
    return _sections([("Most useful next", "the cleaner is least sure of these; no two are alike", chosen, False)])


def _confused(gallery: Gallery, found: NDArray[np.bool_], _dataset: Dataset) -> View:
    """Test photos that the baseline took for another class, the most frequent mistake first, the surest first."""
    pairs: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, (predicted, _) in gallery.predicted.items():
        if found[number]:
            pairs[gallery.classes[gallery.class_of[number]], predicted].append(number)
    ordered = sorted(pairs.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return _sections(
        (
            f"{_words(truth)} taken for {_words(predicted)}",
            "by the baseline, on photos that it was not trained on",
            sorted(members, key=lambda number: -gallery.predicted[number][1]),
            False,
        )
        for (truth, predicted), members in ordered
    )


def _moved(gallery: Gallery, found: NDArray[np.bool_], _dataset: Dataset) -> View:
    """Show what the last cleaning judged otherwise than the one before it: what came back, then what went."""
    names = ["", *REASONS]
    changed: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for path, reason in gallery.before.items():
        number = gallery.number.get(path, -1)
        if number >= 0 and found[number]:
            then, now = max(KEPT, reason), max(KEPT, int(gallery.reason[number]))  # not judged is not removed
            if now != then:
                changed[now != KEPT, names[now]].append(number)
    return _sections(
        (
            name.replace("_", " ").capitalize() if gone else "Back",
            "removed by the last cleaning, and not by the one before for this reason" if gone else "kept again",
            sorted(members),
            True,
        )
        for (gone, name), members in sorted(changed.items())
    )


def _all(gallery: Gallery, found: NDArray[np.bool_], _dataset: Dataset) -> View:
    import numpy as np

    numbers = np.flatnonzero(found)  # sorted by path, so class by class
    ends = np.flatnonzero(np.diff(gallery.class_of[numbers])) + 1
    groups = [group.tolist() for group in np.split(numbers, ends) if len(group)]
    return _sections((_words(gallery.classes[gallery.class_of[group[0]]]), "", group, False) for group in groups)


def _nearest(gallery: Gallery, found: NDArray[np.bool_]) -> list[int]:
    """Return the photos found, those whose score lies nearest to the line between noise and the class first."""
    import numpy as np

    order = np.argsort(np.abs(gallery.score.astype(np.float64) - 0.5), kind="stable")
    numbers: list[int] = order[found[order]].tolist()
    return numbers


def _sections(groups: Iterable[tuple[str, str, list[int], bool]]) -> View:
    order: list[int] = []
    sections = []
    for title, detail, members, decide in groups:
        if members:
            sections.append(Section(title, detail, len(order), len(members), decide))
            order += members
    return View(order, sections)


def _words(class_name: str) -> str:
    return class_name.replace("_", " ")


_DUPLICATE = REASON_NUMBERS["duplicate"]

#: Every view, in the order of the page.
VIEWS = {
    "removed": _Named("Removed", "What cleaning took out, by reason; the least certain first.", _removed, "clean"),
    "borderline": _Named("Borderline", "Kept or removed by a hair: the least certain first.", _borderline, "clean"),
    "useful": _Named("Most useful next", "Your verdict on these would teach the cleaner most.", _useful, "scores"),
    "classes": _Named("Classes", "Each class by its clusters: what is in none comes first.", _classes),
    "duplicates": _Named("Duplicates", "The same photo more than once, side by side.", _duplicates, "clean"),
    "confused": _Named("Most confused", "What the baseline took for another class.", _confused, "predictions"),
    "all": _Named("All", "Every photo, class by class.", _all),
    "moved": _Named("Moved", "What the last cleaning judged otherwise than the one before it.", _moved, "moved"),
    "map": _Named("Map", "Photos that look alike lie together; draw around a clump to see it.", _all, "embeddings"),
}

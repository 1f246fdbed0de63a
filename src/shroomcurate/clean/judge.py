"""From embeddings, evidence and verdicts to a judgement on every photo."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shroomcurate.clean.clusters import ClassShape, shape_of
from shroomcurate.clean.noise import Judgement, judge_noise
from shroomcurate.clean.options import CleanOptions
from shroomcurate.clean.reasons import NO_REASON, reasons
from shroomcurate.clean.tables import Photographs
from shroomcurate.duplicates import duplicate_groups
from shroomcurate.progress import Progress
from shroomcurate.vectors import first_unlike, unit_length
from shroomcurate.verdicts import Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Of the judgement, once the classes are known: noise, decisions and duplicates; a third of the time each, roughly.
_STEPS = 3

#: Share of a clump's photos that one observation or observer holds when it is a series.
SERIES_SHARE = 0.5


def _class_of(path: str) -> str:
    return path.split("/")[-2]  # pathlib takes ten seconds for a quarter of a million of them


@dataclass
class Photo:
    """One photo while it is judged."""

    path: str
    class_name: str
    photo_id: int | None
    order: tuple[int, str]
    """Rank within its class, then path: of duplicates the first is kept."""
    cluster: int = -1
    distance: float = 0.0
    score: float = 0.0
    reason: str | None = None
    decided_by: str = "rule"
    duplicate_of: str | None = None

    def is_conflict(self) -> bool:
        """Tell whether it went because the same photo stands in another class."""
        other = self.duplicate_of if self.reason == "duplicate" and self.decided_by != "person" else None
        return other is not None and _class_of(other) != self.class_name


@dataclass(frozen=True)
class Trust:
    """How far to trust the noise model: each verdict, judged by a model that had not seen it."""

    verdicts: int
    agreed: int
    would_remove: int
    """Photos that a person keeps and the model would have removed."""
    would_keep: int
    """Photos that a person removes and the model would have kept."""


@dataclass(frozen=True)
class Suggestion:
    """A photo whose verdict would teach much: the model is least sure of it."""

    path: str
    score: float
    reason: str | None
    """Why it goes; None while it is kept."""


@dataclass(frozen=True)
class Judged:
    """Every photo with its judgement, sorted by path."""

    photos: list[Photo]
    left_alone: dict[str, str]
    """Class whose noise was not judged -> why."""
    eps: dict[str, float]
    """Class -> the radius that was used."""
    trust: Trust | None
    suggestions: list[Suggestion] = field(default_factory=list)


def judge(
    photographs: Photographs, verdicts: Mapping[str, Verdict], options: CleanOptions, progress: Progress
) -> Judged:
    """Judge every photo: DBSCAN marks, the noise model weighs, a person's verdict counts, one of duplicates stays."""
    import numpy as np

    photos = [
        Photo(path, _class_of(path), photo_id, (rank, path))
        for path, photo_id, rank in zip(photographs.paths, photographs.photo_ids, photographs.ranks, strict=True)
    ]
    by_class: dict[str, list[int]] = defaultdict(list)
    for number, photo in enumerate(photos):
        by_class[photo.class_name].append(number)
    shapes = _shapes(photographs, by_class, options, progress)
    why = reasons(photographs.evidence)
    marks, clumps, distances = _marks(photographs, by_class, shapes, why)
    said = np.zeros(len(photos), np.int8)
    for number, photo in enumerate(photos):
        if verdict := verdicts.get(photo.path):
            marks[number] = 0
            if verdict.teaches and verdict.reason != "duplicate":  # a duplicate is a good photo
                said[number] = -1 if verdict.keep else 1
    evidence = np.column_stack([distances, photographs.numbers()])
    progress(0, _STEPS, "judge")
    judgement = judge_noise(photographs.vectors, evidence, marks, said, clumps) if options.learn else None
    progress(1, _STEPS, "judge")
    left_alone = _decide(photos, by_class, shapes, marks, judgement, options)
    for photo, reason in zip(photos, why.tolist(), strict=True):
        if verdict := verdicts.get(photo.path):
            photo.decided_by, photo.reason = "person", verdict.reason
        elif photo.reason is not None:
            photo.reason = reason
    progress(2, _STEPS, "judge")
    alike = duplicate_groups(photographs.perceptual_hashes, photographs.sha256, photographs.vectors)
    for group in alike:
        _mark_duplicates([photos[number] for number in group], remove=options.duplicates)
    _spare_conflicts(photos, by_class, alike, options, left_alone)
    progress(_STEPS, _STEPS, "judge")
    return Judged(
        photos,
        left_alone,
        {name: shape.eps for name, shape in shapes.items()},
        _trust(said, judgement),
        _suggest(photos, photographs, options.suggest),
    )


def _shapes(
    photographs: Photographs, by_class: Mapping[str, Sequence[int]], options: CleanOptions, progress: Progress
) -> dict[str, ClassShape]:
    shapes = {}
    for done, (name, members) in enumerate(sorted(by_class.items()), start=1):
        by_chance = sorted((photographs.sha256[number], place) for place, number in enumerate(members))
        order = [place for _, place in by_chance]  # by chance, yet always the same
        shapes[name] = shape_of(unit_length(photographs.vectors[members]), options, order)
        progress(done, len(by_class), "clean")
    return shapes


def _marks(
    photographs: Photographs,
    by_class: Mapping[str, Sequence[int]],
    shapes: Mapping[str, ClassShape],
    why: NDArray[np.str_],
) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.float32]]:
    """Return what the rule says of each photo (1 noise, -1 belongs, 0 nothing), its clump, and its distance.

    The distance is in quartile ranges of its class above the class's median, so that wide and narrow classes compare.
    """
    import numpy as np

    count = len(photographs.paths)
    marks, clumps = np.zeros(count, np.int8), np.full(count, -1, np.int64)
    distances = np.zeros(count, np.float32)
    doubtful = why != NO_REASON
    following = 0
    for name, members in sorted(by_class.items()):
        shape = shapes[name]
        low, median, high = np.percentile(shape.distances, (25, 50, 75))
        distances[members] = np.clip((shape.distances - median) / max(high - low, 1e-6), -3, 8)
        if shape.left_alone is not None:
            continue
        marks[members] = np.where(shape.clusters < 0, 1, np.where(doubtful[members], 0, -1))
        together: dict[int, list[int]] = defaultdict(list)
        for member, clump in zip(members, shape.clumps.tolist(), strict=True):
            together[clump].append(member)
        for clump in sorted(together.keys() - {-1}):
            clumps[together[clump]] = following
            following += 1
            if _is_series(photographs, together[clump]):
                marks[together[clump]] = 0
    return marks, clumps, distances


def _is_series(photographs: Photographs, together: Sequence[int]) -> bool:
    """Tell whether one observation or observer made most of these photos: a series says nothing about the class."""
    for origins in (photographs.observations, photographs.observers):
        known = Counter(origins[number] for number in together if origins[number] is not None)
        if known and max(known.values()) > SERIES_SHARE * len(together):
            return True
    return False


def _decide(
    photos: Sequence[Photo],
    by_class: Mapping[str, Sequence[int]],
    shapes: Mapping[str, ClassShape],
    marks: NDArray[np.int8],
    judgement: Judgement | None,
    options: CleanOptions,
) -> dict[str, str]:
    """Fill in cluster, distance, score and a first reason; return the classes left alone and why."""
    is_noise = (marks if judgement is None else judgement.values) > 0
    left_alone = {}
    for name, members in sorted(by_class.items()):
        shape = shapes[name]
        alone = shape.left_alone
        noise = {member for member in members if is_noise[member]}
        if alone is None and len(noise) > options.max_share * len(members):
            alone = f"{len(noise)} of {len(members)} photos look like noise, more than {options.max_share:.0%}"
        if alone is not None:
            left_alone[name] = alone
        for member, cluster, distance in zip(members, shape.clusters.tolist(), shape.distances.tolist(), strict=True):
            photo = photos[member]
            photo.cluster, photo.distance = cluster, distance
            photo.score = float(judgement.scores[member]) if judgement else _score(distance, shape.eps, cluster < 0)
            if alone is None:
                photo.reason = NO_REASON if member in noise else None
                photo.decided_by = "rule" if (member in noise) == (marks[member] > 0) else "model"
    return left_alone


def _score(distance: float, eps: float, outside: bool) -> float:
    """Return a score where there is no model: by distance, below 0.5 inside the class and above outside."""
    return (float(outside) + distance / (distance + eps)) / 2


def _mark_duplicates(group: Sequence[Photo], remove: bool) -> None:
    """Keep one of the photos that stay; none when they stand in different classes, for then a label is wrong.

    Every photo of the group but one says what it duplicates, also one that goes for another reason and one that a
    person keeps, so that no split parts them.
    """
    ordered = sorted(group, key=lambda photo: photo.order)
    staying = [photo for photo in ordered if photo.reason is None]
    first = (staying or ordered)[0]
    conflict = len({photo.class_name for photo in staying}) > 1
    for photo in ordered:
        others = [other for other in staying if other.class_name != photo.class_name]
        original = others[0] if conflict and others else first
        if original is photo:
            continue
        photo.duplicate_of = original.path
        if remove and photo.reason is None and photo.decided_by != "person":
            photo.reason = "duplicate"


def _spare_conflicts(
    photos: Sequence[Photo],
    by_class: Mapping[str, Sequence[int]],
    alike: Sequence[Sequence[int]],
    options: CleanOptions,
    left_alone: dict[str, str],
) -> None:
    """Let photos stay that stand in two classes where too much of one would go: then a folder is there twice.

    They stay in both, or the wrong one of the two could be what is left.
    """
    # Where a person keeps one of them, it is known which is right.
    alike = [group for group in alike if all(photos[n].decided_by != "person" or photos[n].reason for n in group)]
    open_ends = {number for group in alike for number in group}
    spared = set()
    for name, members in sorted(by_class.items()):
        conflicts = [photos[member] for member in members if member in open_ends and photos[member].is_conflict()]
        noise = sum(photos[member].reason not in (None, "duplicate") for member in members)
        if conflicts and len(conflicts) + noise > options.max_share * len(members):
            spared.add(name)
            others = f", and {noise} look like noise" if noise else ""
            why = f"{len(conflicts)} of {len(members)} photos stand in another class too{others}"
            too_many = f"{why}: more than {options.max_share:.0%}; they stay in both"
            left_alone[name] = "; ".join([left_alone[name], too_many] if name in left_alone else [too_many])
    for group in alike:
        conflicts = [photos[number] for number in group if photos[number].is_conflict()]
        if not spared.isdisjoint(photo.class_name for photo in conflicts):
            for name in {photo.class_name for photo in conflicts}:
                min((photo for photo in conflicts if photo.class_name == name), key=lambda one: one.order).reason = None


def _trust(said: NDArray[np.int8], judgement: Judgement | None) -> Trust | None:
    """Compare the verdicts with the model's values, each of which is that of a model without the photo's verdict."""
    if judgement is None or not said.any():
        return None
    noise = judgement.alone > 0  # clump-mates have learned the verdict
    would_remove, would_keep = int((noise & (said < 0)).sum()), int((~noise & (said > 0)).sum())
    verdicts = int((said != 0).sum())
    return Trust(verdicts, verdicts - would_remove - would_keep, would_remove, would_keep)


def _suggest(photos: Sequence[Photo], photographs: Photographs, wanted: int) -> list[Suggestion]:
    """Return the photos nearest to the line (uncertainty sampling, Lewis and Gale 1994), no two of them alike."""
    import numpy as np

    asked = [
        number for number, photo in enumerate(photos) if photo.decided_by != "person" and photo.reason != "duplicate"
    ]
    # As the table holds them, so that who reads it comes to the same order.
    stored = np.array([photo.score for photo in photos], np.float32).astype(float)
    asked.sort(key=lambda number: (abs(stored[number] - 0.5), photos[number].path))
    chosen = [asked[place] for place in first_unlike((photographs.vectors[number] for number in asked), wanted)]
    return [Suggestion(photos[number].path, photos[number].score, photos[number].reason) for number in chosen]

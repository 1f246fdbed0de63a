"""Find the photos that do not belong, and move them out of the class folders. Nothing is deleted.

Reads: ``embeddings.parquet``; ``selection.parquet`` (ranks) and ``verdicts.csv`` (a person's word) where there.
Writes: ``clean.parquet``, then moves photos to match it: ``images/`` <-> ``removed/<reason>/<Class>/``.
Resumes: run it again; every photo is judged anew, also the removed ones, and those that now stay come back.

The rule: DBSCAN per class (Ester et al. 1996, https://doi.org/10.5555/3001460.3001507) on the cosine distance of the
embeddings. Planted pictures form clusters of their own, so *the class is the clusters that hold a real share of it*;
everything else is an ``outlier``. Of photos that are nearly the same one is kept, the others are a ``duplicate``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import Column, Dataset, Receipt, file_hash, make_table, printable, read_table, write_table
from shroomcurate.duplicates import duplicate_groups
from shroomcurate.errors import BadOption
from shroomcurate.progress import Progress, silent
from shroomcurate.vectors import read_vectors, unit_length
from shroomcurate.verdicts import Verdict, digest, place_photos, read_verdicts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from shroomcurate.vectors import Vectors

TABLE = "clean.parquet"

SCHEMA = (
    Column("path", "string", "the photo: images/<Class>/<file>, wherever it lies now"),
    Column("photo_id", "int64", "iNaturalist photo id; null in a tree that no selection describes"),
    Column("class", "string", "the class folder"),
    Column("cluster", "int32", "DBSCAN cluster within the class, 0 the largest; -1 is noise, or was not clustered"),
    Column("kept", "bool", "whether the photo stays in its class folder"),
    Column("reason", "string", "why it was removed; null while it is kept"),
    Column("score", "float", "0..1, higher is more likely noise: distance / (distance + eps)"),
    Column("decided_by", "string", "rule, or person when a verdict decided"),
    Column("duplicate_of", "string", "path of the photo that this one nearly equals; null if it is the one kept"),
    Column("distance", "float", "cosine distance to the mean of the photos that are the class"),
)

#: Photos above which DBSCAN sees a sample and the others join the cluster of the nearest core photo within eps
#: (DBSCAN++, Jang and Jiang 2019, https://arxiv.org/abs/1810.13105): memory stays flat however large the class.
SAMPLE = 3000


@dataclass(frozen=True)
class CleanOptions:
    """Where the line runs between the class and the rest.

    Parameters
    ----------
    eps
        Cosine distance up to which two photos are neighbours, 0 to 2. Smaller removes more. With planted pictures
        among real photos F1 was about as good from 0.28 to 0.3 and fell off on both sides: 0.25 found 99 % of them
        and cost five times as many good photos as 0.3, 0.35 found 70 %.
    min_samples
        Neighbours, itself included, that make a photo the core of a cluster; at least this many. Classes with less
        than three times as many photos are too small to tell and are left alone.
    min_density
        The same as a share of the class: 0.05 is 10 of 200. A fixed number would let noise form dense clusters in
        larger classes. The larger of the two counts.
    min_share
        Share of a class that a cluster must hold to be the class, or part of it.
    max_share
        A class of which more than this share would go as outliers is left alone: then the rule, not the photos, is
        likely wrong.
    duplicates
        Whether near-duplicates go. If not they stay, and the table still says whose they are.
    dry_run
        Judge and report, write and move nothing.
    """

    eps: float = 0.3
    min_samples: int = 10
    min_density: float = 0.05
    min_share: float = 0.2
    max_share: float = 0.5
    duplicates: bool = True
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.eps < 2:
            raise BadOption(
                f"--eps {self.eps} is no cosine distance.", "Give a number above 0 and below 2, such as 0.3."
            )
        if self.min_samples < 2:
            raise BadOption(f"--min-samples {self.min_samples} is too few.", "Give 2 or more, such as 10.")
        for name in ("min_density", "min_share", "max_share"):
            if not 0 <= getattr(self, name) <= 1:
                option = f"--{name.replace('_', '-')}"
                raise BadOption(f"{option} {getattr(self, name)} is no share.", "Give a number from 0 to 1.")


@dataclass(frozen=True)
class CleanSummary:
    """What :func:`clean` decided and moved."""

    kept: int
    removed: int
    classes: dict[str, dict[str, int]]
    """Class -> ``kept`` and ``removed``."""
    reasons: dict[str, int]
    decided_by: dict[str, int]
    left_alone: dict[str, str]
    """Class whose outliers were not judged -> why."""
    moved_out: int
    moved_back: int
    unjudged: list[str] = field(default_factory=list)
    """Photos on disk that have no embedding, because they do not decode; they stay where they are."""
    dry_run: bool = False


@dataclass
class _Photo:
    """One photo while it is judged."""

    path: str
    photo_id: int | None
    order: tuple[int, str]
    cluster: int = -1
    reason: str | None = None
    decided_by: str = "rule"
    duplicate_of: str | None = None
    distance: float = 0.0

    @property
    def class_name(self) -> str:
        return Path(self.path).parent.name


def clean(
    dataset: Dataset,
    options: CleanOptions = CleanOptions(),
    progress: Progress = silent,
    embeddings: Path | None = None,
) -> CleanSummary:
    """Judge every photo, write ``clean.parquet`` and move the files to match it.

    Parameters
    ----------
    embeddings
        The table to judge by in a dry run; None: the dataset's own.

    Raises
    ------
    StageMissing
        There are no embeddings, or no photos.
    SourceMissing
        There are no photos in a tree that somebody else made.
    BadOption
        The dataset's tables are those of another tree, or `embeddings` is given and it is no dry run.
    DamagedFile
        A line of ``verdicts.csv`` is not a verdict.
    """
    if embeddings is not None and not options.dry_run:
        raise BadOption(f"{embeddings} are not the dataset's embeddings.", "Give other embeddings to a dry run only.")
    dataset.refuse_other_tree()
    dataset.require_photos()
    with dataset.lock("clean"):
        embeddings = embeddings or dataset.require("embeddings.parquet")
        verdicts = read_verdicts(dataset)
        on_disk = dataset.photos()
        photos, left_alone = _judge(dataset, embeddings, set(on_disk), verdicts, options, progress)
        out = back = 0
        if not options.dry_run:
            inputs = [name for name in ("embeddings.parquet", "selection.parquet") if dataset.path(name).exists()]
            receipt = Receipt(
                "clean",
                {key: value for key, value in asdict(options).items() if key != "dry_run"}
                | {"verdicts": digest(verdicts)},
                {name: file_hash(dataset.path(name)) for name in inputs},
            )
            write_table(dataset.path(TABLE), make_table(SCHEMA, (_row(photo, options) for photo in photos)), receipt)
            out, back = place_photos(dataset, {photo.path: photo.reason for photo in photos})
        unjudged = [printable(path) for path in sorted(on_disk.keys() - {photo.path for photo in photos})]
        return _summary(photos, left_alone, out, back, unjudged, options)


def _judge(
    dataset: Dataset,
    embeddings: Path,
    on_disk: AbstractSet[str],
    verdicts: Mapping[str, Verdict],
    options: CleanOptions,
    progress: Progress,
) -> tuple[list[_Photo], dict[str, str]]:
    """Return the photos with their judgements, sorted by path, and the classes left alone."""
    import numpy as np

    facts, vectors = _read_embeddings(embeddings, on_disk)
    sha256 = facts["sha256"].to_pylist()
    ranks = _ranks(dataset)
    photos = [
        _Photo(path, photo_id, (ranks.get(photo_id, len(ranks) + 1), path))
        for path, photo_id in zip(facts["path"].to_pylist(), facts["photo_id"].to_pylist(), strict=True)
    ]
    left_alone: dict[str, str] = {}
    by_class: dict[str, list[int]] = defaultdict(list)
    for number, photo in enumerate(photos):
        by_class[photo.class_name].append(number)
    for done, (name, members) in enumerate(sorted(by_class.items()), start=1):
        order = sorted(range(len(members)), key=lambda i: sha256[members[i]])  # a sample by chance, yet always the same
        own = unit_length(vectors[members])
        labels, why = find_class(own, options, order)
        _mark_outliers([photos[number] for number in members], own, labels, outliers=why is None)
        if why is not None:
            left_alone[name] = why
        progress(done, len(by_class), "clean")
    for photo in photos:
        if verdict := verdicts.get(photo.path):
            photo.decided_by, photo.reason = "person", verdict.reason
    hashes = np.array(facts["perceptual_hash"], np.uint64)
    for group in duplicate_groups(hashes, sha256, vectors):
        _mark_duplicates([photos[number] for number in group], remove=options.duplicates)
    return photos, left_alone


def _ranks(dataset: Dataset) -> dict[int | None, int]:
    selection = dataset.path("selection.parquet")
    if not selection.exists():
        return {}
    table = read_table(selection, ["photo_id", "rank_in_class"])
    return dict(zip(table["photo_id"].to_pylist(), table["rank_in_class"].to_pylist(), strict=True))


def _read_embeddings(file: Path, on_disk: AbstractSet[str]) -> tuple[pa.Table, Vectors]:
    """Return the facts and the vectors, shape (photos, length), of the photos on disk."""
    import numpy as np

    facts = read_table(file, ["path", "photo_id", "sha256", "perceptual_hash"])
    vectors = read_vectors(file)
    here = np.array([path in on_disk for path in facts["path"].to_pylist()], bool)
    if not here.all():
        facts, vectors = facts.filter(here), vectors[here]
    return facts, vectors


# -- outliers --------------------------------------------------------------------------------------------------


def find_class(
    vectors: Vectors, options: CleanOptions = CleanOptions(), order: Sequence[int] | None = None
) -> tuple[NDArray[np.int32], str | None]:
    """Cluster the photos of one class and say which clusters are the class.

    Parameters
    ----------
    vectors
        Shape (photos, length), each of length one.
    order
        The order in which photos are drawn for the sample when the class is larger than :data:`SAMPLE`.

    Returns
    -------
    labels
        The cluster of each photo: 0 .. for those that are the class, the largest first; -1 for outliers. All -1 when
        the class is left alone.
    why
        Why the class is left alone; None when it was judged.
    """
    import numpy as np

    count = len(vectors)
    nothing = np.full(count, -1, np.int32)
    if count < 3 * options.min_samples:
        return nothing, f"{count} photos are too few to tell; {3 * options.min_samples} are needed"
    sample = np.asarray(order if order is not None else range(count))[:SAMPLE]
    labels = _dbscan(vectors, np.sort(sample), options)
    found, sizes = np.unique(labels[labels >= 0], return_counts=True)
    # The largest first; of equal ones that with the first photo, which is DBSCAN's own order.
    large = [label for size, label in sorted(zip(-sizes, found, strict=True)) if -size >= options.min_share * count]
    if not large:
        return nothing, f"no cluster holds {options.min_share:.0%} of its {count} photos"
    result = nothing.copy()
    for number, label in enumerate(large):
        result[labels == label] = number
    outside = int((result < 0).sum())
    if outside > options.max_share * count:
        return nothing, f"{outside} of {count} photos lie outside its clusters, more than {options.max_share:.0%}"
    return result, None


def _dbscan(vectors: Vectors, sample: NDArray[np.int64], options: CleanOptions) -> NDArray[np.int64]:
    """Return the DBSCAN cluster of each photo; photos outside the sample join the nearest core within eps."""
    import numpy as np
    from sklearn.cluster import DBSCAN

    radius = float(np.sqrt(2 * options.eps))  # the distance of unit vectors at this cosine distance
    neighbours = max(options.min_samples, round(options.min_density * len(sample)))
    model = DBSCAN(eps=radius, min_samples=neighbours, algorithm="brute").fit(vectors[sample])
    labels = np.full(len(vectors), -1, np.int64)
    labels[sample] = model.labels_
    cores = sample[model.core_sample_indices_]
    others = np.setdiff1d(np.arange(len(vectors)), sample)
    if len(cores):
        for start in range(0, len(others), SAMPLE):
            block = others[start : start + SAMPLE]
            likeness = vectors[block] @ vectors[cores].T
            nearest = likeness.argmax(axis=1)
            near = likeness[np.arange(len(block)), nearest] >= 1 - options.eps
            labels[block[near]] = labels[cores[nearest[near]]]
    return labels


def _mark_outliers(photos: Sequence[_Photo], vectors: Vectors, labels: NDArray[np.int32], outliers: bool) -> None:
    import numpy as np

    members = vectors[labels >= 0] if outliers else vectors
    centre = members.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(centre))
    centre = centre / length if length > 0 else centre
    # Five decimals: beyond them the order of summation shows, and with it the machine.
    distances = np.clip(1 - vectors @ centre, 0, 2).round(5)
    for photo, label, distance in zip(photos, labels, distances, strict=True):
        photo.cluster, photo.distance = int(label), float(distance)
        if outliers and label < 0:
            photo.reason = "outlier"


# -- duplicates ------------------------------------------------------------------------------------------------


def _mark_duplicates(group: Sequence[_Photo], remove: bool) -> None:
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
        if remove and photo.reason is None and photo.decided_by == "rule":
            photo.reason = "duplicate"


# -- results ---------------------------------------------------------------------------------------------------


def _row(photo: _Photo, options: CleanOptions) -> dict[str, Any]:
    return {
        "path": photo.path,
        "photo_id": photo.photo_id,
        "class": photo.class_name,
        "cluster": photo.cluster,
        "kept": photo.reason is None,
        "reason": photo.reason,
        "score": photo.distance / (photo.distance + options.eps),
        "decided_by": photo.decided_by,
        "duplicate_of": photo.duplicate_of,
        "distance": photo.distance,
    }


def _summary(
    photos: Sequence[_Photo],
    left_alone: dict[str, str],
    out: int,
    back: int,
    unjudged: list[str],
    options: CleanOptions,
) -> CleanSummary:
    classes: dict[str, dict[str, int]] = {}
    for photo in photos:
        counts = classes.setdefault(photo.class_name, {"kept": 0, "removed": 0})
        counts["removed" if photo.reason else "kept"] += 1
    reasons = Counter(photo.reason for photo in photos if photo.reason)
    return CleanSummary(
        kept=len(photos) - reasons.total(),
        removed=reasons.total(),
        classes=classes,
        reasons=dict(sorted(reasons.items())),
        decided_by=dict(sorted(Counter(photo.decided_by for photo in photos).items())),
        left_alone=left_alone,
        moved_out=out,
        moved_back=back,
        unjudged=unjudged,
        dry_run=options.dry_run,
    )

"""Which rows of a dump are kept, and why the others are not: one function a table, from block to kept rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shroomcurate.catalogue.columns import equals, integers, uuid_keys
from shroomcurate.catalogue.dumps import Block
from shroomcurate.catalogue.kept import KeptRows, kept_rows
from shroomcurate.catalogue.keys import KeySet, Marks, distinct
from shroomcurate.catalogue.roots import Taxa

if TYPE_CHECKING:
    import numpy as np

#: Reasons that a report counts.
OTHER_GRADE = "other quality grade"
NO_TAXON = "no taxon"
UNKNOWN_TAXON = "unknown taxon"
OTHER_TAXON = "not below the wanted taxa"
NOT_KEPT = "observation not kept"
ORPHAN = "observation not in the dump (at least)"
NO_PHOTO = "no photo kept"


@dataclass
class Sifted:
    """What became of a block's rows."""

    read: int
    bytes: int
    kept: KeptRows
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason -> rows."""
    keys: Any = None
    """Of the observations kept, by :func:`~shroomcurate.catalogue.columns.uuid_keys`."""
    photos: Any = None
    """Ids of the photos kept."""
    other_photos: Any = None
    """Ids of the photos that are not kept."""
    observers: Any = None
    """Ids of the observers of the photos kept."""


def sift_taxa(block: Block, taxa: Taxa) -> Sifted:
    """Keep the wanted branches and what lies above their roots."""
    return _sifted(block, taxa.rows, {OTHER_TAXON: ~taxa.rows})


def sift_observations(block: Block, taxa: Taxa, quality: str, seen: Marks | None) -> Sifted:
    """Keep observations of the wanted grade and taxa.

    Parameters
    ----------
    quality
        A quality grade, or any.
    seen
        All observations of the block are added to it; None where every observation is kept.
    """
    import numpy as np

    graded = np.ones(block.rows, bool) if quality == "any" else equals(block, "quality_grade", quality.encode())
    if taxa.roots is None:
        kept, left_out = graded, {}
    else:
        ids = integers(block, "taxon_id")
        kept = graded & taxa.below.has(ids)
        other = graded & ~kept
        blank, known = ids < 0, taxa.known.has(ids)
        left_out = {NO_TAXON: other & blank, UNKNOWN_TAXON: other & ~blank & ~known, OTHER_TAXON: other & known}
    sifted = _sifted(block, kept, {OTHER_GRADE: ~graded, **left_out})
    if seen is not None:
        keys = uuid_keys(block, "observation_uuid")
        seen.add(keys)
        sifted.keys = keys[kept]
    return sifted


def sift_photos(block: Block, observations: KeySet | None, seen: Marks | None) -> Sifted:
    """Keep the photos of kept observations.

    Parameters
    ----------
    observations
        The observations kept; None: all of them.
    seen
        All observations of the dump; None with the other.
    """
    import numpy as np

    if observations is None or seen is None:
        kept, left_out = np.ones(block.rows, bool), {}
    else:
        keys = uuid_keys(block, "observation_uuid")
        kept, there = observations.has(keys), seen.has(keys)
        left_out = {NOT_KEPT: there & ~kept, ORPHAN: ~there & ~kept}
    sifted = _sifted(block, kept, left_out)
    ids = integers(block, "photo_id", required=True)
    sifted.photos, sifted.other_photos = ids[kept], ids[~kept]
    if observations is not None:
        observers = distinct(integers(block, "observer_id", np.flatnonzero(kept)))
        sifted.observers = observers[observers >= 0]
    return sifted


def sift_observers(block: Block, wanted: KeySet | None) -> Sifted:
    """Keep the observers of kept photos; None: all of them."""
    import numpy as np

    ids = integers(block, "observer_id", required=True)
    kept = np.ones(block.rows, bool) if wanted is None else wanted.has(ids)
    return _sifted(block, kept, {NO_PHOTO: ~kept})


def _sifted(block: Block, kept: np.ndarray, left_out: dict[str, np.ndarray]) -> Sifted:
    counts = {reason: int(rows.sum()) for reason, rows in left_out.items()}
    return Sifted(
        block.rows, block.size, kept_rows(block, kept), {name: count for name, count in counts.items() if count}
    )

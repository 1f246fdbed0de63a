"""The taxa that a load keeps the branches of: found by name or id in the table of taxa."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shroomcurate.catalogue import columns
from shroomcurate.catalogue.columns import integers
from shroomcurate.catalogue.dumps import Block
from shroomcurate.catalogue.keys import KeySet
from shroomcurate.errors import BadDump, NothingMatches

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np


@dataclass(frozen=True)
class Taxa:
    """Which taxa a load keeps."""

    roots: list[int] | None
    """Ids of the taxa whose branches are kept; None: all."""
    known: KeySet
    """All taxa of the dump."""
    below: KeySet
    """The roots and what lies below them."""
    rows: np.ndarray
    """Which rows of the table are kept: those below, and those above the roots for their names."""


def choose_taxa(whole: Block, wanted: Sequence[str] | None) -> Taxa:
    """Find the branches that are wanted in the table of taxa.

    Parameters
    ----------
    whole
        The table as one block.
    wanted
        Names or ids of taxa; None for all.

    Raises
    ------
    BadDump
        A taxon stands there twice, or has no id.
    NothingMatches
        A wanted taxon is not there, or several have its name.
    """
    import numpy as np

    ids = integers(whole, "taxon_id", required=True)
    _refuse_repeated(whole, ids)
    known = KeySet(ids)
    if wanted is None:
        return Taxa(None, known, known, np.ones(whole.rows, bool))
    roots = sorted({_root(whole, ids, name) for name in wanted})
    below = np.isin(ids, roots) | columns.below(whole, "ancestry", roots)
    above = {taxon_id for root in roots for taxon_id in _ancestors(whole, ids, root)}
    return Taxa(roots, known, KeySet(ids[below]), below | np.isin(ids, sorted(above)))


def _refuse_repeated(whole: Block, ids: np.ndarray) -> None:
    """Refuse a table that has a taxon twice: its photos would be counted twice, and which row is right is unknown."""
    import numpy as np

    order = np.argsort(ids, kind="stable")
    again = order[1:][ids[order[1:]] == ids[order[:-1]]]
    if len(again):
        row = int(again.min())
        raise BadDump(
            f"{whole.label}, line {whole.first_line + row}: taxon_id {ids[row]} stands there a second time.",
            "The file is damaged. Fetch it again, then type the same command.",
        )


def _root(whole: Block, ids: np.ndarray, wanted: str) -> int:
    """Return the id of the taxon with a name or id; of several with one name, the one that is active."""
    if re.fullmatch(r"[0-9]+", wanted):
        # The dump's ids have 16 digits at most.
        found = ids[ids == int(wanted)] if len(wanted) <= 16 else ids[:0]
    else:
        named = _rows_named(whole, wanted.encode(errors="surrogateescape")) if wanted else []  # blank is no name
        found = ids[[row for row in named if whole.value("active", row) in (b"true", b"t")] or named]
    if len(found) == 1:
        return int(found[0])
    if len(found):
        raise NothingMatches(
            f"--taxon {wanted!r} names {len(found)} taxa: {', '.join(map(str, sorted(found)))}.",
            f"Give the id of the one you mean: --taxon {found[0]}",
        )
    raise NothingMatches(
        f"--taxon {wanted!r} is not in this dump's taxa.",
        "Give a scientific name or a taxon id, such as --taxon Basidiomycota or --taxon 47169.",
    )


def _rows_named(whole: Block, name: bytes) -> list[int]:
    import numpy as np

    starts, ends = whole.field("name")
    as_long = np.flatnonzero(ends - starts == len(name))
    return [row for row in as_long.tolist() if whole.value("name", row) == name]


def _ancestors(whole: Block, ids: np.ndarray, taxon_id: int) -> list[int]:
    """Return the ids of the taxa above a taxon, the root of all first."""
    line = whole.value("ancestry", int((ids == taxon_id).argmax()))
    return [int(part) for part in re.findall(r"\b[0-9]{1,16}\b", line.decode("utf-8", "replace"))]

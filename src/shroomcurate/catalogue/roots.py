"""The taxa that a load keeps the branches of: found by name or id in the table of taxa."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shroomcurate.catalogue.columns import column
from shroomcurate.catalogue.dumps import Block, TableFile
from shroomcurate.errors import BadDump, NothingMatches

if TYPE_CHECKING:
    import pyarrow as pa


def refuse_repeated(file: TableFile, whole: Block, ids: pa.Array) -> None:
    """Refuse a table that has a taxon twice: its photos would be counted twice, and which row is right is unknown.

    Raises
    ------
    BadDump
        Names the line of the second row.
    """
    import numpy as np

    values = ids.to_numpy(zero_copy_only=False)
    order = np.argsort(values, kind="stable")
    again = order[1:][values[order[1:]] == values[order[:-1]]]
    if len(again):
        row = int(again.min())
        raise BadDump(
            f"{file.label}, line {whole.first_line + row}: taxon_id {values[row]} stands there a second time.",
            "The file is damaged. Fetch it again, then type the same command.",
        )


def root_id(whole: Block, ids: pa.Array, wanted: str) -> int:
    """Return the id of the taxon with a name or id; of several with one name, the one that is active.

    Raises
    ------
    NothingMatches
        There is none, or several are left.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if re.fullmatch(r"[0-9]+", wanted):
        # PostgreSQL's and Arrow's ids have 18 digits at most.
        found = ids.filter(pc.equal(ids, int(wanted))).to_pylist() if len(wanted) <= 18 else []
    else:
        named = pc.equal(column(whole, "name"), wanted.encode())
        active = pc.and_(named, pc.is_in(column(whole, "active"), pa.array([b"true", b"t"])))
        found = ids.filter(active).to_pylist() or ids.filter(named).to_pylist()
    if len(found) == 1:
        return int(found[0])
    if found:
        raise NothingMatches(
            f"--taxon {wanted!r} names {len(found)} taxa: {', '.join(map(str, sorted(found)))}.",
            f"Give the id of the one you mean: --taxon {found[0]}",
        )
    raise NothingMatches(
        f"--taxon {wanted!r} is not in this dump's taxa.",
        "Give a scientific name or a taxon id, such as --taxon Basidiomycota or --taxon 47169.",
    )


def ancestors(whole: Block, ids: pa.Array, taxon_id: int) -> list[int]:
    """Return the ids of the taxa above a taxon, the root of all first."""
    import pyarrow.compute as pc

    line = column(whole, "ancestry")[pc.index(ids, taxon_id).as_py()].as_py()
    return [int(part) for part in re.findall(r"\b[0-9]{1,18}\b", line.decode("utf-8", "replace"))]

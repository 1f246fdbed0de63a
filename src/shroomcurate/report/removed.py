"""What cleaning took out: each reason with examples, duplicates beside the photo they equal, photos on two labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shroomcurate.report.known import Known, Row, counted, where
from shroomcurate.report.pictures import Pictures
from shroomcurate.tree import REASONS

if TYPE_CHECKING:
    import pyarrow as pa

#: Pairs of classes that share photos, shown by name.
_PAIRS_OF_CLASSES = 20


def removed(known: Known, pictures: Pictures, at_most: int) -> dict[str, Any] | None:
    """Return what was removed and why, with up to so many photos for each reason."""
    table = known.clean
    if table is None:
        return None
    out, kept = where(table, "kept", False), where(table, "kept", True)
    counts = counted(out, "reason")
    reasons = []
    for reason in sorted(counts, key=lambda reason: (-counts[reason], reason)):
        rows = where(out, "reason", reason)
        pairs, single = _paired(rows) if reason == "duplicate" else ([], rows)
        conflicts = [row for row in pairs if _in_two_classes(row)]
        same = [row for row in pairs if not _in_two_classes(row)]
        reasons.append(
            {
                "name": reason,
                "meaning": REASONS.get(reason, ""),
                "count": counts[reason],
                "decided_by": sorted(counted(rows, "decided_by").items()),
                "photos": pictures.ask(spread(single.to_pylist())[:at_most]),
                "others": len(single),
                "pairs": _beside(known, pictures, spread(same)[:at_most]),
                "same": len(same),
                "conflicts": _beside(known, pictures, spread(conflicts)[:at_most]),
                "conflicting": len(conflicts),
                "in_two_classes": _in_which_classes(conflicts),
            }
        )
    return {
        "left_alone": known.left_alone,
        "judged": len(table),
        "total": len(out),
        "duplicates": counts["duplicate"],
        "by_person": counted(table, "decided_by")["person"],
        "reasons": reasons,
        "borderline": pictures.ask(_highest(kept, at_most)),
    }


def spread(rows: Sequence[Row]) -> list[Row]:
    """Order photos so that the first few come from many classes, each class's clearest case first."""
    ranks: Counter[str] = Counter()
    ranked = []
    for row in sorted(rows, key=lambda row: (-row["score"], row["path"])):
        ranks[row["class"]] += 1
        ranked.append((ranks[row["class"]], -row["score"], row["path"], row))
    return [row for *_, row in sorted(ranked, key=lambda entry: entry[:3])]


def _highest(rows: pa.Table, at_most: int) -> list[Row]:
    """Return the rows with the highest scores, highest first."""
    import pyarrow.compute as pc

    order = [("score", "descending"), ("path", "ascending")]
    found: list[Row] = rows.take(pc.select_k_unstable(rows, at_most, order)).to_pylist() if at_most else []
    return found


# -- duplicates ------------------------------------------------------------------------------------------------


def _paired(rows: pa.Table) -> tuple[list[Row], pa.Table]:
    """Part duplicates into those that say what they equal, and those that a person named and nothing else did."""
    return rows.filter(rows["duplicate_of"].is_valid()).to_pylist(), rows.filter(rows["duplicate_of"].is_null())


def _class_of(path: str) -> str:
    return path.split("/")[-2] if "/" in path else ""


def _in_two_classes(row: Row) -> bool:
    """Tell whether a photo and the one that it equals have different labels, of which one is wrong."""
    return _class_of(row["duplicate_of"]) != str(row["class"])


def _in_which_classes(rows: Sequence[Row]) -> list[tuple[tuple[str, str], int]]:
    """Return the pairs of classes that share photos, with how many were removed for it, most first."""
    pairs: Counter[tuple[str, str]] = Counter()
    for row in rows:
        first, second = sorted((row["class"], _class_of(row["duplicate_of"])))
        pairs[first, second] += 1
    named = [((a.replace("_", " "), b.replace("_", " ")), count) for (a, b), count in pairs.items()]
    return sorted(named, key=lambda entry: (-entry[1], entry[0]))[:_PAIRS_OF_CLASSES]


def _beside(known: Known, pictures: Pictures, rows: Sequence[Row]) -> list[list[dict[str, Any]]]:
    """Return each of these photos together with the one that it equals, and what became of that."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not rows or known.clean is None:
        return []
    index = pc.index_in(pa.array([row["duplicate_of"] for row in rows], pa.string()), value_set=known.clean["path"])
    others = []
    for row, found in zip(rows, known.clean.take(index).to_pylist(), strict=True):
        told = found if found["path"] else {"kept": None, "reason": None}  # of an older cleaning
        others.append({**told, "path": row["duplicate_of"], "class": _class_of(row["duplicate_of"]), "score": None})
    return [list(pair) for pair in zip(pictures.ask(rows), pictures.ask(others), strict=True)]

"""What became of each class: what was asked for, what there is, what was lost on the way, and why it is short."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from shroomcurate.dataset import Dataset, read_receipt, read_table


@dataclass(frozen=True)
class ClassTally:
    """One class, in photos."""

    asked: int
    available: int | None
    """In the catalogue, after all filters; None where the selection does not tell."""
    selected: int
    """Wanted and in reserve."""
    reserve_left: int
    """Not asked for yet."""
    kept: int
    gone: int = 0
    corrupt: int = 0
    failed: int = 0
    removed: Mapping[str, int] = field(default_factory=dict)
    """Reason -> photos that cleaning has taken out."""

    @property
    def short(self) -> int:
        """Clean photos that it lacks."""
        return max(0, self.asked - self.kept)

    @property
    def why(self) -> str:
        """Why it is short, in words; empty when it is not."""
        if not self.short:
            return ""
        lost = {"gone": self.gone, "corrupt": self.corrupt, "failed": self.failed, **self.removed}
        parts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in lost.items() if count)
        if self.available is not None and self.available <= self.selected:
            there = f"the catalogue has {self.available:,}"
        else:
            there = f"{self.selected:,} were selected"
        left = f"{self.reserve_left:,} left in reserve" if self.reserve_left else "the reserve is used up"
        return f"{there}; {parts or 'none of them lost'}; {left}"


def tally(dataset: Dataset) -> dict[str, ClassTally]:
    """Return what became of each class, in the order of the selection.

    Raises
    ------
    StageMissing, DamagedFile
        A table is not there, or cannot be read.
    """
    path = dataset.require("selection.parquet")
    receipt = read_receipt(path)
    options = receipt.options if receipt else {}
    selected = _counted(dataset, "selection.parquet", "class", "role")
    ended = _counted(dataset, "downloads.parquet", "class", "status")
    judged = _counted(dataset, "clean.parquet", "class", "reason")
    found = {}
    for name, roles in selected.items():
        reasons = judged.get(name, Counter())
        statuses = ended.get(name, Counter())
        found[name] = ClassTally(
            asked=int(options.get("per_class") or roles["wanted"]),
            available=(options.get("available") or {}).get(name),
            selected=roles.total(),
            reserve_left=roles.total() - statuses.total(),
            kept=reasons[None],
            gone=statuses["gone"],
            corrupt=statuses["corrupt"],
            failed=statuses["failed"] + statuses["pending"],
            removed={str(reason): count for reason, count in sorted(reasons.items(), key=str) if reason is not None},
        )
    return found


def _counted(dataset: Dataset, name: str, *columns: str) -> dict[str, Counter[str | None]]:
    """Return class -> value -> rows."""
    table = read_table(dataset.require(name), list(columns))
    grouped = table.group_by(list(columns), use_threads=False).aggregate([([], "count_all")])
    found: dict[str, Counter[str | None]] = defaultdict(Counter)
    for row in grouped.to_pylist():
        found[row[columns[0]]][row[columns[1]]] += row["count_all"]
    return dict(found)

"""Put removed photos back.

Reads and writes: ``clean.parquet``, ``verdicts.csv``. Moves: ``removed/<reason>/<Class>/`` -> ``images/<Class>/``.
Resumes: the verdicts are written first, the table last, so a killed restore is finished by the same command.

A restore is a person's word: ``keep``. The next cleaning does not take the photo out again; but it learns nothing from
it, since who brings back many has not looked at each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from shroomcurate.dataset import Dataset, Receipt, read_receipt, read_table, write_table
from shroomcurate.errors import NothingMatches
from shroomcurate.progress import Progress, silent
from shroomcurate.summary import Summary
from shroomcurate.verdicts import Verdict, append_verdicts, digest, place_photos, read_verdicts

TABLE = "clean.parquet"
_KEEP = Verdict(keep=True, reason=None, teaches=False)


@dataclass(frozen=True)
class RestoreOptions:
    """Which removed photos come back: those that fulfil every condition given. Without any, all of them.

    Parameters
    ----------
    reason
        Removed for this reason, such as ``outlier``.
    class_name
        Of this class, such as ``Amanita_muscaria``.
    photo_ids
        iNaturalist photo ids.
    """

    reason: str | None = None
    class_name: str | None = None
    photo_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class RestoreSummary(Summary):
    """What :func:`restore` put back. `missing` are photos that nobody finds under ``removed/`` any more."""

    restored: int
    reasons: dict[str, int]
    classes: dict[str, int]
    missing: list[str]
    still_removed: int
    overruled: int = 0
    """Photos among them that a verdict had removed."""


def restore(
    dataset: Dataset, options: RestoreOptions = RestoreOptions(), progress: Progress = silent
) -> RestoreSummary:
    """Put removed photos back into their class folders and remember it as a person's verdict.

    Raises
    ------
    StageMissing
        Nothing has been cleaned yet.
    BadOption
        The dataset's tables are those of another tree.
    NothingMatches
        No removed photo has this reason, class or id; the hint names what there is.
    """
    dataset.refuse_other_tree()
    dataset.require(TABLE)
    if options.reason == "withdrawn":  # not by cleaning
        raise NothingMatches(
            "Withdrawn photos do not come back: they were taken down, or have another licence now.",
            f"If that was a mistake, as with a wrong --base-url: shroomcurate download --retry-gone {dataset.option}",
        )
    with dataset.lock("restore"):
        file = dataset.require(TABLE)
        rows: list[dict[str, Any]] = read_table(file).to_pylist()
        removed = [row for row in rows if not row["kept"]]
        if options.class_name is not None and all(row["class"] != options.class_name for row in rows):
            options = replace(options, class_name=options.class_name.replace(" ", "_"))  # as the species is written
        on_disk = dataset.photos()
        chosen = _choose(removed, options)
        back = {row["path"]: row for row in chosen if row["path"] in on_disk}
        verdicts = read_verdicts(dataset)
        append_verdicts(dataset, {path: _KEEP for path in back if not _kept(verdicts.get(path))})
        place_photos(dataset, dict.fromkeys(back), progress)
        summary = RestoreSummary(
            restored=len(back),
            reasons=_count(row["reason"] for row in back.values()),
            classes=_count(row["class"] for row in back.values()),
            missing=sorted(row["path"] for row in chosen if row["path"] not in on_disk),
            still_removed=len(removed) - len(back),
            overruled=sum(path in verdicts and not verdicts[path].keep for path in back),
        )
        if back:
            _rewrite(dataset, rows, back)
        return summary


def _kept(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.keep


def _choose(removed: list[dict[str, Any]], options: RestoreOptions) -> list[dict[str, Any]]:
    """Return the removed rows that fulfil every condition; a condition that nothing fulfils is a mistake."""
    chosen = removed
    for column, what, wanted in (
        ("reason", "reason", [options.reason] if options.reason is not None else []),
        ("class", "class", [options.class_name] if options.class_name is not None else []),
        ("photo_id", "photo id", list(options.photo_ids)),
    ):
        there = {row[column] for row in chosen if row[column] is not None}
        unknown = [value for value in wanted if value not in there]
        if unknown:
            raise NothingMatches(
                f"No removed photo has the {what} {', '.join(map(str, unknown))}.",
                f"Removed photos have: {_some(there)}" if there else "Nothing of that kind is removed.",
            )
        if wanted:
            chosen = [row for row in chosen if row[column] in wanted]
    return chosen


def _some(values: Collection[Any]) -> str:
    shown = [str(value) for value in sorted(values)[:20]]
    return ", ".join(shown) + (f" and {len(values) - len(shown)} more" if len(values) > len(shown) else "")


def _count(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _rewrite(dataset: Dataset, rows: list[dict[str, Any]], back: Collection[str]) -> None:
    import pyarrow as pa

    for row in rows:
        if row["path"] in back:
            row.update(kept=True, reason=None, decided_by="person")
    file = dataset.path(TABLE)
    schema = read_table(file).schema.remove_metadata()
    receipt = read_receipt(file) or Receipt("clean", {})
    receipt = replace(receipt, options={**receipt.options, "verdicts": digest(read_verdicts(dataset))})
    write_table(file, pa.Table.from_pylist(rows, schema=schema), receipt)

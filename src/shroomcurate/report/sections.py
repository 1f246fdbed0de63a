"""What the report says of selection, classes, licences, downloads, split and receipts, as plain figures and words.

Each section is what the template shows, or None when its table is not there. Photos, places and the baseline have
modules of their own beside this one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import WRITTEN_BY, asked_per_class
from shroomcurate.licences import DEEDS, LICENCES
from shroomcurate.receipts import changed_inputs
from shroomcurate.report.certificate import certificate
from shroomcurate.report.known import Known, counted, where

if TYPE_CHECKING:
    import pyarrow as pa

#: What receipts tell of each class, which is too much for a line.
_OF_EACH_CLASS = {"available", "left_alone"}

#: What became of a photo that was asked for.
STATUSES = {
    "ok": "on disk, and it decodes to the last byte",
    "gone": "no longer in the bucket (403, 404, 410), or taken out by download --recheck",
    "corrupt": "what came is not one whole photo",
    "failed": "the server did not deliver it, also after repeated attempts",
    "pending": "not fetched yet",
}


def asked(known: Known) -> dict[str, Any] | None:
    """Return the options of `query`, and what it took."""
    import pyarrow.compute as pc

    table, receipt = known.selection, known.receipts.get("selection.parquet")
    if table is None:
        return None
    roles = counted(table, "role")
    first, last = pc.min_max(table["observed_on"]).as_py().values()
    options = dict(receipt.options) if receipt else {}
    left_out = options.pop("left_out", {})
    there_was = {"photos in the catalogue": options.pop("photos_in_catalogue", None)} | {
        f"left out: {reason.replace('_', ' ')}": count for reason, count in left_out.items() if count
    }
    for among_the_receipts in ("catalogue", "sql", "asked", "available", "dump"):
        options.pop(among_the_receipts, None)
    return {
        "options": sorted(
            as_words({name: value for name, value in options.items() if value is not None}), key=_asked_order
        ),
        "left_open": sorted(name for name, value in options.items() if value is None),
        "there_was": {name: count for name, count in there_was.items() if count is not None},
        "taken": {
            "classes": pc.count_distinct(table["class"]).as_py(),
            "photos wanted": roles["wanted"],
            "photos in reserve": roles["reserve"],
            "observations": pc.count_distinct(table["observation_uuid"]).as_py(),
            "photographers": pc.count_distinct(table["observer_id"]).as_py(),
        },
        "dates": (first.isoformat(), last.isoformat()) if first else None,
    }


def _asked_order(option: tuple[str, str]) -> tuple[int, str]:
    order = ("species", "per_class", "reserve", "min_per_class", "rank", "quality", "licenses")
    return (order.index(option[0]) if option[0] in order else len(order), option[0])


def as_words(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield options as names and words."""
    for name, value in options.items():
        if isinstance(value, (list, tuple)):
            yield name, ", ".join(map(str, value)) or "none"
        elif isinstance(value, Mapping):
            yield name, ", ".join(f"{key}: {each}" for key, each in sorted(value.items())) or "none"
        else:
            yield name, "not set" if value is None else ("no", "yes")[value] if isinstance(value, bool) else str(value)


def classes(known: Known) -> dict[str, Any] | None:
    """Return the counts of each class; None stands for 'no such table yet'."""
    names = _class_names(known)
    if not names:
        return None
    counts: dict[str, Counter[str] | None] = {
        "wanted": _per_class(known.selection, "role", "wanted"),
        "fetched": known.on_disk if known.downloads is None else _per_class(known.downloads, "status", "ok"),
        "removed": _per_class(known.clean, "kept", False),
        "kept": _per_class(known.clean, "kept", True),
        **{split: _per_class(known.splits, "split", split) for split in ("train", "val", "test")},
    }
    rows = [
        {"class": name, "name": names[name]}
        | {column: None if found is None else found[name] for column, found in counts.items()}
        for name in sorted(names)
    ]
    widest = max(max(row["wanted"] or 0, row["fetched"] or 0) for row in rows) or 1
    total = {column: None if found is None else found.total() for column, found in counts.items()}

    def have(row: dict[str, Any]) -> int:
        return int(row["fetched"] if row["kept"] is None else row["kept"])

    fewest = sorted(rows, key=lambda row: (have(row), row["class"]))
    per_class = asked_per_class(known.receipts.get("selection.parquet"))
    lacking = [per_class - have(row) for row in rows if per_class is not None and have(row) < per_class]
    return {
        "per_class": per_class,
        "short": len(lacking),
        "lacking": sum(lacking),
        "rows": rows,
        "total": total,
        "widest": widest,
        "fewest": fewest,
        "fetched": known.downloads is not None,
        "unknown": any(found is None for found in counts.values()),
    }


def _class_names(known: Known) -> dict[str, str]:
    """Return class -> its name, of every class that a table or a folder knows."""
    names: dict[str, str] = {}
    if known.selection is not None:
        found = known.selection.group_by("class").aggregate([("class_name", "max")])
        names = dict(zip(found["class"].to_pylist(), found["class_name_max"].to_pylist(), strict=True))
    # The folders tell nothing that the cleaning's table does not, and take long to look through.
    others = counted(known.clean, "class") if known.clean is not None else known.on_disk
    return {name: name.replace("_", " ") for name in others} | names


def _per_class(table: pa.Table | None, column: str, value: object) -> Counter[str] | None:
    return None if table is None else counted(where(table, column, value), "class")


def licences(known: Known) -> dict[str, Any] | None:
    """Return the licences of the photos that the dataset offers, and how many people took them."""
    import pyarrow.compute as pc

    if known.offered is None:
        return None
    rows = known.offered.rows.filter(known.offered.rows["photo_id"].is_valid())
    counts = counted(rows, "license")
    order = [*LICENCES, *sorted(counts.keys() - LICENCES.keys())]
    return {
        "of": known.offered.words,
        "rows": [
            {
                "name": name,
                "count": counts[name],
                "meaning": LICENCES.get(name, "Not known here: ask its owner."),
                "deed": DEEDS.get(name),
            }
            for name in order
            if counts[name]
        ],
        "total": len(rows),
        "unknown": len(known.offered.rows) - len(rows),
        "commercial": sum(count for name, count in counts.items() if name in LICENCES and "NC" not in name),
        "photographers": pc.count_distinct(rows["observer_id"]).as_py(),
    }


def downloads(known: Known) -> dict[str, Any] | None:
    """Return what became of the photos asked for."""
    import pyarrow.compute as pc

    table = known.downloads
    if table is None:
        return None
    counts, here = counted(table, "status"), where(table, "status", "ok")
    order = [*STATUSES, *sorted(counts.keys() - STATUSES.keys())]
    return {
        "rows": [(name, counts[name], STATUSES.get(name, "")) for name in order if counts[name]],
        "total": len(table),
        "megabytes": (pc.sum(here["bytes"]).as_py() or 0) / 1e6,
        "from_reserve": counted(here, "role")["reserve"],
    }


def split(known: Known) -> dict[str, Any] | None:
    """Return the parts of the split, and whether it leaks."""
    if known.splits is None:
        return None
    return {
        "counts": sorted(counted(known.splits, "split").items(), key=lambda entry: _split_order(entry[0])),
        **certificate(known, known.splits)._asdict(),
        "same_photographer": _same_photographer(known, known.splits),
    }


def _split_order(name: str) -> tuple[int, str]:
    order = ("train", "val", "test")
    return (order.index(name) if name in order else len(order), name)


def _same_photographer(known: Known, table: pa.Table) -> tuple[int, int] | None:
    """Of how many test photos there are training photos by the same photographer, and of how many that is known."""
    import pyarrow.compute as pc

    def observers(split: str) -> Any:
        selected = known.select_at(where(table, "split", split)["path"].combine_chunks())
        return None if selected is None else selected["observer_id"].drop_null()

    trained, tested = observers("train"), observers("test")
    if tested is None or not len(tested):
        return None
    return pc.sum(pc.is_in(tested, value_set=trained.combine_chunks())).as_py() or 0, len(tested)


def receipts(known: Known) -> list[dict[str, Any]]:
    """Return how each file came to be, and whether what it was made from is still what it was."""
    found = []
    for name, receipt in sorted(known.receipts.items(), key=lambda entry: _made_order(entry[0])):
        changed = [change.name for change in changed_inputs(receipt.inputs, known.hash_now)]
        found.append(
            {
                "name": name,
                "stage": receipt.stage,
                "version": receipt.version,
                "options": sorted(as_words({k: v for k, v in receipt.options.items() if k not in _OF_EACH_CLASS})),
                "inputs": sorted(receipt.inputs.items()),
                "changed": sorted(changed),
            }
        )
    return found


def _made_order(name: str) -> tuple[int, str]:
    order = list(WRITTEN_BY)
    return (order.index(name) if name in order else len(order), name)

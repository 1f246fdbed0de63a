"""Which photos an export holds, and all that is known of each: the dataset's tables joined, column by column."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import WRITTEN_BY, Dataset, Receipt, arrow_schema, printable, read_receipt, read_table
from shroomcurate.errors import BadOption, NothingMatches, StageMissing
from shroomcurate.export import credit, manifest
from shroomcurate.export.options import ExportOptions
from shroomcurate.export.records import SCHEMA, Records, changed_photo
from shroomcurate.licences import DEEDS, accepted_licenses
from shroomcurate.photos import NotAPhoto, check_photo, photo_bytes
from shroomcurate.progress import Progress
from shroomcurate.receipts import changed_inputs
from shroomcurate.tree import PARTIAL
from shroomcurate.verdicts import read_verdicts

if TYPE_CHECKING:
    import pyarrow as pa

#: Why a photo that lies in a class folder, or that the tables know, is not exported.
LEFT_OUT = {
    "verdict": "a verdict removes it, and was not applied yet: shroomcurate clean",
    "not judged": "it came after the last cleaning: shroomcurate clean",
    "not here": "the tables have it, and there is no such file: shroomcurate download",
    "no photo": "the file is no whole JPEG, PNG or GIF",
    "name": "the file's name is no UTF-8",
    "licence": "of another licence than asked for",
    "no licence": "its licence is not known, and some were asked for",
}

#: Format whose class folders stand at the top, when there is no split -> what it writes there itself.
_OWN = (credit.TABLE, credit.PAGE, credit.NOTICE, manifest.FILE, manifest.FILE + PARTIAL, manifest.LOCK)
_BESIDE_CLASSES = {"imagefolder": _OWN, "coco": (*_OWN, "annotations")}

_PHOTO = "https://www.inaturalist.org/photos/"
_OBSERVATION = "https://www.inaturalist.org/observations/"


@dataclass
class Gathered:
    """The records, and what is not among them: reason of :data:`LEFT_OUT` -> photos, sorted."""

    records: Records
    left_out: dict[str, list[str]] = field(default_factory=dict)


def split_state(dataset: Dataset) -> str:
    """Return how the split stands for an export: ``missing``, ``stale`` or ``current``.

    Stale is one made from another selection or cleaning than those that are here now, or without some kept photos.
    """
    file = dataset.path("splits.parquet")
    if not file.exists():
        return "missing"
    receipt = read_receipt(file)
    inputs = receipt.inputs if receipt else {}
    if changed_inputs(inputs, dataset.hash_now, also=("clean.parquet", "selection.parquet")):
        return "stale"
    placed = set(read_table(file, ["path"])["path"].to_pylist())
    left_out: dict[str, list[str]] = {}
    return "current" if placed.issuperset(_offered(dataset, left_out)) else "stale"


def gather(dataset: Dataset, options: ExportOptions, progress: Progress) -> Gathered:
    """Return the photos to export with all that the dataset knows of them.

    Raises
    ------
    StageMissing
        There is no photo, ``clean.parquet`` is out of date, or a split is asked for and there is no current one.
    NothingMatches
        No photo has a licence that is asked for, or none is a photo.
    BadOption
        A class has the name of a file of the export's own.
    DamagedFile
        A photo is not what came.
    """
    dataset.require_photos()
    dataset.refuse_other_tree()
    dataset.refuse_stale("clean.parquet")
    if options.split and (state := split_state(dataset)) != "current":
        what = "There is no splits.parquet" if state == "missing" else "splits.parquet was made from other photos"
        raise StageMissing(
            f"{what} in {dataset.root}.",
            f"Type this first: shroomcurate train-baseline {dataset.option}, or export without a split.",
        )
    left_out: dict[str, list[str]] = {}
    facts = _licensed(_known(dataset, _offered(dataset, left_out)), options.licenses, left_out)
    table = _measured(dataset, facts, left_out, progress) if facts.num_rows else facts
    if not table.num_rows:
        raise NothingMatches(
            f"No photo of {dataset.images} can be exported{_why_none(left_out)}.",
            "Give other --licenses, or any." if options.licenses != "any" else "Look at: shroomcurate status.",
        )
    records = _records(dataset, table, options)
    _refuse_own_names(records, options.format)
    return Gathered(
        records,
        {reason: sorted(left_out[reason]) for reason in LEFT_OUT if reason in left_out},
    )


def _refuse_own_names(records: Records, format_name: str) -> None:
    """Refuse classes whose folders would stand where the export has files of its own."""
    if records.splits:
        return
    taken = sorted({*_BESIDE_CLASSES.get(format_name, ())}.intersection(records.classes))
    if taken:
        raise BadOption(
            f"The class {taken[0]} has the name of a file that the export itself writes.",
            "Rename the class's folder, export with a split, or take another --format, such as webdataset.",
        )


def _why_none(left_out: Mapping[str, list[str]]) -> str:
    return "".join(f"; {len(paths):,}: {LEFT_OUT[reason]}" for reason, paths in left_out.items())


def _offered(dataset: Dataset, left_out: dict[str, list[str]]) -> list[str]:
    """Return the photos that the dataset offers, by path: those that cleaning kept, or all before any cleaning."""
    here = [path for path, (_, reason) in dataset.places().items() if reason is None]
    _leave_out(left_out, "name", (path for path in here if printable(path) != path))
    here = [path for path in here if printable(path) == path]
    judged = dataset.path("clean.parquet")
    if judged.exists():
        table = read_table(judged, ["path", "kept"]).to_pydict()
        kept = dict(zip(table["path"], table["kept"], strict=True))
        _leave_out(left_out, "not judged", (path for path in here if path not in kept))
        there = set(here)
        _leave_out(left_out, "not here", (path for path, stays in kept.items() if stays and path not in there))
        here = [path for path in here if kept.get(path)]
    removed = {path for path, verdict in read_verdicts(dataset).items() if not verdict.keep}
    _leave_out(left_out, "verdict", (path for path in here if path in removed))
    return [path for path in here if path not in removed]


def _leave_out(left_out: dict[str, list[str]], reason: str, paths: Iterable[str]) -> None:
    if found := [printable(path) for path in paths]:
        left_out.setdefault(reason, []).extend(found)


# -- what the tables know ---------------------------------------------------------------------------------------


def _known(dataset: Dataset, paths: list[str]) -> pa.Table:
    """Return what selection, download, split and verdicts know of each photo; null where they do not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = pa.array(paths, pa.string())
    # A photo's file is named after it. 18 digits fit 64 bits.
    ids = pc.struct_field(pc.extract_regex(keys, r"/(?P<id>[0-9]{1,18})\.[^/]*$"), "id").cast(pa.int64())
    selected = _rows(dataset, "selection.parquet", "photo_id", ids)
    downloaded = _rows(dataset, "downloads.parquet", "path", keys)
    placed = _rows(dataset, "splits.parquet", "path", keys)
    kept = {path for path, verdict in read_verdicts(dataset).items() if verdict.keep}
    known: dict[str, Any] = {"path": keys, "verdict": ["keep" if path in kept else None for path in paths]}
    for table in (selected, downloaded, placed):
        known |= {
            column.name: table[column.name]
            for column in SCHEMA
            if column.name in table.column_names and column.name not in known and column.name != "class"
        }
    group = known.get("group")
    if group is not None:  # named after a path in the table; numbers are what formats can hold
        known["group"] = pc.index_in(group, value_set=pc.unique(group).drop_null().sort()).cast(pa.int64())
    missing = {column.name: pa.nulls(len(paths), pa.type_for_alias(column.type)) for column in SCHEMA}
    return pa.table({**missing, **known}).select([column.name for column in SCHEMA]).cast(arrow_schema(SCHEMA))


def _rows(dataset: Dataset, name: str, key: str, values: pa.Array) -> pa.Table:
    """Return the row of a table for each value of its key, of nulls where it has none; no columns without a table."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not dataset.path(name).exists():
        return pa.table({})
    table = read_table(dataset.path(name)).combine_chunks()
    return table.take(pc.index_in(values, value_set=table[key].combine_chunks()))


def _licensed(facts: pa.Table, licenses: str, left_out: dict[str, list[str]]) -> pa.Table:
    """Return the photos whose licence is asked for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if licenses == "any":
        return facts
    unknown = pc.is_null(facts["license"])
    accepted = pc.is_in(facts["license"], value_set=pa.array(accepted_licenses(licenses)))
    _leave_out(left_out, "no licence", facts.filter(unknown)["path"].to_pylist())
    _leave_out(left_out, "licence", facts.filter(pc.and_not(pc.invert(accepted), unknown))["path"].to_pylist())
    return facts.filter(accepted)


# -- what the files say -----------------------------------------------------------------------------------------


def _measured(dataset: Dataset, facts: pa.Table, left_out: dict[str, list[str]], progress: Progress) -> pa.Table:
    """Return the rows with size, hash and pixels of every file; what is no photo is left out.

    What `download` wrote down is believed where the size is right: each format looks at the bytes once more.
    """
    import pyarrow as pa

    names = ("bytes", "sha256", "width", "height")
    columns: dict[str, list[Any]] = {name: facts[name].to_pylist() for name in names}
    good: list[int] = []
    paths = facts["path"].to_pylist()
    for row, path in enumerate(paths):
        place = dataset.locate(path, None)
        if columns["sha256"][row] is not None:
            if place.stat().st_size != columns["bytes"][row]:
                raise changed_photo(place)
        else:
            try:
                found = check_photo(content := photo_bytes(place))
            except NotAPhoto:
                _leave_out(left_out, "no photo", [path])
                continue
            measured = (len(content), hashlib.sha256(content).hexdigest(), found.width, found.height)
            for name, value in zip(names, measured, strict=True):
                columns[name][row] = value
        good.append(row)
        if row % 100 == 0:
            progress(row, len(paths), "look at photos")
    progress(len(paths), len(paths), "look at photos")
    for name in names:
        facts = _with(facts, name, pa.array(columns[name], facts.schema.field(name).type))
    return facts.take(pa.array(good, pa.int64()))


# -- what follows from that -------------------------------------------------------------------------------------


def _records(dataset: Dataset, facts: pa.Table, options: ExportOptions) -> Records:
    import pyarrow as pa
    import pyarrow.compute as pc

    inside = [path.removeprefix(f"{dataset.images.name}/") for path in facts["path"].to_pylist()]
    names = [file.split("/")[0] for file in inside]
    classes = tuple(sorted(set(names)))
    label = {name: number for number, name in enumerate(classes)}
    facts = _with(facts, "file", pa.array(inside, pa.string()))
    facts = _with(facts, "class", pa.array(names, pa.string()))
    facts = _with(facts, "label", pa.array([label[name] for name in names], pa.int64()))
    facts = _with(facts, "license_url", pa.array(map(DEEDS.get, facts["license"].to_pylist()), pa.string()))
    for name, start, column in (
        ("photo_url", _PHOTO, "photo_id"),
        ("observation_url", _OBSERVATION, "observation_uuid"),
    ):
        facts = _with(facts, name, pc.binary_join_element_wise(start, facts[column].cast(pa.string()), ""))
    if not options.split:
        for name in ("split", "group"):
            facts = _with(facts, name, pa.nulls(len(facts), facts.schema.field(name).type))
    receipts = _receipts(dataset, options)
    selected = receipts.get("selection.parquet")
    catalogue = selected.options.get("catalogue") if selected else None
    name = options.name or (dataset.images.name if dataset.foreign else f"inaturalist-{len(classes)}-classes")
    order = [(name, "ascending") for name in ("split", "class", "photo_id", "path")]
    return Records(
        table=facts.sort_by(order).combine_chunks(),
        classes=classes,
        name=name,
        description=_description(facts, len(classes), selected is not None),
        created=_created(dataset),
        root=dataset.root,
        receipts=receipts,
        dump={"catalogue": str(catalogue)} if catalogue else {},
    )


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    where = table.column_names.index(name)
    return table.set_column(where, table.schema.field(where), values)


def _receipts(dataset: Dataset, options: ExportOptions) -> dict[str, Receipt]:
    """Return how each table came to be that the export is made from."""
    found = {
        name: read_receipt(dataset.path(name))
        for name in WRITTEN_BY
        if dataset.path(name).exists() and (options.split or name != "splits.parquet")
    }
    return {name: receipt for name, receipt in found.items() if receipt}


def _description(facts: pa.Table, classes: int, selected: bool) -> str:
    said = f"{len(facts):,} photos of {classes:,} {'class' if classes == 1 else 'classes'}"
    return f"{said} of the iNaturalist open data." if selected else f"{said}."


def _created(dataset: Dataset) -> str:
    """Return the day on which the last photo came; empty when nothing tells."""
    import pyarrow.compute as pc

    file = dataset.path("downloads.parquet")
    last = pc.max(read_table(file, ["fetched_at"])["fetched_at"]).as_py() if file.exists() else None
    return last.date().isoformat() if last else ""

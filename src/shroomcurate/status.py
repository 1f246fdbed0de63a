"""Where a dataset stands: which stage is current, what it lacks, and what to type next.

Reads: every table with its receipt, the newest run, the receipt inside ``report.html``, the names of the photos on
disk. Writes: nothing. Resumes: it is one look; look again.

A stage is *current* when every file it read still has the bytes that its receipt names. That needs no times, so a
dataset that was copied, unpacked or checked out is judged like the original.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroomcurate.dataset import WRITTEN_BY, Dataset, Receipt, file_hash, read_receipt, read_table
from shroomcurate.errors import DamagedFile
from shroomcurate.photos import NotAPhoto, check_photo
from shroomcurate.verdicts import digest, read_verdicts

if TYPE_CHECKING:
    import pyarrow as pa

#: Everything a stage can be, with its meaning.
STATES = {
    "current": "its files are there and were made from what is there now",
    "stale": "something it read has changed since",
    "unfinished": "it was broken off, or what lies on disk is not what its table says",
    "missing": "it has not run yet",
    "damaged": "a file of it cannot be read",
    "not needed": "the photos are somebody else's class folders, so nothing was selected or fetched",
}

#: What `query`, `download` and the rest made, as the beginning of a sentence.
_SUBJECTS = {
    "selection.parquet": "the selection is",
    "downloads.parquet": "the downloads are",
    "embeddings.parquet": "the embeddings are",
    "clean.parquet": "the cleaning is",
    "splits.parquet": "the split is",
}

# What is done so far, until the table is written: by `download`, and by `clean` while it embeds.
_JOURNAL, _EMBEDDING = ".downloads.journal", ".embeddings"


@dataclass(frozen=True)
class StageStatus:
    """One stage: its name as a command, its state (see :data:`STATES`), why, and how many of what."""

    stage: str
    state: str
    details: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DatasetStatus:
    """Where a dataset stands.

    Attributes
    ----------
    stages
        In pipeline order.
    shortages
        Class -> photos it lacks of the number that was asked for. After cleaning only kept photos count.
    next_command
        What to type next; None when every stage is current.
    """

    stages: tuple[StageStatus, ...]
    shortages: Mapping[str, int]
    next_command: str | None


def status(dataset: Dataset) -> DatasetStatus:
    """Say where a dataset stands, without changing it.

    Nothing is raised for what is missing, half done or damaged: that is the answer.
    """
    look = _Look(dataset)
    stages: list[StageStatus] = []
    for name, inspect in _INSPECT.items():
        try:
            found = inspect(look)
        except DamagedFile as damage:
            found = StageStatus(name, "damaged", (damage.what, damage.hint))
        stages.append(_after(found, stages))
    return DatasetStatus(tuple(stages), _shortages(look), _next_command(dataset, stages))


def _after(found: StageStatus, earlier: list[StageStatus]) -> StageStatus:
    """Call a stage stale whose inputs will be made anew, even if their bytes are still the ones it read."""
    remade = [stage.stage for stage in earlier if stage.state in {"stale", "damaged"}]
    if found.state != "current" or not remade:
        return found
    return StageStatus(found.stage, "stale", (f"{remade[0]} has to run again before it",), found.counts)


def _next_command(dataset: Dataset, stages: list[StageStatus]) -> str | None:
    todo = next((stage.stage for stage in stages if stage.state not in {"current", "not needed"}), None)
    if todo is None:
        return None
    return f"shroomcurate {todo} {dataset.option}"


class _Look:
    """What is read for one answer, each thing once."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._hashes: dict[str, str] = {}

    @cached_property
    def photos(self) -> dict[str, Path]:
        return self.dataset.photos()

    @cached_property
    def foreign(self) -> bool:
        """Whether the photos came from elsewhere: there are some, and nothing was ever selected or fetched."""
        ours = any(self.has(name) for name in ("selection.parquet", "downloads.parquet", _JOURNAL))
        return not ours and bool(self.photos)

    def place(self, path: str) -> Path:
        """Return where a photo lies, or would lie."""
        return self.photos.get(path, self.dataset.path(path))

    def has(self, name: str) -> bool:
        return self.dataset.path(name).exists()

    def columns(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        """Return the rows of some columns of a table."""
        table: pa.Table = read_table(self.dataset.path(name), list(columns))
        return list(zip(*(table[column].to_pylist() for column in columns), strict=True))

    def receipt(self, name: str) -> Receipt | None:
        try:
            return read_receipt(self.dataset.path(name))
        except (TypeError, ValueError) as error:
            raise DamagedFile(
                f"{self.dataset.path(name)}: its receipt cannot be read ({error}).",
                f"Type: shroomcurate {WRITTEN_BY[name]} --dataset {self.dataset.root}",
            ) from error

    def changes(self, inputs: Mapping[str, str]) -> list[str]:
        """Say which of a receipt's inputs are not what they were. An empty hash: it was not there then."""
        found = []
        for name, then in sorted(inputs.items()):
            subject = _SUBJECTS.get(name, f"{name} is")
            if then and not self.has(name):
                found.append(f"{subject} gone")
            elif self.has(name) and self._hash(name) != then:
                found.append(f"{subject} newer")
        return found

    def _hash(self, name: str) -> str:
        if name not in self._hashes:
            self._hashes[name] = file_hash(self.dataset.path(name))
        return self._hashes[name]


# -- one stage each --------------------------------------------------------------------------------------------


def _query(look: _Look) -> StageStatus:
    if not look.has("selection.parquet"):
        return StageStatus("query", "not needed" if look.foreign else "missing")
    rows = look.columns("selection.parquet", "class", "role")
    roles = Counter(role for _, role in rows)
    counts = {
        "classes": len({name for name, _ in rows}),
        "wanted": roles["wanted"],
        "reserve": roles["reserve"],
    }
    unfinished = [] if look.has("selection.csv") else ["selection.csv is not there"]
    return _judged("query", unfinished, _made_from(look, "selection.parquet"), counts)


def _download(look: _Look) -> StageStatus:
    broken_off = ["it was broken off; it goes on where it stopped"] if look.has(_JOURNAL) else []
    if not look.has("downloads.parquet"):
        if broken_off:
            return StageStatus("download", "unfinished", tuple(broken_off))
        return StageStatus("download", "not needed" if look.foreign else "missing")
    rows = look.columns("downloads.parquet", "class", "role", "status", "path")
    statuses = Counter(status for _, _, status, _ in rows)
    # A failed photo whose place the reserve has taken is no open end: the class has its number.
    short = Counter(name for name, role, _, _ in rows if role == "wanted")
    short.subtract(name for name, _, status, _ in rows if status == "ok")
    unfinished = broken_off
    for count, what in (
        (statuses["pending"], "photos not fetched yet"),
        (
            sum(status == "failed" and short[name] > 0 for name, _, status, _ in rows),
            "photos that failed and are missing",
        ),
        (
            sum(status == "ok" and path not in look.photos for *_, status, path in rows),
            "fetched photos that are not on disk",
        ),
    ):
        if count:
            unfinished.append(f"{what}: {count:,}")
    found = _judged("download", unfinished, _made_from(look, "downloads.parquet"), dict(sorted(statuses.items())))
    if found.state == "current" and (places := _fillable(look, rows, short)):
        fill = f"run it again: the reserve can fill {places:,} places that cleaning has left"
        return replace(found, details=(*found.details, fill))
    return found


def _fillable(look: _Look, rows: list[tuple[Any, ...]], short: Counter[str]) -> int:
    """Return how many photos of the reserve can stand in for those that are in ``removed/``.

    Parameters
    ----------
    short
        Class -> photos that did not come.
    """
    if not look.has("selection.parquet"):
        return 0
    left = Counter(name for (name,) in look.columns("selection.parquet", "class"))
    left.subtract(name for name, *_ in rows)
    removed = look.dataset.removed
    taken_out = Counter(
        name for name, _, status, path in rows if status == "ok" and removed in look.place(path).parents
    )
    return sum(max(0, min(short[name] + count, left[name])) for name, count in taken_out.items())


def _clean(look: _Look) -> StageStatus:
    if not look.has("clean.parquet"):
        if look.has("embeddings.parquet") or look.has(_EMBEDDING):
            return StageStatus("clean", "unfinished", ("photos are embedded, but not judged yet",))
        return StageStatus("clean", "missing")
    rows = look.columns("clean.parquet", "path", "kept", "reason")
    judged = {path: look.dataset.locate(path, None if kept else reason) for path, kept, reason in rows}
    unfinished = []
    new = [place for path, place in look.photos.items() if path not in judged]
    for count, what in (
        (len(new) if any(map(_decodes, new)) else 0, "photos on disk not judged yet"),
        (sum(path not in look.photos for path in judged), "judged photos that are not on disk"),
        (
            sum(look.photos.get(path, place) != place for path, place in judged.items()),
            "photos not where the table says",
        ),
    ):
        if count:
            unfinished.append(f"{what}: {count:,}")
    receipt = look.receipt("clean.parquet")
    stale = _made_from(look, "clean.parquet")
    if receipt and receipt.options.get("verdicts") != digest(read_verdicts(look.dataset)):
        stale.append("the verdicts in verdicts.csv are newer")
    reasons = Counter(str(reason) for _, kept, reason in rows if not kept)
    counts = {"kept": sum(kept for _, kept, _ in rows), "removed": reasons.total()}
    found = _judged("clean", unfinished, stale, counts)
    parts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(reasons.items()))
    return replace(found, details=(*found.details, f"of the removed: {parts}")) if parts else found


def _decodes(place: Path) -> bool:
    """Tell whether a photo can be judged at all: `clean` leaves those that do not decode alone."""
    try:
        check_photo(place.read_bytes())
    except (NotAPhoto, OSError):
        return False
    return True


def _train(look: _Look) -> StageStatus:
    from shroomcurate.runs import latest_run, read_metrics

    run = latest_run(look.dataset)
    broken_off = [f"{left.name} was broken off" for left in sorted(look.dataset.path("runs").glob("*.partial"))]
    if run is None:
        if look.has("splits.parquet"):
            broken_off.insert(0, "the photos are split, but nothing is trained yet")
        return StageStatus("train-baseline", "unfinished" if broken_off else "missing", tuple(broken_off))
    splits = (
        Counter(split for (split,) in look.columns("splits.parquet", "split")) if look.has("splits.parquet") else {}
    )
    stale = _made_from(look, "splits.parquet") if splits else ["the split is gone"]
    stale += look.changes(read_metrics(run).get("inputs", {}))
    return _judged("train-baseline", broken_off, sorted(set(stale)), dict(sorted(splits.items())))


def _report(look: _Look) -> StageStatus:
    from shroomcurate.runs import latest_run

    page = look.dataset.path("report.html")
    if not page.exists():
        return StageStatus("report", "missing")
    try:
        inputs = _receipt_of_page(page)
    except (OSError, ValueError) as error:
        raise DamagedFile(
            f"{page} cannot be read: {error}.", f"Type: shroomcurate report {look.dataset.option}"
        ) from error
    run = latest_run(look.dataset)
    stale = look.changes(inputs)
    stale += [f"{run.name} is not in it yet"] if run and f"runs/{run.name}/metrics.json" not in inputs else []
    return _judged("report", [], stale, {"bytes": page.stat().st_size})


def _receipt_of_page(page: Path) -> dict[str, str]:
    """Return the inputs that a report names in ``<meta name="shroomcurate-receipt">``."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            attributes = dict(attrs)
            if tag == "meta" and attributes.get("name") == "shroomcurate-receipt":
                found.append(attributes.get("content") or "")

    Reader().feed(page.read_text(encoding="utf-8")[:100_000])  # it stands in the head, before any photo
    if not found:
        raise ValueError("it holds no receipt")
    inputs: dict[str, str] = json.loads(found[0])["inputs"]
    return inputs


_INSPECT: dict[str, Callable[[_Look], StageStatus]] = {
    "query": _query,
    "download": _download,
    "clean": _clean,
    "train-baseline": _train,
    "report": _report,
}


def _judged(stage: str, unfinished: list[str], stale: list[str], counts: Mapping[str, int]) -> StageStatus:
    state = "unfinished" if unfinished else "stale" if stale else "current"
    return StageStatus(stage, state, tuple(unfinished + stale), counts)


def _made_from(look: _Look, name: str) -> list[str]:
    """Say what has changed since a table was made."""
    receipt = look.receipt(name)
    return look.changes(receipt.inputs) if receipt else []


# -- shortages -------------------------------------------------------------------------------------------------


def _shortages(look: _Look) -> dict[str, int]:
    """Class -> photos it lacks; empty when nothing says how many were wanted."""
    try:
        rows = look.columns("selection.parquet", "class", "role") if look.has("selection.parquet") else []
        receipt = look.receipt("selection.parquet") if rows else None
    except DamagedFile:
        return {}
    selected = Counter(name for name, role in rows if role == "wanted")
    asked = receipt.options.get("per_class") if receipt else None
    wanted = asked if isinstance(asked, int) else max(selected.values(), default=0)
    counted = _photos_per_class(look)
    have = selected if counted is None else counted  # counted and empty: everything is missing
    return {name: wanted - have[name] for name in sorted({name for name, _ in rows}) if have[name] < wanted}


def _photos_per_class(look: _Look) -> Counter[str] | None:
    """Count the photos of each class after the last stage whose table can be read."""
    for name, column, good in (("clean.parquet", "kept", True), ("downloads.parquet", "status", "ok")):
        if look.has(name):
            try:
                return Counter(each for each, value in look.columns(name, "class", column) if value == good)
            except DamagedFile:
                continue
    return None

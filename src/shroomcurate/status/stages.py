"""How each stage stands."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shroomcurate.catalogue.note import read_note
from shroomcurate.errors import DamagedFile
from shroomcurate.status.answer import StageStatus
from shroomcurate.status.look import JOURNAL, Look, count
from shroomcurate.verdicts import digest

if TYPE_CHECKING:
    import pyarrow as pa

# What `clean` has embedded so far, until it has all.
_EMBEDDING = ".embeddings"

#: A score this near to one half is a toss-up; a person's word settles it.
DOUBTFUL = 0.1


def query(look: Look) -> StageStatus:
    """Say how the selection stands."""
    if not look.has("selection.parquet"):
        return StageStatus("query", "not needed" if look.foreign else "missing")
    roles: Counter[str] = Counter()
    for (_, role), photos in look.selected.items():
        roles[role] += photos
    counts = {
        "classes": len({name for name, _ in look.selected}),
        "wanted": roles["wanted"],
        "reserve": roles["reserve"],
    }
    unfinished = [] if look.has("selection.csv") else ["selection.csv is not there"]
    return _judged("query", unfinished, look.made_from("selection.parquet"), counts)


# -- download --------------------------------------------------------------------------------------------------


def download(look: Look) -> StageStatus:
    """Say how the photos stand: those that are open, lost, or not what came."""
    at_it = (look.at_work or "").startswith("'shroomcurate download")
    going_on = "it is going on now" if at_it else "it was broken off; it goes on where it stopped"
    broken_off = [going_on] if look.has(JOURNAL) else []
    if not look.has("downloads.parquet"):
        if broken_off:
            return StageStatus("download", "unfinished", tuple(broken_off))
        return StageStatus("download", "not needed" if look.foreign else "missing")
    statuses = count(look.downloads, "status")
    if broken_off and (since := len(look.photos) + look.whole.lost - statuses.get("ok", 0)) > 0:
        broken_off.append(f"photos that have come since this table was written: {since:,}")
    unfinished = broken_off + _named(
        (statuses.get("pending", 0), "photos not fetched yet"),
        (_failed_and_missed(look), "photos that failed and are missing"),
        (look.whole.lost, "fetched photos that are not on disk"),
        (look.whole.other, "photos whose files are not as long as what came"),
    )
    counts = {str(status): photos for status, photos in sorted(statuses.items())}
    found = _judged("download", unfinished, look.made_from("downloads.parquet"), counts)
    if found.state == "current" and (places := fillable(look)):
        fill = f"the reserve can fill {places:,} {'place' if places == 1 else 'places'} that cleaning has left"
        found = replace(found, details=(*found.details, fill))
    if newer := _newer_catalogue(look):
        found = replace(found, details=(*found.details, newer))
    return found


def _failed_and_missed(look: Look) -> int:
    """Count failed photos of classes that lack some: where the reserve has taken its place, nothing is open."""
    short = _short(look.downloads)
    failed = count(look.downloads, "class", "status")
    return sum(photos for (name, status), photos in failed.items() if status == "failed" and short[name] > 0)


def _short(table: pa.Table) -> Counter[str]:
    """Return class -> photos that did not come, of those wanted."""
    short: Counter[str] = Counter()
    for (name, role, status), photos in count(table, "class", "role", "status").items():
        short[name] += photos * ((role == "wanted") - (status == "ok"))
    return short


def fillable(look: Look) -> int:
    """Return how many photos of the reserve can stand in for those that are in ``removed/``."""
    if not (look.has("selection.parquet") and look.has("downloads.parquet")):
        return 0
    left: Counter[str] = Counter()
    for (name, _), photos in look.selected.items():
        left[name] += photos
    left.subtract(count(look.downloads, "class"))
    short = _short(look.downloads)
    taken_out = look.whole.taken_out
    return sum(max(0, min(short[name] + photos, left[name])) for name, photos in taken_out.items())


def _newer_catalogue(look: Look) -> str | None:
    """Say that a catalogue was loaded after the photos came, and what that is good for."""
    note = read_note(os.environ.get("SHROOMCURATE_DATABASE_URL"))
    receipt = look.receipt("selection.parquet") if look.has("selection.parquet") else None
    then = receipt.options.get("catalogue") if receipt else None
    if note is None or note.from_api or then in (None, note.fingerprint):
        return None
    fetched = datetime.fromtimestamp(look.dataset.path("downloads.parquet").stat().st_mtime, UTC)
    if datetime.fromisoformat(note.loaded_at) < fetched:
        return None
    return "a newer dump is loaded: download --recheck takes out what was withdrawn"


# -- clean -----------------------------------------------------------------------------------------------------


def clean(look: Look) -> StageStatus:
    """Say how the judgement stands: photos it does not know, that are elsewhere, and verdicts it has not heard."""
    if not look.has("clean.parquet"):
        if look.has("embeddings.parquet") or look.has(_EMBEDDING):
            return StageStatus("clean", "unfinished", ("photos are embedded, but not judged yet",))
        return StageStatus("clean", "not needed" if look.only_of_a_lock else "missing")
    table = look.table("clean.parquet", "path", "kept", "reason", "decided_by")
    kept = count(table, "kept").get(True, 0)
    new, lost, elsewhere = _unlike_the_disk(look, table)
    unfinished = _named(
        (new, "photos on disk not judged yet"),
        (lost, "judged photos that are not on disk"),
        (elsewhere, "photos not where the table says"),
    )
    stale = look.made_from("clean.parquet")
    receipt = look.receipt("clean.parquet")
    if receipt and receipt.options.get("verdicts") != digest(look.verdicts):
        stale.append("the verdicts in verdicts.csv are newer")
    reasons = {str(reason): photos for reason, photos in count(table, "reason").items() if reason}
    counts = {"kept": kept, "removed": len(table) - kept}
    found = _judged("clean", unfinished, stale, counts)
    parts = ", ".join(f"{photos:,} {name.replace('_', ' ')}" for name, photos in sorted(reasons.items()))
    more = [*([f"of the removed: {parts}"] if parts else []), *_verdicts(look, table)]
    return replace(found, details=(*found.details, *more))


def _unlike_the_disk(look: Look, table: pa.Table) -> tuple[int, int, int]:
    """Count photos that are not judged yet, those judged that are gone, and those that lie elsewhere."""
    paths = table["path"].to_pylist()
    lost = elsewhere = 0
    for path, reason in zip(paths, table["reason"].to_pylist(), strict=True):
        if path not in look.photos:
            lost += 1
        elif look.photos[path] != reason:
            elsewhere += 1
    return len(look.not_judged), lost, elsewhere


def _verdicts(look: Look, table: pa.Table) -> list[str]:
    """Say how many photos have a verdict, and how many of these the table has not heard of."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not look.verdicts:
        return []
    of_a_person = table.filter(pc.is_in(table["path"], pa.array(list(look.verdicts), pa.string())))
    open_ends = sum(
        row["decided_by"] != "person" or row["reason"] != look.verdicts[row["path"]].reason
        for row in of_a_person.to_pylist()
    )
    return [f"verdicts.csv: {len(look.verdicts):,} photos" + (f", {open_ends:,} since this" if open_ends else "")]


def doubtful(look: Look) -> int:
    """Count photos about which the cleaner is in doubt, and nobody has given a verdict."""
    import pyarrow.compute as pc

    table = look.table("clean.parquet", "path", "score", "decided_by")
    near = pc.and_(
        pc.less(pc.abs(pc.subtract(table["score"], 0.5)), DOUBTFUL), pc.not_equal(table["decided_by"], "person")
    )
    return sum(path not in look.verdicts for path in table.filter(near)["path"].to_pylist())


# -- train-baseline and report ---------------------------------------------------------------------------------


def train(look: Look) -> StageStatus:
    """Say how the split and the newest run stand."""
    from shroomcurate.runs import latest_run, read_metrics, waiting_run

    run, left = latest_run(look.dataset), waiting_run(look.dataset)
    broken_off = [f"{left.name} was broken off, and goes on"] if left else []
    if run is None:
        if look.has("splits.parquet") and not look.only_of_a_lock:  # an export splits, too
            broken_off.insert(0, "the photos are split, but nothing is trained yet")
        not_yet = "not needed" if look.only_of_a_lock else "missing"
        return StageStatus("train-baseline", "unfinished" if broken_off else not_yet, tuple(broken_off))
    splits = look.counts("splits.parquet", "split") if look.has("splits.parquet") else {}
    stale = look.made_from("splits.parquet") if splits else ["the split is gone"]
    stale += look.changes(read_metrics(run).get("inputs", {}))
    counts = {str(name): photos for name, photos in sorted(splits.items())}
    return _judged("train-baseline", broken_off, sorted(set(stale)), counts)


def report(look: Look) -> StageStatus:
    """Say whether the page shows what is there now."""
    from shroomcurate.runs import latest_run

    page = look.dataset.path("report.html")
    if not page.exists():
        return StageStatus("report", "missing")
    try:
        inputs = look.receipt_of_page()["inputs"]
    except (OSError, ValueError) as error:
        raise DamagedFile(
            f"{page} cannot be read: {error}.", f"Type: shroomcurate report {look.dataset.option}"
        ) from error
    run = latest_run(look.dataset)
    stale = look.changes(inputs)
    stale += [f"{run.name} is not in it yet"] if run and f"runs/{run.name}/metrics.json" not in inputs else []
    return _judged("report", [], stale, {"bytes": page.stat().st_size})


#: Each stage's command, in pipeline order.
STAGES: dict[str, Callable[[Look], StageStatus]] = {
    "query": query,
    "download": download,
    "clean": clean,
    "train-baseline": train,
    "report": report,
}


def _judged(stage: str, unfinished: list[str], stale: list[str], counts: Mapping[str, int]) -> StageStatus:
    state = "unfinished" if unfinished else "stale" if stale else "current"
    return StageStatus(stage, state, tuple(unfinished + stale), counts)


def _named(*found: tuple[int, str]) -> list[str]:
    return [f"{what}: {photos:,}" for photos, what in found if photos]

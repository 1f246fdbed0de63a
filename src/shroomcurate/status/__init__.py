"""Where a dataset stands: which stage is current, what it lacks, and what to type next.

Reads: every table with its receipt, the newest run, the receipt inside ``report.html``, names and lengths of the
photos on disk. Writes: nothing. Resumes: it is one look; look again.

A stage is *current* when every file it read still has the bytes that its receipt names (:mod:`receipts`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from shroomcurate.catalogue.note import embedded_holds_tables, read_note
from shroomcurate.dataset import Dataset, asked_per_class
from shroomcurate.errors import DamagedFile
from shroomcurate.progress import Progress, silent
from shroomcurate.status.again import options_of
from shroomcurate.status.answer import DONE, STATES, DatasetStatus, StageStatus
from shroomcurate.status.look import Look
from shroomcurate.status.stages import STAGES, doubtful, fillable

__all__ = ["STATES", "DatasetStatus", "StageStatus", "status"]

#: Of the judged photos, so many in doubt are worth a look by eye.
_WORTH_A_LOOK = 0.01


def status(dataset: Dataset, progress: Progress = silent) -> DatasetStatus:
    """Say where a dataset stands, without changing it.

    Nothing is raised for what is missing, half done or damaged: that is the answer.

    Parameters
    ----------
    progress
        Called as ``progress(photos seen, photos expected, "look at the photos")``.
    """
    with Look(dataset, progress) as look:
        stages: list[StageStatus] = []
        for name, inspect in STAGES.items():
            try:
                found = inspect(look)
            except DamagedFile as damage:
                found = StageStatus(name, "damaged", (damage.what, damage.hint))
            stages.append(_after(found, stages))
        if look.at_work:
            step = _Step(None, f"{look.at_work} is at work here. Look again when it has ended.", {})
        else:
            step = _next_step(look, {stage.stage: stage for stage in stages})
        return DatasetStatus(tuple(stages), _shortages(look), step.command, step.because, step.also)


def _after(found: StageStatus, earlier: list[StageStatus]) -> StageStatus:
    """Call a stage stale whose inputs will be made anew, even if their bytes are still the ones it read."""
    remade = [stage.stage for stage in earlier if stage.state in {"stale", "damaged"}]
    if found.state != "current" or not remade:
        return found
    return StageStatus(found.stage, "stale", (f"{remade[0]} has to run again before it",), found.counts)


# -- what to type ----------------------------------------------------------------------------------------------


class _Step(NamedTuple):
    command: str | None
    because: str
    also: Mapping[str, str]


def _next_step(look: Look, stages: Mapping[str, StageStatus]) -> _Step:
    """Return what to type next. Every command that names the next one asks here.

    Places that cleaning has left come before the first training: a figure measured on too few photos would have to be
    measured again. Who has trained without them has chosen. Each round takes its photos from the reserve, so there is
    an end of it.
    """
    command = {
        name: f"shroomcurate {name} {look.dataset.option}{options_of(look, name)}" for name in (*stages, "review")
    }
    todo = [name for name, stage in stages.items() if stage.state not in DONE]
    if look.only_of_a_lock:
        command |= dict.fromkeys(("query", "download"), _of_the_lock(look.dataset.option))
    if "query" in todo and stages["query"].state == "missing" and not _catalogue_there():
        return _first_of_all()
    also = _by_eye(look, stages, command["review"])
    if look.only_of_a_lock and not todo:
        also = {command["clean"]: "to judge the photos here, as training needs; it may move some that the lock keeps"}
    before_training = {"query", "download", "clean"}.isdisjoint(todo)
    if places := fillable(look) if before_training else 0:
        what = "place" if places == 1 else "places"
        because = f"the reserve can fill {places:,} {what} that cleaning has left; then clean again"
        if stages["train-baseline"].state == "missing":
            return _Step(command["download"], because, {command[todo[0]]: "to go on without them", **also})
        also = {command["download"]: because, **also}
    damage = stages[todo[0]].details if todo and stages[todo[0]].state == "damaged" else ()
    because = f"but first mend what is damaged. {damage[1]}" if damage else ""  # or that command may stop at it, too
    return _Step(command[todo[0]] if todo else None, because, also)


def _of_the_lock(option: str) -> str:
    """Return what fetches a lock's photos. No table says where the lock lies, for it may be moved."""
    file = "" if Path("shroomcurate.lock").exists() else "FOLDER_OF_THE_LOCK/shroomcurate.toml "
    return f"shroomcurate build {file}--locked {option}"


def _catalogue_there() -> bool:
    """Tell whether a selection can be made; who names a database of his own will know what it holds."""
    return bool(os.environ.get("SHROOMCURATE_DATABASE_URL")) or read_note(None) is not None or embedded_holds_tables()


def _first_of_all() -> _Step:
    also = {
        "shroomcurate load-api --taxon NAME": "to begin with a few species, without the dump",
        "shroomcurate demo": "to see all of it on painted photos, without a network",
    }
    if Path("inaturalist-open-data").exists():
        return _Step("shroomcurate load-csvs", "there is no catalogue to select from yet", also)
    also = {"shroomcurate load-csvs FOLDER": "if you have the dump", **also}
    return _Step("shroomcurate fetch-dumps", "there is no catalogue yet; the dump that it is made from has 32 GB", also)


def _by_eye(look: Look, stages: Mapping[str, StageStatus], command: str) -> dict[str, str]:
    if stages["clean"].state != "current":
        return {}
    try:
        photos = doubtful(look)
    except DamagedFile:  # a table of another version, without scores
        return {}
    if not photos or photos < _WORTH_A_LOOK * sum(stages["clean"].counts.values()):
        return {}
    return {command: f"to judge by eye; the cleaner is in doubt about {photos:,} photos"}


# -- shortages -------------------------------------------------------------------------------------------------


def _shortages(look: Look) -> dict[str, int]:
    """Class -> photos it lacks; empty when nothing says how many were wanted."""
    try:
        selected = look.selected
        asked = asked_per_class(look.receipt("selection.parquet") if selected else None)
    except DamagedFile:
        return {}
    wanted_of = {name: photos for (name, role), photos in selected.items() if role == "wanted"}
    wanted = max(wanted_of.values(), default=0) if asked is None else asked
    counted = _photos_per_class(look)
    have = wanted_of if counted is None else counted  # counted and empty: everything is missing
    lacks = {name: wanted - have.get(name, 0) for name in sorted({name for name, _ in selected})}
    return {name: photos for name, photos in lacks.items() if photos > 0}


def _photos_per_class(look: Look) -> dict[str, int] | None:
    """Count the photos of each class after the last stage whose table can be read."""
    for name, column, good in (("clean.parquet", "kept", True), ("downloads.parquet", "status", "ok")):
        if look.has(name):
            try:
                found = look.counts(name, "class", column)
                since = look.not_judged if name == "clean.parquet" else []
            except DamagedFile:
                continue
            have = Counter({each: photos for (each, value), photos in found.items() if value == good})
            have.update(path.split("/")[1] for path in since if look.photos[path] is None)  # and no shortage yet
            return have
    return None

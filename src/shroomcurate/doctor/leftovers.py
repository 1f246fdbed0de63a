"""What earlier commands have left: processes that still run, folders in use, files half written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from shroomcurate.dataset import Dataset
from shroomcurate.doctor.answer import Check
from shroomcurate.doctor.processes import all_processes
from shroomcurate.home import home
from shroomcurate.locks import lock_holder
from shroomcurate.tree import PARTIAL


def leftovers(dataset: Dataset) -> Iterator[Check]:
    """Say which commands of this program run beside this one, and what killed ones have left behind."""
    yield from _running()
    yield from _lock(dataset)
    yield from _half_written(dataset)


def _running() -> Iterator[Check]:
    everybody = {each.pid: each for each in all_processes()}
    own: set[int] = set()
    pid: int | None = os.getpid()
    while pid in everybody and pid not in own:  # this command, and what has started it
        own.add(pid)
        pid = everybody[pid].parent
    ours = [each for each in everybody.values() if each.ours and each.pid not in own and each.state != "zombie"]
    ours = [each for each in ours if each.parent not in {other.pid for other in ours}]  # workers end with their chief
    if not ours:
        yield Check("processes", "ok", "no other command of shroomcurate runs")
    for each in ours:
        found = f"process {each.pid} of {each.owner}, since {each.age}: {each.command}"
        facts = {"pid": each.pid, "owner": each.owner, "seconds": round(each.seconds), "command": each.command}
        means = "Its terminal is gone." if each.orphan else ""
        state = "warning" if each.orphan else "ok"
        yield Check(
            "processes", state, found, means, (f"To end it, losing nothing that is finished: kill {each.pid}",), facts
        )


def _lock(dataset: Dataset) -> Iterator[Check]:
    """Say who works on the dataset. The lock of one who has died is no lock."""
    if holder := lock_holder(dataset.root):
        yield Check("dataset", "ok", f"{dataset.root} is in use by {holder}", "Others wait or are refused.")


def _half_written(dataset: Dataset) -> Iterator[Check]:
    """Count what killed commands were writing. Nothing reads it, and the next run of the command sweeps it away."""
    runs = dataset.path("runs")
    found = [each for folder in (dataset.root, runs) if folder.is_dir() for each in _partials(folder)]
    found += [
        each for each in home().glob("postgres.new-*") if not Path(f"/proc/{each.name.rpartition('-')[2]}").exists()
    ]
    if found:
        what = f"{len(found)} half written, such as {found[0]}"
        means = "A killed command left it; nothing reads it, and the same command sweeps it away."
        yield Check("leftovers", "ok", what, means, facts={"paths": [str(each) for each in found]})


def _partials(folder: Path) -> Iterator[Path]:
    return (each for each in folder.iterdir() if each.name.endswith(PARTIAL))

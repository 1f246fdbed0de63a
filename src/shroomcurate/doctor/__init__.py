"""What this machine has, what it lacks for the work ahead, and what to type about each.

Reads: the system's books (``/proc``, ``/sys/fs/cgroup``), ``nvidia-smi``, the catalogue. Writes: nothing, and asks
nothing of any network but the database that is named. Resumes: it is one look; look again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from shroomcurate.dataset import Dataset
from shroomcurate.doctor.answer import STATES, Check, Diagnosis
from shroomcurate.doctor.database import database
from shroomcurate.doctor.gpu import gpus
from shroomcurate.doctor.leftovers import leftovers
from shroomcurate.doctor.machine import cpus, descriptors, disks, memory, python, terminal
from shroomcurate.doctor.weights import weights

__all__ = ["STATES", "Check", "Diagnosis", "doctor"]


def doctor(dataset: Dataset, database_url: str | None = None) -> Diagnosis:
    """Look at the machine as the work on this dataset needs it.

    Nothing is raised for what is missing or broken: that is the answer.

    Parameters
    ----------
    dataset
        Where the photos shall lie; it need not exist.
    database_url
        As for `query`; None for the embedded server, which is started when there is one.
    """
    looks: dict[str, Callable[[], Iterable[Check]]] = {
        "Python": python,
        "disk": partial(disks, dataset),
        "memory": memory,
        "processors": cpus,
        "open files": descriptors,
        "terminal": terminal,
        "database": partial(database, database_url),
        "weights": weights,
        "GPU": gpus,
        "processes": partial(leftovers, dataset),
    }
    # A database that does not answer and a driver that hangs are waited for at the same time.
    with ThreadPoolExecutor(len(looks)) as threads:
        found = [threads.submit(_tried, name, look) for name, look in looks.items()]
        return Diagnosis(tuple(check for each in found for check in each.result()))


def _tried(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    try:
        return list(look())
    except Exception as error:  # noqa: BLE001 - on a strange machine the other answers are worth more than a traceback
        return [Check(name, "warning", f"could not be looked at: {type(error).__name__}: {error}")]

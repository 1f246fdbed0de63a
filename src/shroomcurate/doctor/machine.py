"""Python, disk, memory, processors, open files, terminal."""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from shroomcurate.dataset import Dataset
from shroomcurate.doctor.answer import Check
from shroomcurate.doctor.limits import cpu_limit, memory_limit
from shroomcurate.home import home
from shroomcurate.progress import Bytes

#: Bytes of a photo of medium size: the mean of 2,700.
_A_PHOTO = 40_000
#: Less than this, and hardly a step can be taken; less than that, and a dataset of usual size will not fit.
_NO_ROOM, _LITTLE_ROOM = 500_000_000, 5_000_000_000
#: The embedded server's data and what is taken apart for a moment need less.
_LITTLE_ELSEWHERE = 2_000_000_000

#: What every stage can do with, whatever the size of the dump and of the dataset.
_ENOUGH_MEMORY = 2 << 30
_TOO_LITTLE_MEMORY = 1 << 30

_FEW_FILES = 1024

#: The large libraries: the usual package of each -> the module that it brings.
_LIBRARIES = {
    "tensorflow": "tensorflow",
    "pyarrow": "pyarrow",
    "scikit-learn": "sklearn",
    "ai-edge-litert": "ai_edge_litert",
}


def python() -> Iterator[Check]:
    """Say which Python runs, and whether the large libraries are made for it and for this processor."""
    missing = [name for name in _LIBRARIES if not _version(name)]
    place = f"{platform.python_version()}, {sys.prefix}"
    inside = sys.prefix != sys.base_prefix
    facts = {"version": platform.python_version(), "prefix": sys.prefix, "virtual_environment": inside}
    yield Check("Python", "ok", place + ("" if inside else " (no virtual environment)"), facts=facts)
    if missing:
        todo = f"{shlex.quote(sys.executable)} -m pip install {' '.join(missing)}"
        yield Check("libraries", "problem", f"not installed: {', '.join(missing)}", todo=(todo,))
    elif _without_avx():
        means = "TensorFlow's packages need a processor with AVX: training a network would end the program."
        yield Check(
            "libraries", "warning", "this processor has no AVX", means, ("shroomcurate train-baseline --mode probe",)
        )
    else:
        yield Check("libraries", "ok", f"TensorFlow {_version('tensorflow')}, PyArrow {_version('pyarrow')}")


def _version(name: str) -> str | None:
    """Return the version of a library, also where another package than the usual one brings it, as tensorflow-cpu does.

    Nothing is imported. None where there is no such module; a folder without code, such as pip leaves behind, is none.
    """
    module = importlib.util.find_spec(_LIBRARIES[name])
    if module is None or module.origin is None:
        return None
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        others = metadata.packages_distributions().get(_LIBRARIES[name])
        return metadata.version(others[0]) if others else "of unknown version"


def _without_avx() -> bool:
    """Tell whether the processor is one of Intel's kind without AVX, which TensorFlow's own packages are built for."""
    try:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return platform.machine() == "x86_64" and "flags" in known and " avx " not in known


# -- disk ------------------------------------------------------------------------------------------------------


def disks(dataset: Dataset) -> Iterator[Check]:
    """Say how much room there is where the dataset, the catalogue and what is unpacked for a moment lie."""
    elsewhere = "Set SHROOMCURATE_HOME to a folder on another disk."
    yield _disk("dataset", dataset.root, _LITTLE_ROOM, "Give --dataset a folder on another disk.")
    yield _disk("home", home(), _LITTLE_ELSEWHERE, elsewhere)
    yield _disk("temporary files", Path(tempfile.gettempdir()), _LITTLE_ELSEWHERE, "Set TMPDIR to another folder.")


def _disk(name: str, folder: Path, little: int, instead: str) -> Check:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    room, nodes = shutil.disk_usage(there), os.statvfs(there)
    facts = {
        "folder": str(folder),
        "free_bytes": room.free,
        "total_bytes": room.total,
        "free_files": nodes.f_favail if nodes.f_files else None,
        "writable": os.access(there, os.W_OK | os.X_OK),
    }
    found = f"{Bytes(room.free)} free of {Bytes(room.total)} in {folder}"
    name = f"disk: {name}"
    if not facts["writable"]:
        return Check(name, "problem", f"{there} may not be written to", todo=(instead,), facts=facts)
    if nodes.f_files and nodes.f_favail < 10_000:
        means = "Each photo is a file, and this disk has room for few more of them, whatever their size."
        return Check(name, "problem", f"{nodes.f_favail:,} files can be made in {folder}", means, (instead,), facts)
    if room.free < _NO_ROOM:
        todo = (f"du -xh {shlex.quote(str(there))} | sort -h | tail", instead)
        return Check(name, "problem", found, "That is too little to begin.", todo, facts)
    means = (
        f"Room for about {room.free // _A_PHOTO // 1000 * 1000:,} photos of medium size." if "dataset" in name else ""
    )
    if room.free < little:
        return Check(name, "warning", found, means or "A load or a large dataset can fill it.", (instead,), facts)
    return Check(name, "ok", found, means, facts=facts)


# -- memory, processors, open files, terminal ----------------------------------------------------------------------


def memory() -> Iterator[Check]:
    """Say how much memory there is, for a container as much as it may have."""
    import psutil

    of_machine, group = psutil.virtual_memory(), memory_limit()
    limited = group is not None and group.limit < of_machine.total
    total = group.limit if group and limited else of_machine.total
    left = min(group.left, of_machine.available) if group and limited else of_machine.available
    facts = {"total_bytes": total, "available_bytes": left, "limited_by_control_group": limited}
    found = f"{Bytes(left)} free of {Bytes(total)}" + (" that this container may have" if limited else "")
    more = "docker run --memory 4g …" if limited else "End other programs: ps aux --sort=-rss | head"
    if left < _TOO_LITTLE_MEMORY:
        yield Check("memory", "problem", found, "The system may end a stage in the middle.", (more,), facts)
    elif left < _ENOUGH_MEMORY:
        yield Check(
            "memory", "warning", found, "Every stage can do with 2.1 GB, a large dataset not with less.", (more,), facts
        )
    else:
        yield Check("memory", "ok", found, facts=facts)


def cpus() -> Iterator[Check]:
    """Say how many processors may be used, which is what decides how long `clean` and `load-csvs` take."""
    there = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    quota = cpu_limit()
    usable = min(allowed, quota or allowed)
    facts = {"processors": there, "allowed": allowed, "quota": quota}
    found = f"{there}" + (f", of which {usable:g} may be used" if usable < there else "")
    if usable < 1:
        means = "This container gets less than one processor's time: everything takes longer."
        yield Check("processors", "warning", found, means, ("docker run --cpus 2 …",), facts)
    else:
        yield Check("processors", "ok", found, facts=facts)


def descriptors() -> Iterator[Check]:
    """Say how many files may be open at a time: photos in flight, connections, the parts of a dump."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    facts = {"soft": soft, "hard": hard}
    found = "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,}"
    if soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
        most = _FEW_FILES * 4 if hard == resource.RLIM_INFINITY else min(_FEW_FILES * 4, hard)
        yield Check("open files", "warning", found, "A download may need more.", (f"ulimit -n {most}",), facts)
    else:
        yield Check("open files", "ok", found, facts=facts)


def terminal() -> Iterator[Check]:
    """Say whether every name can be shown."""
    encoding = (getattr(sys.__stdout__, "encoding", None) or "none").lower()  # sys.stdout is the progress bar's
    facts = {"encoding": encoding, "columns": shutil.get_terminal_size().columns}
    if encoding.replace("-", "") != "utf8":
        means = "Letters that it lacks are spelt out."
        yield Check("terminal", "warning", encoding, means, ("export LC_ALL=C.UTF-8",), facts)
    else:
        yield Check("terminal", "ok", f"UTF-8, {facts['columns']} columns", facts=facts)

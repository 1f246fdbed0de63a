"""What a container may use: the limits of its control group, version 2 or 1.

https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/admin-guide/cgroup-v1/memory.html. A group's
limit holds for all below it, so the tightest one on the way up counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: Version 1 writes 'no limit' as the largest number of pages that it can count.
_NO_LIMIT = 1 << 60

GROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


class MemoryLimit(NamedTuple):
    """Bytes that a group may have, and those of them that are left: files it has read count as left."""

    limit: int
    left: int


def memory_limit() -> MemoryLimit | None:
    """Return the tightest limit of memory; None where there is none."""
    found = []
    for folder in _folders("memory"):
        for limit, used, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and most < _NO_LIMIT:
                reclaimable = _line(folder / "memory.stat", cache)
                found.append(MemoryLimit(most, max(0, most - max(0, (now or 0) - reclaimable))))
    return min(found, default=None)


def cpu_limit() -> float | None:
    """Return how many processors' time may be used; None where all of it may."""
    found = []
    for folder in _folders("cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period):
            found.append(int(quota) / int(period))
    return min(found, default=None)


def _folders(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's groups, each with those above it."""
    for line in _text(OWN).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0":  # version 2, alone or beside version 1
            tops = [GROUPS, GROUPS / "unified"]
        elif controller in controllers.split(","):
            tops = [GROUPS / controllers, GROUPS / controller]
        else:
            continue
        for top in tops:
            own = top / group.strip("/")
            for folder in (own, *own.parents):
                if folder.is_relative_to(top):
                    yield folder


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdecimal() else None  # 'max': none


def _line(file: Path, name: str) -> int:
    for line in _text(file).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdecimal():
            return int(value)
    return 0

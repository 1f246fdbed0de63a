"""What is known of a process: whose it is, how old, whether it still lives, and how it can be ended."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shroomcurate.catalogue.address import without_password


@dataclass(frozen=True)
class Process:
    """A process as far as this user may see it."""

    pid: int
    owner: str
    command: str
    """At most 200 characters."""
    seconds: float
    """Since it began."""
    state: str
    """As the system says it: running, sleeping, disk-sleep, zombie, …"""
    parent: int | None
    orphan: bool
    """Whether what had started it is gone, and its terminal too."""

    @property
    def age(self) -> str:
        """How long it has run, as a person says it."""
        for unit, seconds in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
            if self.seconds >= 2 * seconds:
                return f"{self.seconds / seconds:.0f} {unit}"
        return f"{self.seconds:.0f} seconds"

    @property
    def ours(self) -> bool:
        """Whether it is a command of this program."""
        return (
            is_ours(shlex.split(self.command)) if self.command.count("'") % 2 == 0 else "shroomcurate" in self.command
        )


def is_ours(words: list[str]) -> bool:
    """Tell whether a command line is one of this program, or of a process that it has started."""
    names = [Path(word).name for word in words[:3]]
    return "shroomcurate" in names or any(
        "from shroomcurate" in word or "import shroomcurate" in word for word in words
    )


def process(pid: int) -> Process | None:
    """Return what is known of a process; None where there is none of this number."""
    import psutil

    try:
        found = psutil.Process(pid)
        with found.oneshot():
            state, parent = found.status(), found.ppid()
            words, owner = [], "another user"
            with suppress(psutil.AccessDenied, psutil.ZombieProcess):
                words = found.cmdline()
            with suppress(psutil.AccessDenied, KeyError):
                owner = found.username()
            terminal = None
            with suppress(psutil.AccessDenied, psutil.ZombieProcess):
                terminal = found.terminal()
            # A database's password shall not get into an answer that somebody passes on.
            command = shlex.join(without_password(each) if "://" in each else each for each in words) or found.name()
            age = max(0.0, time.time() - found.create_time())
            return Process(pid, owner, command[:200], age, state, parent, terminal is None and _adopts(parent))
    except psutil.Error:
        return None


def _adopts(pid: int) -> bool:
    """Tell whether a process takes in those whose parents are gone: the first one, or the session's systemd."""
    import psutil

    with suppress(psutil.Error):
        return pid == 1 or psutil.Process(pid).name() == "systemd"
    return False


def all_processes() -> Iterator[Process]:
    """Yield every process that this user may see."""
    import psutil

    for pid in psutil.pids():
        if found := process(pid):
            yield found


def holds_open(pid: int, beginning: str) -> bool | None:
    """Tell whether a process has a file open whose path begins so; None where this user may not know."""
    folder = Path(f"/proc/{pid}/fd")
    try:
        handles = list(folder.iterdir())
    except OSError:
        return None
    for handle in handles:
        with suppress(OSError):
            if str(handle.readlink()).startswith(beginning):
                return True
    return False

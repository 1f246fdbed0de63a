"""What `status` answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Everything a stage can be, with its meaning.
STATES = {
    "current": "its files are there and were made from what is there now",
    "stale": "something it read has changed since",
    "unfinished": "it was broken off, or what lies on disk is not what its table says",
    "missing": "it has not run yet",
    "damaged": "a file of it cannot be read",
    "not needed": "the photos are somebody else's class folders, never selected or fetched; or those of a lock, whose "
    "maker has judged them",
}

#: The states after which nothing of a stage is left to do.
DONE = frozenset({"current", "not needed"})


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
        What to type next; None when there is nothing left to do, or while another command is at work.
    because
        Why that, where its name alone does not say it; or which command is at work.
    also
        Other commands that serve at this point -> what for.
    """

    stages: tuple[StageStatus, ...]
    shortages: Mapping[str, int]
    next_command: str | None
    because: str = ""
    also: Mapping[str, str] = field(default_factory=dict)

"""What `doctor` answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Everything a check can end with, with its meaning.
STATES = {
    "ok": "as it should be",
    "warning": "the work can begin, and may suffer from this",
    "problem": "the work, or a part of it, cannot be done before this is mended",
}


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes
    ----------
    name
        What was looked at.
    state
        See :data:`STATES`.
    found
        What there is.
    means
        What follows from it, where that is not plain.
    todo
        What to do or type about it, first things first.
    facts
        The same for programs: numbers in bytes, seconds and counts.
    """

    name: str
    state: str
    found: str
    means: str = ""
    todo: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnosis:
    """All checks, in the order in which they are shown."""

    checks: tuple[Check, ...]

    @property
    def problems(self) -> int:
        """How many checks ended with a problem."""
        return sum(check.state == "problem" for check in self.checks)

    @property
    def warnings(self) -> int:
        """How many checks ended with a warning."""
        return sum(check.state == "warning" for check in self.checks)

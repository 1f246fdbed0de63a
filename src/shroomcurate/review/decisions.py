"""What the people at the page decide: into ``verdicts.csv`` before it is answered, and out of it when taken back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from shroomcurate.dataset import Dataset
from shroomcurate.errors import BadOption, NothingMatches
from shroomcurate.review.gallery import Gallery, verdict_code
from shroomcurate.tree import REASONS
from shroomcurate.verdicts import FILE, Verdict, append_verdicts, read_verdicts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The note of verdicts that the page wrote.
NOTE = "review"


@dataclass(frozen=True)
class Step:
    """What a tab decided at one time."""

    number: int
    before: Mapping[str, tuple[Verdict | None, int | None]]
    """Path -> the verdict that it had, None for none, and the number of the step that had given it."""


class Decisions:
    """The verdicts on a dataset's photos, as they stand in the file.

    Not for several threads at a time. Other processes may write verdicts too: :meth:`refresh` reads them, before each
    step.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.given = 0
        self._steps: dict[str, list[Step]] = defaultdict(list)
        self._step_of: dict[str, int] = {}
        self._numbers = count()
        self._stamp: tuple[int, int, int] | None = None
        self.verdicts: dict[str, Verdict] = {}
        self.refresh()

    def refresh(self) -> set[str]:
        """Read the file if somebody else has written to it; return the paths whose verdict is another one now.

        Raises
        ------
        DamagedFile
            A line is not a verdict.
        """
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return set()
        before, self.verdicts = self.verdicts, read_verdicts(self.dataset)
        self._stamp = stamp
        paths = before.keys() | self.verdicts.keys()
        changed = {path for path in paths if before.get(path) != self.verdicts.get(path)}
        for path in changed:
            self._step_of.pop(path, None)
        return changed

    def _stamp_now(self) -> tuple[int, int, int]:
        """Return size, time and number of the file: an editor may replace it by one of the same size."""
        try:
            facts = self.dataset.path(FILE).stat()
        except FileNotFoundError:
            return 0, 0, 0
        return facts.st_size, facts.st_mtime_ns, facts.st_ino

    def decide(self, paths: Sequence[str], verdict: Mapping[str, Verdict | None], tab: str) -> None:
        """Write a verdict on each of these photos, durably; None takes one back.

        Parameters
        ----------
        tab
            Whose step it is, for :meth:`undo`.

        Raises
        ------
        DiskFull
            No room; no verdict is given.
        """
        if not verdict:
            return
        step = Step(next(self._numbers), {path: (self.verdicts.get(path), self._step_of.get(path)) for path in paths})
        self._write(verdict)
        self._step_of |= dict.fromkeys(paths, step.number)
        self._steps[tab].append(step)
        self.given += len(paths)

    def undo(self, tab: str) -> tuple[list[str], int]:
        """Take back the last step of a tab, where nobody has decided anew since.

        Returns
        -------
        tuple
            Paths whose verdict is as before that step, and how many have another one by now and keep it.

        Raises
        ------
        NothingMatches
            This tab has nothing to take back.
        """
        if not self._steps[tab]:
            raise NothingMatches(
                "There is nothing to take back.", "Verdicts given before can be changed or taken away."
            )
        step = self._steps[tab][-1]
        mine = {path: known for path, known in step.before.items() if self._step_of.get(path) == step.number}
        self._write({path: verdict for path, (verdict, _) in mine.items()})
        for path, (_, number) in mine.items():
            if number is None:
                del self._step_of[path]
            else:
                self._step_of[path] = number
        self._steps[tab].pop()
        return list(mine), len(step.before) - len(mine)

    def left(self, tab: str) -> int:
        """Return how many steps of a tab can be taken back."""
        return len(self._steps[tab])

    def _write(self, verdicts: Mapping[str, Verdict | None]) -> None:
        if not verdicts:
            return
        known = self._stamp
        before, after = append_verdicts(self.dataset, verdicts, NOTE)
        for path, verdict in verdicts.items():
            if verdict is None:
                self.verdicts.pop(path, None)
            else:
                self.verdicts[path] = verdict
        self._stamp = self._stamp_now()
        if known is None or known[0] != before or self._stamp[0] != after:
            self._stamp = None  # somebody wrote since the last look: read it again


def meant(gallery: Gallery, numbers: Sequence[int], word: str, reason: str | None) -> dict[str, Verdict | None]:
    """Return path -> the verdict that is meant.

    A removal without a reason has the one for which `clean` took the photo out, or else it is an outlier.

    Raises
    ------
    BadOption
        The word or the reason is unknown.
    """
    if reason is not None and reason not in REASONS:
        raise BadOption(f"There is no reason {reason!r}.", f"Choose one of: {', '.join(REASONS)}")
    if word not in ("keep", "remove", "none"):
        raise BadOption(f"There is no verdict {word!r}.", "Choose one of: keep, remove, none")
    if word == "none":
        return {gallery.paths[number]: None for number in numbers}
    if word == "keep":
        return {gallery.paths[number]: Verdict(keep=True, reason=None) for number in numbers}
    names = list(REASONS)
    found: dict[str, Verdict | None] = {}
    for number in numbers:
        judged = int(gallery.reason[number])
        found[gallery.paths[number]] = Verdict(False, reason or (names[judged - 1] if judged > 0 else "outlier"))
    return found


def waiting(gallery: Gallery, codes: NDArray[np.int8]) -> int:
    """Return how many verdicts the last cleaning did not know, or went by and are taken back."""
    return int((codes != gallery.applied).sum())


def codes_of(decisions: Decisions, gallery: Gallery, paths: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return number and verdict code of the photos among these paths that the gallery has."""
    there = [path for path in paths if path in gallery.number]
    return [gallery.number[path] for path in there], [verdict_code(decisions.verdicts.get(path)) for path in there]

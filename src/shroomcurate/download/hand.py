"""A process that judges photos and puts the whole ones in place, beside the one that fetches them.

Threads would do, but for Python's lock: whoever decodes and writes takes it ten times a photo, and every time the event
loop waits. A photo on which the decoder crashes costs this process, not the run.

Reads batches from its standard input and answers each on its standard output; ends with its input.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shroomcurate.dataset import Dataset
from shroomcurate.download.journal import Journal
from shroomcurate.download.manifest import Photo, Record
from shroomcurate.download.places import Unplaced, home, judged, sweep_partials
from shroomcurate.errors import DiskFull
from shroomcurate.processes import Helper, answer_all, own_command

COMMAND = own_command("shroomcurate.download.hand")
PATIENCE = 120.0  # seconds for a batch: a decoder that never ends is ended

#: How the photos ended; what a full disk says and what to do; or what else went wrong that is not the photos' fault.
Answer = list[Record] | tuple[str, str] | Exception


class Job(NamedTuple):
    """A photo to be judged."""

    photo: Photo
    content: bytes | None
    """What came; None: what lies on disk already."""
    came: Record
    """How it came: the answer's status, the requests made, the time."""
    place: str | None
    """Where it lies, or lay."""


class Hand(Helper):
    """The process, seen from the one that started it."""

    def __init__(self, root: Path, size: str) -> None:
        super().__init__([*COMMAND, str(root), size])
        self.dataset = Dataset(root)

    def settle(self, jobs: Sequence[Job]) -> list[Record | DiskFull]:
        """Return how each photo ended; the whole ones are in place, but for those that found no room.

        Raises
        ------
        Exception
            What the process met that is no photo's fault, such as a folder that may not be written to.
        """
        answer = self._ask(jobs)
        if answer is None and len(jobs) == 1:  # its end may have had another cause, such as too little memory
            answer = self._ask(jobs)
        if isinstance(answer, list):
            return [*answer]
        if isinstance(answer, Exception):
            raise answer
        if len(jobs) > 1:
            return [end for job in jobs for end in self.settle([job])]
        if answer is None:
            return [jobs[0].came._replace(status="corrupt", error=f"it ends the decoder ({self.ended})")]
        return [DiskFull(*answer)]

    def _ask(self, jobs: Sequence[Job]) -> Answer | None:
        """Return what the process answers; None when that was its end, and another one has been started."""
        asked = self.process.pid
        answer: Answer | None = self.ask(jobs, PATIENCE)
        if answer is None:
            sweep_partials(self.dataset, asked)
        return answer


def settle(dataset: Dataset, journal: Journal, jobs: Sequence[Job]) -> list[Record]:
    """Judge the photos; write the whole ones, journal them, put them in place: a kill may come anywhere."""
    records = []
    with Unplaced(dataset) as unplaced:
        for job in jobs:
            content = _lying_at(dataset.root / str(job.place)) if job.content is None else job.content
            record = judged(job.photo, content, job.came)
            if record.status == "ok" and job.content is not None:
                unplaced.write(home(job.photo, record, job.place), content)
            records.append(record)
        journal.append(*(record for record in records if record.status == "ok"))
        unplaced.put_in_place()
    return records


def _lying_at(place: Path) -> bytes:
    """Return what is in a file; of one that cannot be read nothing, which is no photo."""
    try:
        return place.read_bytes()
    except OSError:
        return b""


def main() -> None:
    """Settle batches until there are no more."""
    dataset = Dataset(sys.argv[1])
    journal = Journal(dataset, sys.argv[2])

    def answer(jobs: list[Job]) -> Answer:
        try:
            return settle(dataset, journal, jobs)
        except DiskFull as error:
            return error.what, error.hint

    answer_all(answer)

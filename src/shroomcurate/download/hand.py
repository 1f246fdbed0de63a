"""A process that judges photos and puts the whole ones in place, beside the one that fetches them.

Threads would do, but for Python's lock: whoever decodes and writes takes it ten times a photo, and every time the event
loop waits. A photo on which the decoder crashes costs this process, not the run.

Reads batches from its standard input and answers each on its standard output; ends with its input. The photos
themselves come behind the pickled rest of their batch, so that nobody copies them only to pack them.
"""

from __future__ import annotations

import contextlib
import gc
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from shroomcurate.dataset import Dataset
from shroomcurate.download.journal import Journal
from shroomcurate.download.manifest import Photo, Record
from shroomcurate.download.places import Unplaced, home, judged, sweep_partials
from shroomcurate.errors import DiskFull
from shroomcurate.photos import NotAPhoto, photo_bytes
from shroomcurate.processes import answer_all, own_command, own_environment

if TYPE_CHECKING:
    import asyncio

COMMAND = own_command("shroomcurate.download.hand")
PATIENCE = 120.0  # seconds for a batch: a decoder that never ends is ended
_END_PATIENCE = 5.0  # seconds until a process that was killed is gone: one may hang in a disk that does
_LENGTH = 8  # bytes that tell how long an answer is

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


class Hand:
    """The process, seen from the event loop that started it."""

    process: subprocess.Popen[bytes]
    asked: asyncio.WriteTransport
    answers: asyncio.ReadTransport
    told: asyncio.StreamReader

    def __init__(self, root: Path, size: str) -> None:
        self.arguments = [*COMMAND, str(root), size]
        self.dataset = Dataset(root)
        self.running = False
        self.ended = 0

    async def start(self) -> None:
        """Start it, or start it again. Raises OSError."""
        import asyncio

        self.process = subprocess.Popen(  # noqa: S603 (our own module)
            self.arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pipesize=2**20,  # a whole batch, where the system grants it
            start_new_session=True,  # away from the terminal's ^C: it ends when its input does
            env=own_environment(),
        )
        loop, self.told = asyncio.get_running_loop(), asyncio.StreamReader()
        self.asked, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, self.process.stdin)
        heard = asyncio.StreamReaderProtocol(self.told)
        self.answers, _ = await loop.connect_read_pipe(lambda: heard, self.process.stdout)
        self.running = True

    async def settle(self, jobs: Sequence[Job]) -> list[Record | DiskFull]:
        """Return how each photo ended; the whole ones are in place, but for those that found no room.

        Raises
        ------
        Exception
            What the process met that is no photo's fault, such as a folder that may not be written to.
        """
        answer = await self._ask(jobs)
        if answer is None and len(jobs) == 1:  # its end may have had another cause, such as too little memory
            answer = await self._ask(jobs)
        if isinstance(answer, list):
            return [*answer]
        if isinstance(answer, Exception):
            raise answer
        if len(jobs) > 1:
            return [end for job in jobs for end in await self.settle([job])]
        if answer is None:
            return [jobs[0].came._replace(status="corrupt", error=f"it ends the decoder ({self.ended})")]
        return [DiskFull(*answer)]

    async def _ask(self, jobs: Sequence[Job]) -> Answer | None:
        """Return what the process answers; None when that was its end."""
        import asyncio

        if not self.running:
            await self.start()
        try:
            async with asyncio.timeout(PATIENCE):
                for part in packed(jobs):
                    if self.asked.is_closing():  # it is gone; of what is written all the same one would be warned
                        break
                    self.asked.write(part)
                length = int.from_bytes(await self.told.readexactly(_LENGTH))
                answer: Answer = pickle.loads(await self.told.readexactly(length))  # noqa: S301 (our own process)
        except (EOFError, OSError, pickle.UnpicklingError):  # also when it took too long
            self.ended = self.dismiss()
            sweep_partials(self.dataset, self.process.pid)
            return None
        return answer

    def dismiss(self) -> int:
        """End it at once; return how it ended."""
        if not self.running:
            return 0
        self.running = False
        self.process.kill()
        if not self.asked.is_closing():  # else Python 3.11 stumbles over it
            self.asked.abort()
        self.answers.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_PATIENCE)
        return self.process.returncode or 0


def packed(jobs: Sequence[Job]) -> list[bytes]:
    """Return a batch in the parts that are sent: all but the photos, with their lengths, then those as they came."""
    rest = [(job._replace(content=None), None if job.content is None else len(job.content)) for job in jobs]
    return [pickle.dumps(rest), *(job.content for job in jobs if job.content)]


def unpacked(asked: BinaryIO) -> list[Job]:
    """Return a batch that was packed. Raises EOFError or UnpicklingError when it does not come, or not all of it."""
    rest: list[tuple[Job, int | None]] = pickle.load(asked)  # noqa: S301 (whoever started this process says it)
    return [job if length is None else job._replace(content=_exactly(asked, length)) for job, length in rest]


def _exactly(asked: BinaryIO, length: int) -> bytes:
    content = asked.read(length)
    if len(content) < length:
        raise EOFError
    return content


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
    """Return what is in a file; of one that cannot be read, or is no photo, nothing, which is no photo."""
    try:
        return photo_bytes(place)
    except (NotAPhoto, OSError):
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

    gc.freeze()
    answer_all(answer, unpacked, _tell)


def _tell(answer: object, told: BinaryIO) -> None:
    """Say how long an answer is, then the answer: whoever reads it must not wait for more than there is."""
    pickled = pickle.dumps(answer)
    told.write(len(pickled).to_bytes(_LENGTH) + pickled)

"""What came, verified and written in threads of its own, so that no transfer waits for it.

Photos are taken in batches, as many as have come meanwhile: threads that hand each photo over on its own spend more
time waiting for Python's lock than decoding, and a disk forces many files down in little more time than one.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from shroomcurate.dataset import Dataset
from shroomcurate.download.journal import Journal
from shroomcurate.download.known import Known
from shroomcurate.download.manifest import Photo, Record
from shroomcurate.download.places import Unplaced, home, judged

if TYPE_CHECKING:
    import asyncio

_BATCH = 16  # photos: what a full disk costs at most, besides those on their way


class _Job(NamedTuple):
    photo: Photo
    content: bytes | None
    """None: what lies on disk already."""
    came: Record
    """How it came: the answer's status, the requests made, the time."""
    settled: asyncio.Future[Record]


class Store:
    """Judges photos and puts the whole ones in their places. Use it in an event loop, as a context.

    Attributes
    ----------
    folders
        Where photos were put, relative to the dataset.
    """

    def __init__(self, dataset: Dataset, journal: Journal, known: Known) -> None:
        self.dataset = dataset
        self.journal = journal
        self.known = known
        self.folders: set[str] = set()
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.threads = [
            threading.Thread(target=self._toil, name="photo", daemon=True)
            for _ in range(min(8, max(2, os.cpu_count() or 2)))
        ]

    def __enter__(self) -> Store:
        import asyncio

        self.loop = asyncio.get_running_loop()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Finish the photos at hand; those that still wait are dropped."""
        with contextlib.suppress(Empty):
            while True:
                self.jobs.get_nowait()
        for _ in self.threads:
            self.jobs.put(None)
        for thread in self.threads:
            thread.join()

    async def keep(self, photo: Photo, content: bytes | None, came: Record) -> Record:
        """Return the record of a photo that came or, without its content, that lay there; a whole one is in place.

        Raises
        ------
        DiskFull
            No room.
        """
        job = _Job(photo, content, came, self.loop.create_future())
        self.jobs.put(job)
        return await job.settled

    def _toil(self) -> None:
        while (job := self.jobs.get()) is not None:
            batch = [job]
            with contextlib.suppress(Empty):
                while len(batch) < _BATCH:
                    if (job := self.jobs.get_nowait()) is None:
                        self.jobs.put(None)  # for another thread, and again for this one
                        break
                    batch.append(job)
            ends: Sequence[Record | BaseException]
            try:
                ends = self._settle(batch)
            except BaseException as error:  # noqa: BLE001  # raised again where the photos are waited for
                ends = [error] * len(batch)
            with contextlib.suppress(RuntimeError):  # the loop was ended meanwhile
                self.loop.call_soon_threadsafe(_tell, batch, ends)

    def _settle(self, batch: Sequence[_Job]) -> list[Record]:
        """Judge the photos; make the whole ones durable, journal them, put them in place: a kill may come anywhere."""
        records, kept = [], []
        with Unplaced(self.dataset) as unplaced:
            for job in batch:
                place = self.known.places.get(job.photo.photo_id)
                content = (self.dataset.root / str(place)).read_bytes() if job.content is None else job.content
                record = judged(job.photo, content, job.came)
                if record.status == "ok":
                    kept.append(record)
                    if job.content is not None:
                        place = home(job.photo, record, place)
                        unplaced.write(place, content)
                        self.known.places[job.photo.photo_id] = place
                        self.folders.add(place.rpartition("/")[0])
                records.append(record)
            unplaced.force_down()
            if kept:
                self.journal.append(*kept)
            unplaced.put_in_place()
        self.known.records.update((record.photo_id, record) for record in kept)
        return records


def _tell(batch: Sequence[_Job], ends: Sequence[Record | BaseException]) -> None:
    for job, end in zip(batch, ends, strict=True):
        if job.settled.cancelled():
            continue
        if isinstance(end, BaseException):
            job.settled.set_exception(end)
        else:
            job.settled.set_result(end)

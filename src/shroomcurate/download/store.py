"""What came, handed over to processes that judge and write it, so that no transfer waits for that.

Photos go in batches, as many as have come meanwhile: a handing over costs much the same for one as for sixteen.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shroomcurate.dataset import Dataset
from shroomcurate.download.hand import Hand, Job
from shroomcurate.download.known import Known
from shroomcurate.download.manifest import Photo, Record
from shroomcurate.download.places import home

if TYPE_CHECKING:
    import asyncio

_BATCH = 16  # photos: what a full disk costs at most, besides those on their way
_LAST_WAIT = 10.0  # seconds for what was handed over when a run ends: a disk that hangs shall not hold a ^C
_HANDS = 4  # processes at most: one event loop brings no more than they can judge; one of them waits for the disk


class Store:
    """Judges photos and puts the whole ones in their places. Use it as an asynchronous context."""

    jobs: asyncio.Queue[tuple[Job, asyncio.Future[Record]] | None]

    def __init__(self, dataset: Dataset, size: str, known: Known) -> None:
        self.dataset = dataset
        self.size = size
        self.known = known
        self.at_hand = 0  # photos that came and are not judged yet

    async def __aenter__(self) -> Store:
        import asyncio

        self.jobs = asyncio.Queue()
        self.toil = [asyncio.create_task(self._toil()) for _ in range(min(_HANDS, 1 + (os.cpu_count() or 1)))]
        return self

    async def __aexit__(self, *error: object) -> None:
        """Finish what has been handed over: a second's work, and what came shall not come again."""
        import asyncio

        for _ in self.toil:
            self.jobs.put_nowait(None)
        _, late = await asyncio.wait(self.toil, timeout=_LAST_WAIT)
        for each in late:
            each.cancel()
        await asyncio.gather(*self.toil, return_exceptions=True)

    async def keep(self, photo: Photo, content: bytes | None, came: Record) -> Record:
        """Return the record of a photo that came or, without its content, that lay there; a whole one is in place.

        Raises
        ------
        DiskFull
            No room.
        """
        import asyncio

        settled: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self.jobs.put_nowait((Job(photo, content, came, self.known.places.get(photo.photo_id)), settled))
        self.at_hand += 1
        try:
            return await settled
        finally:
            self.at_hand -= 1

    async def _toil(self) -> None:
        """Hand batches over to one process, until there are no more."""
        hand = Hand(self.dataset.root, self.size)
        try:
            with contextlib.suppress(OSError):  # tried again, and told, where a photo waits for it
                await hand.start()
            while (job := await self.jobs.get()) is not None:
                batch = [job]
                while len(batch) < _BATCH and not self.jobs.empty():
                    if (job := self.jobs.get_nowait()) is None:
                        self.jobs.put_nowait(None)  # for another one, and again for this one
                        break
                    batch.append(job)
                ends: Sequence[Record | Exception]
                try:
                    ends = await hand.settle([job for job, _ in batch])
                    for (settled, _), end in zip(batch, ends, strict=True):
                        self._note(settled, end)
                except Exception as error:  # noqa: BLE001  # raised again where the photos are waited for
                    ends = [error] * len(batch)
                _tell([settled for _, settled in batch], ends)
        finally:
            hand.dismiss()

    def _note(self, job: Job, end: Record | Exception) -> None:
        """Know a whole photo from now on, also when nobody waits for it any more."""
        if isinstance(end, Exception) or end.status != "ok":
            return
        photo_id = job.photo.photo_id
        self.known.records[photo_id] = end
        if job.content is not None:
            self.known.places[photo_id] = home(job.photo, end, job.place)
            self.known.brought.add(photo_id)


def _tell(waiting: Sequence[asyncio.Future[Record]], ends: Sequence[Record | Exception]) -> None:
    for settled, end in zip(waiting, ends, strict=True):
        if settled.cancelled():
            continue
        if isinstance(end, Exception):
            settled.set_exception(end)
        else:
            settled.set_result(end)

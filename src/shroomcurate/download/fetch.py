"""Fetching: what the crew does with each photo when it shall come into its class folder."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from shroomcurate.dataset import Dataset
from shroomcurate.download.crew import Crew
from shroomcurate.download.journal import Journal
from shroomcurate.download.known import Known
from shroomcurate.download.manifest import HOLES, Photo, Ranks, Record
from shroomcurate.download.options import DownloadOptions
from shroomcurate.download.places import home, judged, write_photo
from shroomcurate.download.server import Server
from shroomcurate.progress import Bytes, Noted, Progress
from shroomcurate.transport import Answer

T = TypeVar("T")


class Fetch:
    """One run: brings what the classes lack, and counts."""

    crew: Crew

    def __init__(self, dataset: Dataset, options: DownloadOptions, progress: Progress, known: Known) -> None:
        self.dataset = dataset
        self.options = options
        self.progress = progress
        self.known = known
        self.classes = {ranks.photos[0].class_name: ranks for ranks in known.classes}
        recorded = {photo_id for photo_id, record in known.earlier.items() if record.status == "ok"}
        self.strangers = known.places.keys() - recorded  # files without a record: decoded rather than fetched
        self.journal = Journal(dataset, options.size)
        self.server = Server(options)
        self.written: set[str] = set()
        self.ends: Counter[str] = Counter()
        self.asked = self.settled = self.fetched = self.bytes = 0
        self.shown_at = -math.inf

    async def run(self) -> None:
        """Settle every photo that the classes ask for; raise what ends the run early."""
        import asyncio

        self.loop = asyncio.get_running_loop()
        self.threads = ThreadPoolExecutor(8, "photo")  # for decoding, and for fsync, which waits rather than computes
        self.crew = Crew(self.server, self, islice(self.known.whole(), 3))
        for ranks in self.classes.values():
            self.ask(ranks)
        self.show(always=True)
        try:
            if not self.crew.queue.empty():
                async with self.server:
                    await self.crew.run()
        finally:
            self.threads.shutdown(cancel_futures=True)
        self.show(always=True)

    def ask(self, ranks: Ranks) -> None:
        """Queue the photos of a class that are due."""
        for photo, record in ranks.ask(self.known.records, self.known.taken_out):
            self.asked += 1
            if record is None:
                self.crew.add(photo)
            else:
                self.settled += 1

    async def settle(self, photo: Photo) -> Record:
        """Return how a photo ends: found on disk, or asked for."""
        if photo.photo_id in self.strangers and (found := await self.in_thread(self.adopt, photo)):
            return found
        if not photo.extension:
            return Record(photo.photo_id, "failed", error="the selection does not name its file end")
        url, attempts, corrupt = self.server.address(photo.photo_id, photo.extension), 0, False
        while True:
            answer, made = await self.server.ask(url, self.options.attempts - attempts)
            attempts += made
            if answer.kind != "ok":
                return _unwhole(photo, answer, attempts)
            record = await self.in_thread(self.store, photo, answer, attempts)
            if record.status == "ok" or corrupt or attempts == self.options.attempts:
                return record
            corrupt = True  # a transfer may corrupt a photo, twice it does not
            await self.server.pause(attempts)

    async def in_thread(self, act: Callable[..., T], *arguments: Any) -> T:
        """Decode, hash and write off the event loop, so that no other transfer waits."""
        return await self.loop.run_in_executor(self.threads, act, *arguments)

    def adopt(self, photo: Photo) -> Record | None:
        """Verify a file that no record knows; None when it is no whole photo."""
        record = judged(photo, (self.dataset.root / self.known.places[photo.photo_id]).read_bytes())
        if record.status != "ok":
            return None
        self.journal.append(record)
        self.known.records[photo.photo_id] = record
        return record

    def store(self, photo: Photo, answer: Answer, attempts: int) -> Record:
        """Verify what came and, if it is a whole photo, journal it and write it."""
        record = judged(photo, answer.body)
        record = record._replace(http_status=answer.http_status, attempts=attempts, fetched_at=_now())
        if record.status == "ok":
            place = home(photo, record, self.known.places.get(photo.photo_id))
            self.journal.append(record)
            write_photo(self.dataset, place, answer.body)
            self.written.add(place.rpartition("/")[0])
            self.known.places[photo.photo_id] = place
            self.known.records[photo.photo_id] = record
        return record

    def hole(self, photo: Photo) -> None:
        """Let the class ask for one more."""
        ranks = self.classes[photo.class_name]
        ranks.holes += 1
        self.ask(ranks)

    def done(self, photo: Photo, record: Record) -> None:
        """Take note of a settled photo."""
        self.settled += 1
        self.ends[record.status] += 1
        if record.status == "ok":
            self.fetched += record.attempts > 0
            self.bytes += (record.bytes or 0) * (record.attempts > 0)
            if photo.photo_id in self.known.taken_out:  # its file was damaged, and was fetched again
                self.hole(photo)
        else:
            self.known.records[photo.photo_id] = record
            self.journal.append(record)
        self.show()

    def show(self, always: bool = False) -> None:
        """Report progress, ten times a second at most."""
        now = time.monotonic()
        if always or now - self.shown_at > 0.1:
            self.shown_at = now
            holes = [f"{self.ends[name]:,} {name}" for name in sorted(HOLES) if self.ends[name]]
            self.progress(self.settled, Noted(self.asked, ", ".join([str(Bytes(self.bytes)), *holes])), "download")


def _unwhole(photo: Photo, answer: Answer, attempts: int) -> Record:
    """Return the record of a photo of which nothing whole came."""
    status = {"gone": "gone", "corrupt": "corrupt", "unreachable": "pending"}.get(answer.kind, "failed")
    answered_at = _now() if answer.http_status else None
    return Record(
        photo.photo_id, status, answer.http_status, attempts=attempts, fetched_at=answered_at, error=answer.error
    )


def _now() -> int:
    """Return the milliseconds since 1970; whole seconds are exact enough."""
    return int(time.time()) * 1000

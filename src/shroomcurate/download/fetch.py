"""Fetching: what the crew does with each photo when it shall come into its class folder."""

from __future__ import annotations

import math
import time
from collections import Counter

from shroomcurate.dataset import Dataset
from shroomcurate.download.crew import Crew, End
from shroomcurate.download.journal import Journal
from shroomcurate.download.known import Known
from shroomcurate.download.manifest import HOLES, Photo, Ranks, Record
from shroomcurate.download.options import DownloadOptions
from shroomcurate.download.server import Server
from shroomcurate.download.store import Store
from shroomcurate.progress import Bytes, Noted, Progress
from shroomcurate.ray_cluster import Cluster
from shroomcurate.transport import Answer


class Fetch:
    """One run: brings what the classes lack, and counts."""

    crew: Crew

    def __init__(
        self,
        dataset: Dataset,
        options: DownloadOptions,
        progress: Progress,
        known: Known,
        cluster: Cluster | None = None,
    ) -> None:
        self.dataset = dataset
        self.options = options
        self.progress = progress
        self.known = known
        self.classes = {ranks.photos[0].class_name: ranks for ranks in known.classes}
        self.strangers = known.strangers()
        self.journal = Journal(dataset, options.size)
        self.server = Server(options, cluster)
        self.store = Store(dataset, options.size, known)
        self.ends: Counter[str] = Counter()
        self.asked = self.settled = self.bytes = 0
        self.shown_at = -math.inf

    async def run(self) -> None:
        """Settle every photo that the classes ask for; raise what ends the run early."""
        self.crew = Crew(self.server, self, self.known.came_before())
        for ranks in self.classes.values():
            self.ask(ranks)
        self.show(always=True)
        if not self.crew.queue.empty():
            async with self.store, self.server:
                await self.crew.run()
        self.show(always=True)

    def ask(self, ranks: Ranks) -> None:
        """Queue the photos of a class that are due."""
        for photo, record in ranks.ask(self.known.records, self.known.taken_out):
            self.asked += 1
            if record is None:
                self.crew.add(photo)
            else:
                self.settled += 1

    async def settle(self, photo: Photo) -> End:
        """Return how a photo ends: found on disk, or asked for."""
        if photo.photo_id in self.strangers:
            found = await self.store.keep(photo, None, Record(photo.photo_id, "ok"))
            if found.status == "ok":
                return End(found)
        if not photo.extension:
            return End(Record(photo.photo_id, "failed", error="the selection does not name its file end"))
        url, attempts, corrupt = self.server.address(photo.photo_id, photo.extension), 0, False
        while True:
            answer, made = await self.server.ask(url, self.options.attempts - attempts)
            attempts += made
            if answer.kind != "ok":
                return End(_unwhole(photo, answer, attempts), answer.number)
            came = Record(photo.photo_id, "ok", answer.http_status, attempts=attempts, fetched_at=_now())
            record = await self.store.keep(photo, answer.body, came)
            if record.status == "ok" or corrupt or attempts == self.options.attempts:
                return End(record, answer.number)
            corrupt = True  # a transfer may corrupt a photo, twice it does not
            await self.server.pause(attempts)

    def expects(self) -> bool:
        """Tell whether photos came that are not judged yet."""
        return self.store.at_hand > 0

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
            waits = [] if self.crew.steady.is_set() else ["waiting for the server"]
            note = ", ".join([str(Bytes(self.bytes)), *holes, *waits])
            self.progress(self.settled, Noted(self.asked, note), "download")


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

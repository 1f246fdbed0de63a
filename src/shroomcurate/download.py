"""Fetch the selected photos into class folders, and fill every hole from the reserve.

Reads: ``selection.parquet``. Writes: ``images/<Class>/<photo_id>.<ext>``, ``downloads.parquet``. Resumes: from
``downloads.parquet`` and the journal of a run that was cut short; a photo is done when its file is there.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from shroomcurate import transport
from shroomcurate.dataset import Dataset, Receipt, file_hash, make_table, write_bytes, write_table
from shroomcurate.errors import BadOption, NetworkDown
from shroomcurate.manifest import (
    HOLES,
    JOURNAL,
    SCHEMA,
    Journal,
    Photo,
    Ranks,
    Record,
    as_row,
    beyond,
    home,
    judged,
    list_files,
    manifest,
    places_of,
    read_records,
    read_selection,
    refuse_other_size,
    sweep_partials,
    tidy,
    trusted,
)
from shroomcurate.progress import Progress, silent
from shroomcurate.transport import Answer, Line

if TYPE_CHECKING:
    import asyncio

    import httpx

T = TypeVar("T")
SIZES = ("original", "large", "medium", "small", "thumb", "square")


@dataclass(frozen=True)
class DownloadOptions:
    """How to fetch. Raises BadOption."""

    base_url: str = "https://inaturalist-open-data.s3.amazonaws.com"
    """Where ``photos/<photo_id>/<size>.<ext>`` lies: iNaturalist's bucket, or a mirror of it."""
    size: str = "medium"
    """500 pixels on the longer side: twice what MobileNet sees, 1/16 of the pixels of ``original``."""
    concurrency: int = 32
    """Requests at a time, at most: at 100 ms each, 300 photos a second; far below S3's limit of 5,500."""
    attempts: int = 4
    """Requests per photo: with the pauses between them they outlast a hiccup, not an outage."""
    connect_timeout: float = 10.0
    """Seconds until a connection stands."""
    read_timeout: float = 20.0
    """Seconds without one byte."""
    photo_timeout: float = 120.0
    """Seconds for one request from start to end: ends servers that drip."""
    backoff: float = 0.5
    """Seconds before the second request; doubles with each further one, with jitter, up to a minute."""
    retry_gone: bool = False
    """Ask again for photos that an earlier run found gone or corrupt, such as after a wrong ``base_url``."""

    def __post_init__(self) -> None:
        if self.base_url != DownloadOptions.base_url and not transport.is_web_address(self.base_url):
            raise BadOption(f"--base-url {self.base_url!r} is no web address.", "It looks like https://host/folder")
        if self.size not in SIZES:
            raise BadOption(f"--size {self.size!r} does not exist.", f"It is one of {', '.join(SIZES)}.")
        for name, most in (("concurrency", 256), ("attempts", 20)):
            if not 1 <= getattr(self, name) <= most:
                raise BadOption(f"--{name} {getattr(self, name)} is out of range.", f"It lies in 1..{most}.")
        for name in ("connect_timeout", "read_timeout", "photo_timeout", "backoff"):
            if not 0 < getattr(self, name) < math.inf:
                value = f"{name.replace('_', '-')} {getattr(self, name)}"
                raise BadOption(f"--{value} is out of range.", "It is seconds, more than 0.")


@dataclass(frozen=True)
class DownloadSummary:
    """What a download did and where the dataset stands."""

    classes: int
    statuses: dict[str, int]
    """Status -> photos asked for, all runs together."""
    fetched: int
    """Photos that this run brought from the server."""
    already_there: int
    """Photos that this run found whole on disk."""
    from_reserve: int
    """Photos that fill a hole."""
    requests: int
    """Requests that this run made."""
    unselected: int
    """Files that this run moved to ``unselected/``, because the manifest does not have them."""
    bytes: int
    """Of all photos that are ok."""
    shortages: dict[str, int]
    """Class -> photos it lacks after its reserve was used up; only classes that lack some."""
    seconds: float


def download(
    dataset: Dataset, options: DownloadOptions = DownloadOptions(), progress: Progress = silent
) -> DownloadSummary:
    """Fetch the selected photos; fill every hole from the reserve.

    Parameters
    ----------
    dataset
        Where ``query`` has run.
    options
        How to fetch.
    progress
        Called as ``progress(photos settled, photos asked for, "download")``, not always from the caller's thread.

    Raises
    ------
    StageMissing, DamagedFile
        No selection, or one that cannot be read.
    BadOption
        The dataset holds photos of another size.
    NetworkDown
        No connection, or not one of the first 50 photos came. What is finished is kept; the rest is pending.
    DiskFull
        What is finished is kept.
    KeyboardInterrupt
        ^C. Within two seconds, workers stop; what is finished is kept, the rest is pending.
    """
    started = time.monotonic()
    selection = dataset.require("selection.parquet")
    with dataset.lock("download"):
        classes = read_selection(selection)
        refuse_other_size(dataset, options.size)
        sweep_partials(dataset)
        receipt = Receipt("download", {"size": options.size}, {selection.name: file_hash(selection)})
        run = _Run(dataset, options, progress, classes)
        try:
            transport.run_to_end(run.fetch_all())
        except (KeyboardInterrupt, NetworkDown):
            for photo, _ in run.doubted:
                del run.records[photo.photo_id]
            rows = manifest(classes, run.records)
            run.journal.append(*beyond(rows, run.earlier | run.records))
            _write(dataset, rows, receipt)
            raise
        finally:
            run.journal.close()
        rows = manifest(classes, run.records)
        unselected = tidy(dataset, rows, run.files, run.places)
        _write(dataset, rows, receipt)
        dataset.path(JOURNAL).unlink(missing_ok=True)
    return _summary(classes, rows, run, unselected, time.monotonic() - started)


class _Run:
    """One run: the queue, its workers, and what they have learnt."""

    client: httpx.AsyncClient

    def __init__(self, dataset: Dataset, options: DownloadOptions, progress: Progress, classes: list[Ranks]) -> None:
        self.dataset = dataset
        self.options = options
        self.progress = progress
        self.classes = {ranks.photos[0].class_name: ranks for ranks in classes}
        self.files = list_files(dataset)
        self.places = places_of(self.files)
        self.earlier = read_records(dataset)
        self.records = trusted(self.earlier, self.places, set() if options.retry_gone else {"gone", "corrupt"})
        known = {photo_id for photo_id, record in self.earlier.items() if record.status == "ok"}
        self.strangers = self.places.keys() - known  # files without a record: decoded rather than fetched
        self.journal = Journal(dataset, options.size)
        self.threads = ThreadPoolExecutor(8, "photo")  # for decoding, and for fsync, which waits rather than computes
        self.line = Line(options.concurrency)
        self.workers: list[asyncio.Task[None]] = []
        self.working = 0
        self.put_aside: list[Photo] = []
        self.doubted: list[tuple[Photo, Record]] = []  # holes before the first photo came: it may be the address
        self.last_error: str | None = None
        self.asked = self.settled = self.fetched = self.requests = 0
        self.shown_at = -math.inf

    async def fetch_all(self) -> None:
        """Settle every photo that the classes ask for; raise what ends the run early."""
        import asyncio

        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[Photo] = asyncio.Queue()
        for ranks in self.classes.values():
            self.ask(ranks)
        self.show(always=True)
        if self.queue.empty():
            return
        limits = self.options.concurrency, self.options.connect_timeout, self.options.read_timeout
        try:
            async with (
                transport.open_client(self.options.base_url, *limits) as self.client,
                asyncio.TaskGroup() as group,
            ):
                self.start_workers(group)
                await self.queue.join()
                while self.put_aside and not self.line.is_silent(time.monotonic()):
                    await transport.sleep(self.options.backoff)
                    self.ask_again()
                    await self.queue.join()
                for worker in self.workers:
                    worker.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # several workers can meet the same full disk
        finally:
            self.threads.shutdown(cancel_futures=True)
        self.show(always=True)
        if self.put_aside:
            raise self.network_down()
        if len(self.doubted) >= transport.FEW and not self.places:
            raise self.nothing_there()

    def ask(self, ranks: Ranks) -> None:
        """Queue the photos of a class that are due."""
        for photo, record in ranks.ask(self.records):
            self.asked += 1
            if record is None:
                self.queue.put_nowait(photo)
            else:
                self.settled += 1

    def start_workers(self, group: asyncio.TaskGroup) -> None:
        """Start as many as the line bears by now; those that are too many end by themselves."""
        while self.working < int(self.line.allowed):
            self.working += 1
            self.workers.append(group.create_task(self.work(group)))

    async def work(self, group: asyncio.TaskGroup) -> None:
        """Settle photos until there are too many workers for the line."""
        while self.working <= int(self.line.allowed):
            photo = await self.queue.get()
            record = await self.settle(photo)
            if record is not None:
                self.count(photo, record)
            else:
                self.put_aside.append(photo)
                if self.line.is_dead(len(self.put_aside), time.monotonic()):
                    raise self.network_down()
            self.queue.task_done()
            self.start_workers(group)
        self.working -= 1

    async def settle(self, photo: Photo) -> Record | None:
        """Return how a photo ends: found on disk, or asked for. None when no connection stood: it stays open."""
        if photo.photo_id in self.strangers and (found := await self.in_thread(self.adopt, photo)):
            return found
        if not photo.extension:
            return Record(photo.photo_id, "failed", error="the selection does not name its file end")
        url = transport.photo_url(self.options.base_url, photo.photo_id, self.options.size, photo.extension)
        record, connected = Record(photo.photo_id, "failed"), False
        for attempt in range(1, self.options.attempts + 1):
            answer = await transport.request(self.client, url, self.options.photo_timeout)
            self.hear(answer)
            connected |= answer.kind != "unreachable"
            corrupt_before = record.status == "corrupt"
            status = answer.kind if answer.kind in HOLES else "failed"
            record = Record(photo.photo_id, status, answer.http_status, attempts=attempt, error=answer.error)
            if answer.kind == "ok":
                record = await self.in_thread(self.store, photo, answer, attempt)
                if record.status == "ok" or corrupt_before:  # a transfer may corrupt a photo, twice it does not
                    return record
            elif answer.kind == "redirect":
                url = answer.target or url
            elif answer.kind not in {"retry", "unreachable"}:
                return record
            if attempt < self.options.attempts and answer.kind != "redirect":
                wish, jitter = answer.retry_after, random.random()  # noqa: S311 (spreads requests, guards nothing)
                await transport.sleep(transport.pause_before(attempt + 1, self.options.backoff, wish, jitter))
        return record if connected else None

    def hear(self, answer: Answer) -> None:
        """Let the line learn from an answer; photos put aside while it was down are due again."""
        self.requests += 1
        self.line.hear(answer, time.monotonic())
        if answer.kind == "unreachable":
            self.last_error = answer.error
            return
        self.ask_again()

    def ask_again(self) -> None:
        """Queue the photos that were put aside."""
        for photo in self.put_aside:
            self.queue.put_nowait(photo)
        self.put_aside.clear()

    async def in_thread(self, act: Callable[..., T], *arguments: Any) -> T:
        """Decode, hash and write off the event loop, so that no other transfer waits."""
        return await self.loop.run_in_executor(self.threads, act, *arguments)

    def adopt(self, photo: Photo) -> Record | None:
        """Verify a file that no record knows; None when it is no whole photo."""
        content = self.places[photo.photo_id].read_bytes()
        record = judged(photo, content)
        if record.status != "ok":
            return None
        self.journal.append(record)
        self.records[photo.photo_id] = record
        return record

    def store(self, photo: Photo, answer: Answer, attempt: int) -> Record:
        """Verify what came and, if it is a whole photo, journal it, write it, move it in place."""
        record = judged(photo, answer.body)._replace(http_status=answer.http_status, attempts=attempt)
        if record.status == "ok":
            target = home(self.dataset, photo, record, self.places.get(photo.photo_id))
            self.journal.append(record)
            write_bytes(target, answer.body)
            self.places[photo.photo_id] = target
            self.records[photo.photo_id] = record
        return record

    def count(self, photo: Photo, record: Record) -> None:
        """Take note of a settled photo; a hole makes the class ask for one more."""
        self.settled += 1
        if record.status == "ok":
            self.fetched += record.attempts > 0
            if self.fetched and self.doubted:
                self.journal.append(*(hole for _, hole in self.doubted))
                self.doubted.clear()
        else:
            self.records[photo.photo_id] = record
            known = self.earlier.get(photo.photo_id)
            if self.fetched or (known and known.status == record.status):  # no news is no reason for doubt
                self.journal.append(record)
            else:
                self.doubted.append((photo, record))
                if len(self.doubted) >= transport.ENOUGH:
                    raise self.nothing_there()
            self.classes[photo.class_name].holes += 1
            self.ask(self.classes[photo.class_name])
        self.show()

    def show(self, always: bool = False) -> None:
        """Report progress, ten times a second at most."""
        now = time.monotonic()
        if always or now - self.shown_at > 0.1:
            self.shown_at = now
            self.progress(self.settled, self.asked, "download")

    def network_down(self) -> NetworkDown:
        """Return what to raise when the line is dead."""
        return transport.unreachable(self.options.base_url, self.last_error, self.requests)

    def nothing_there(self) -> NetworkDown:
        """Return what to raise when photos are asked for and not one comes."""
        photo = self.doubted[0][0]
        url = transport.photo_url(self.options.base_url, photo.photo_id, self.options.size, photo.extension)
        return transport.nothing_there(url, [str(record.error) for _, record in self.doubted])


def _write(dataset: Dataset, rows: Sequence[tuple[Photo, Record]], receipt: Receipt) -> None:
    table = make_table(SCHEMA, (as_row(photo, record) for photo, record in rows))
    write_table(dataset.path("downloads.parquet"), table, receipt)


def _summary(
    classes: Sequence[Ranks], rows: Sequence[tuple[Photo, Record]], run: _Run, unselected: int, seconds: float
) -> DownloadSummary:
    whole = [(photo, record) for photo, record in rows if record.status == "ok"]
    held = Counter(photo.class_name for photo, _ in whole)
    lacks = {ranks.photos[0].class_name: ranks.wanted - held[ranks.photos[0].class_name] for ranks in classes}
    return DownloadSummary(
        classes=len(classes),
        statuses=dict(sorted(Counter(record.status for _, record in rows).items())),
        fetched=run.fetched,
        already_there=len(whole) - run.fetched,
        from_reserve=sum(photo.role == "reserve" for photo, _ in whole),
        requests=run.requests,
        unselected=unselected,
        bytes=sum(record.bytes or 0 for _, record in whole),
        shortages={name: missing for name, missing in lacks.items() if missing > 0},
        seconds=round(seconds, 3),
    )

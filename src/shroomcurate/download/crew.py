"""Workers that settle photos, and that stop when nothing comes any more.

What comes to nothing while nothing else comes is doubted: it may be the line, the address or the server, not the photo.
A whole photo ends the doubt of what was answered before it. When there is much doubt, a photo that has come before is
asked for again; if it does not come for a minute, the run ends and the doubted photos stay open. After much doubt each
photo that comes to nothing is asked for once more before that is believed: the server may have been away for a moment.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

from shroomcurate.download.manifest import Photo, Record
from shroomcurate.download.places import judged
from shroomcurate.download.server import Server
from shroomcurate.errors import NetworkDown, NothingThere

if TYPE_CHECKING:
    import asyncio

ENOUGH, FEW = 50, 10  # photos in a row of which not one came: on the way, and when that is all there was to ask
LINE_PATIENCE = 60.0  # seconds that a line which has worked may be down: a router restarts in less
_AHEAD = 64  # photos that are judged and written while others are asked for
_TRIED = 10  # times that a photo comes to nothing because of the line: no line is down only for one
_CANARIES = 3  # photos that came before: one of them may itself have been taken down since


class End(NamedTuple):
    """How a photo ended."""

    record: Record
    """Its status is ``pending`` when no connection stood."""
    answer: int = 0
    """The number of the answer that said so; 0 when nobody was asked."""


class Work(Protocol):
    """What the crew does with each photo."""

    async def settle(self, photo: Photo) -> End:
        """Return how asking for it ends."""

    def expects(self) -> bool:
        """Tell whether photos came that are not judged yet."""

    def hole(self, photo: Photo) -> None:
        """Hear at once that a photo has come to nothing, believed or not."""

    def done(self, photo: Photo, record: Record, /) -> None:
        """Hear the end of a photo, once it is believed."""

    def show(self) -> None:
        """Tell a person how far it is: the crew waits for the server."""


class Crew:
    """The workers of one run.

    Parameters
    ----------
    server
        Open while they work.
    work
        What to do with each photo.
    came_before
        Photos that are known to come.
    """

    def __init__(self, server: Server, work: Work, came_before: Iterable[Photo] = ()) -> None:
        import asyncio

        self.server = server
        self.work = work
        self.canaries = deque(islice(came_before, _CANARIES), maxlen=_CANARIES)
        self.queue: asyncio.Queue[Photo] = asyncio.Queue()
        self.steady = asyncio.Event()
        self.steady.set()
        self.doubted: list[tuple[Photo, End]] = []
        self.holes: set[int] = set()
        self.tried: Counter[tuple[int, str]] = Counter()
        self.outage = False  # whether there may have been one
        self.came = False  # whether any photo has come

    def add(self, photo: Photo) -> None:
        """Queue a photo."""
        self.queue.put_nowait(photo)

    async def run(self) -> None:
        """Settle every photo that is queued, and those that are added meanwhile.

        Raises
        ------
        NetworkDown
            Nothing comes any more; what is doubted is not done.
        """
        import asyncio

        try:
            async with asyncio.TaskGroup() as group:
                workers = min(self.server.options.concurrency + _AHEAD, self.queue.qsize())
                tasks = [group.create_task(self._toil()) for _ in range(workers)]
                await self.queue.join()
                while self.doubted:
                    await self._look()
                    await self.queue.join()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None  # several workers can meet the same full disk

    async def _toil(self) -> None:
        while True:
            photo = await self.queue.get()
            await self.steady.wait()
            self._count(photo, await self.work.settle(photo))
            lost = sum(end.record.status == "pending" for _, end in self.doubted)
            if len(self.doubted) >= ENOUGH or lost >= 2 * int(self.server.line.allowed):
                await self._look()
            self.queue.task_done()

    def _count(self, photo: Photo, end: End) -> None:
        if end.record.status == "ok":
            self.came |= end.answer > 0
            if photo.extension:
                self.canaries.append(photo)
            self._believe([each for each in self.doubted if each[1].answer < end.answer])
            self.work.done(photo, end.record)
            return
        self.doubted.append((photo, end))
        if end.record.status != "pending":
            self._hole(photo)

    def _hole(self, photo: Photo) -> None:
        if photo.photo_id not in self.holes:  # a photo that is asked for again leaves no second one
            self.holes.add(photo.photo_id)
            self.work.hole(photo)

    def _believe(self, some: Sequence[tuple[Photo, End]]) -> None:
        """Take doubted ends for true. Where no connection stood, ask again; after an outage, once more."""
        # From then on: its last answers may come behind the first that shows its end.
        self.outage |= sum(end.record.status != "pending" for _, end in some) >= FEW
        tries = {"pending": _TRIED, **dict.fromkeys(("failed", "gone", "corrupt"), 2 if self.outage else 0)}
        self.doubted = [each for each in self.doubted if each not in some]
        for photo, (record, _) in some:
            end = photo.photo_id, record.status
            if most := tries[record.status]:
                self.tried[end] += 1
                if self.tried[end] < most:
                    self.add(photo)
                    continue
            self._hole(photo)
            self.work.done(photo, record if record.status != "pending" else record._replace(status="failed"))

    async def _look(self) -> None:
        """Find out whether the photos are at fault or the line."""
        if not self.steady.is_set():  # somebody is at it
            await self.steady.wait()
            return
        self.steady.clear()
        started, tries = time.monotonic(), 0
        while self.doubted:  # a photo that was on its way may come meanwhile, and settle the matter
            lost = any(end.record.status == "pending" for _, end in self.doubted)
            too_few = len(self.doubted) < FEW and not lost  # to doubt an address from which others came
            known_enough = too_few and (self.came or not self.canaries)
            if known_enough or await self._comes_again():
                self.outage |= not known_enough
                self._believe([*self.doubted])
            elif not self.doubted:
                break  # what came while the canary was waited for has settled it
            elif not self.canaries and self.work.expects():
                await self.server.pause(1)
            elif not self.canaries or time.monotonic() - started > LINE_PATIENCE:
                raise self._nothing_comes()
            else:
                tries = min(tries + 1, 5)
                self.work.show()
                await self.server.pause(tries)
        self.steady.set()

    async def _comes_again(self) -> bool:
        """Ask for a photo that has come before."""
        import asyncio

        if not self.canaries:
            return False
        self.canaries.rotate()
        photo = self.canaries[0]
        answer = await self.server.ask_once(self.server.address(photo.photo_id, photo.extension))
        record = await asyncio.to_thread(judged, photo, answer.body) if answer.kind == "ok" else None
        return record is not None and record.status == "ok"

    def _nothing_comes(self) -> NetworkDown:
        """Return what to raise: an example, and how each of the doubted ended."""
        server, errors = self.server, Counter(str(end.record.error) for _, end in self.doubted)
        if all(end.record.status == "pending" for _, end in self.doubted):
            return NetworkDown(
                f"{server.options.base_url} cannot be reached: {server.last_error}; {server.requests} requests made.",
                "Check the network, or name a mirror with --base-url, then type the same command again: "
                "what is finished is kept.",
            )
        photo = self.doubted[0][0]
        size = server.options.size
        [(error, count)] = errors.most_common(1)
        many = len(self.doubted)
        ended = "all ended like this" if count == many else f"came to nothing, {count} of them like this"
        what = f"{server.address(photo.photo_id, photo.extension)}: the {'last' if self.canaries else 'first'} {many}"
        return NothingThere(
            f"Nothing {'comes any more from' if self.canaries else 'is at'} {what} photos {ended}: {error}.",
            f"Check --base-url, below which photos/<photo_id>/{size}.<ext> must lie, and that the server is well; "
            "then type the same command again: none of these photos counts as gone.",
        )

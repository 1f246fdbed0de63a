"""What the server knows: the gallery, the verdicts, and the pages that are open. No HTTP here."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from shroomcurate.dataset import Dataset
from shroomcurate.errors import NothingMatches, ShroomError
from shroomcurate.review.again import Again, Event
from shroomcurate.review.decisions import Decisions, codes_of, meant, waiting
from shroomcurate.review.detail import detail
from shroomcurate.review.gallery import Gallery, open_gallery, stamp
from shroomcurate.review.layout import umap_installed
from shroomcurate.review.layouts import Layouts
from shroomcurate.review.thumbnails import FILE, Thumbnails, stamp_of
from shroomcurate.review.views import VIEWS, Filter, view, why_not
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.tree import REASONS
from shroomcurate.verdicts import unfinished_line

if TYPE_CHECKING:
    import asyncio

    import numpy as np
    from numpy.typing import NDArray

#: Steps of which it is known that they are done: a tab asks again at once, and has a few on their way at most.
_ASKED_AGAIN = 100

Answer = dict[str, Any]

_LOOK_EVERY = 2.0  # seconds
_LIST_AFTER = 1.0
T = TypeVar("T")


class OutOfDate(Exception):
    """The page's numbers are those of an earlier gallery."""


class State:
    """One dataset under review.

    Parameters
    ----------
    command
        What 'Apply' runs, see :class:`shroomcurate.review.again.Again`.

    Attributes
    ----------
    loop
        The event loop of the server.
    ready
        Set once it is open.
    gallery, decisions, codes
        What is known of the photos, what was decided, and that as numbers; there once it is open.
    """

    gallery: Gallery
    decisions: Decisions
    codes: NDArray[np.int8]

    def __init__(self, dataset: Dataset, command: Sequence[str]) -> None:
        import asyncio

        self.loop = asyncio.get_running_loop()
        self.ready = asyncio.Event()
        self.dataset = dataset
        self.thumbnails = Thumbnails(dataset.path(FILE))
        self.layouts = Layouts(dataset)
        self.again = Again(command, self._cleaned)
        self.pages: set[asyncio.Queue[str]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._done: dict[tuple[str, str], tuple[list[str], int]] = {}
        # Tables and verdicts change in one thread; pictures are made in as many as there are cores.
        self._one = ThreadPoolExecutor(1, "review")
        self._pictures = ThreadPoolExecutor(os.cpu_count() or 1, "thumbnail")
        self._map = ThreadPoolExecutor(1, "map")

    async def open(self) -> None:
        """Read what there is; before that no request is answered.

        Raises
        ------
        BadOption
            The tables are those of another tree.
        DamagedFile
            A table or a line of ``verdicts.csv`` cannot be read.
        """

        def read() -> None:
            self.gallery = open_gallery(self.dataset, at_once=True)
            self.decisions = Decisions(self.dataset)
            self.codes = self.gallery.codes(self.decisions.verdicts)

        await self._alone(read)
        self.ready.set()
        self._watching = self.loop.create_task(self._watch())

    async def _watch(self) -> None:
        """Tell open pages what is done in a terminal meanwhile: they ask nothing while somebody only looks."""
        import asyncio

        await asyncio.sleep(_LIST_AFTER)
        await self._alone(self._list)
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            if self.pages:
                await self._alone(self._refresh_or_leave)

    def _list(self) -> None:
        """Look whether the photos are there that were believed to be, now that the first of them are seen."""
        with contextlib.suppress(ShroomError, OSError):
            believed = not (self.gallery.is_listed or self.again.is_running)
            if believed and self.dataset.places().keys() != set(self.gallery.paths):
                self._open_again()

    @property
    def waiting(self) -> int:
        """How many verdicts the last cleaning does not know."""
        return waiting(self.gallery, self.codes)

    async def close(self) -> None:
        """End what is under way."""
        if self._watching is not None:
            self._watching.cancel()
        await self.again.stop()
        for threads in (self._one, self._pictures, self._map):
            threads.shutdown(wait=False, cancel_futures=True)
        self.thumbnails.close()
        self.layouts.close()

    async def _alone(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run something that nothing else of this kind runs beside."""
        return await self.loop.run_in_executor(self._one, partial(work, *arguments))

    # -- what the pages ask ------------------------------------------------------------------------------------

    async def about(self) -> Answer:
        """Return everything that a page needs before it shows the first photo."""
        return await self._alone(self._about)

    def _about(self) -> Answer:
        self._refresh()
        gallery = self.gallery
        return {
            "title": self.dataset.images.name if self.dataset.foreign else self.dataset.root.name,
            "generation": gallery.generation,
            "numbering": gallery.numbering,
            "count": len(gallery.paths),
            "classes": gallery.classes,
            "reasons": [{"name": name, "meaning": meaning} for name, meaning in REASONS.items()],
            "licences": gallery.licences,
            "views": [
                {
                    "name": name,
                    "title": each.title,
                    "about": each.about,
                    "missing": why_not(gallery, name, self.dataset),
                }
                for name, each in VIEWS.items()
            ],
            "photos": {
                "class": gallery.class_of.tolist(),
                "reason": gallery.reason.tolist(),
                "score": _percent(gallery.score),
                "verdict": self.codes.tolist(),
                "cluster": gallery.cluster.tolist(),
            },
            "waiting": self.waiting,
            "apply": self.again.last if self.again.is_running else None,
            "last_apply": self.again.last,
            "foreign": self.dataset.foreign,
            "command": f"shroomcurate review {self.dataset.option}",
            "safety": SAFETY_NOTICE,
            "notes": self._notes(),
        }

    def _notes(self) -> list[str]:
        gone = len(self.gallery.gone)
        new = int((self.gallery.clean_row < 0).sum()) if self.gallery.clean is not None else 0
        nothing = self.gallery.clean is None
        command = f"Type: shroomcurate clean {self.dataset.option}"
        unfinished = unfinished_line(self.dataset)
        return [
            *([unfinished] if unfinished else []),
            *([f"{gone:,} photos of the table are no longer on disk."] if gone else []),
            *([f"{new:,} photos are not judged yet. {command}"] if new else []),
            *([f"Nothing is cleaned yet: no photo has a reason or a score. {command}"] if nothing else []),
        ]

    async def view(self, name: str, wanted: Filter) -> Answer:
        """Return the photos of a view in order, and its sections."""

        def make() -> Answer:
            self._refresh()
            found = view(self.gallery, name, wanted, self.codes, self.dataset)
            sections = [vars(section) for section in found.sections]
            return {"generation": self.gallery.generation, "order": found.order, "sections": sections}

        return await self._alone(make)

    async def map(self, method: str) -> Answer:
        """Return where each photo lies on the map, see :class:`shroomcurate.review.layouts.Layouts`."""
        await self.ready.wait()
        layout = await self.loop.run_in_executor(self._map, self.layouts.get, method)
        if layout is None:
            return {"state": "running"}
        gallery = self.gallery
        number = gallery.number
        there = [row for row, path in enumerate(layout.paths) if path in number]
        return {
            "generation": gallery.generation,
            "method": layout.method,
            "note": layout.note,
            "umap": umap_installed(),
            "photos": [number[layout.paths[row]] for row in there],
            "x": layout.x[there].tolist(),
            "y": layout.y[there].tolist(),
        }

    async def detail(self, number: int) -> Answer:
        """Return all that is known of one photo. Raises IndexError when there is none of that number."""
        await self.ready.wait()
        gallery = self.gallery
        verdict = self.decisions.verdicts.get(gallery.paths[number])
        return await self._alone(detail, gallery, number, verdict)

    async def photo(self, number: int, generation: int | None = None) -> tuple[str, bytes]:
        """Return the name of a photo's file, and its bytes.

        Raises
        ------
        OutOfDate
            The number is that of another gallery.
        IndexError
            There is none of that number.
        OSError
            It is not there any more, or cannot be read.
        """
        place = (await self._there(generation)).place(self.dataset, number)
        return place.name, await self.loop.run_in_executor(self._pictures, place.read_bytes)

    async def _there(self, generation: int | None) -> Gallery:
        """Wait until it is open; refuse another generation, whose numbers mean other photos."""
        await self.ready.wait()
        gallery = self.gallery
        if generation is not None and generation != gallery.generation:
            raise OutOfDate
        return gallery

    async def thumbnail(self, number: int, generation: int | None, known: Container[str]) -> tuple[str, bytes]:
        """Return what tells a photo's thumbnail from others of it, and the thumbnail; no bytes of one that is known.

        Raises
        ------
        OutOfDate, IndexError, OSError
            As :meth:`photo`.
        NotAPhoto
            It does not decode.
        """
        gallery = await self._there(generation)
        place = gallery.place(self.dataset, number)
        tag = stamp_of(place).replace(" ", "-")
        if tag in known:
            return tag, b""
        return tag, await self.loop.run_in_executor(self._pictures, self.thumbnails.get, gallery.paths[number], place)

    # -- what the pages do -------------------------------------------------------------------------------------

    async def decide(
        self, generation: int, tab: str, step: str, numbers: list[int], word: str, reason: str | None
    ) -> Answer:
        """Give a verdict on photos; it is on disk when this returns.

        Parameters
        ----------
        step
            The tab's name for what it asks. When it asks the same again, for the answer was lost, nothing is done
            twice; empty: it never asks again.

        Raises
        ------
        OutOfDate
            The numbers are those of another gallery.
        BadOption
            The word or the reason is unknown.
        IndexError
            There is no photo of a number.
        """

        def act() -> Answer:
            self._refresh(generation)
            if (done := self._done.get((tab, step))) is None:
                said = meant(self.gallery, numbers, word, reason)
                self.decisions.decide(list(said), said, tab)
                done = self._remembered(tab, step, list(said))
            return self._told(done[0], tab)

        return await self._alone(act)

    async def undo(self, generation: int, tab: str, step: str) -> Answer:
        """Take back the last step of a tab, see :meth:`decide`. Raises OutOfDate or NothingMatches."""

        def act() -> Answer:
            self._refresh(generation)
            if (done := self._done.get((tab, step))) is None:
                done = self._remembered(tab, step, *self.decisions.undo(tab))
            return self._told(done[0], tab) | {"left": self.decisions.left(tab), "skipped": done[1]}

        return await self._alone(act)

    def _remembered(self, tab: str, step: str, paths: list[str], skipped: int = 0) -> tuple[list[str], int]:
        """Return what a step was about, which is known now should the tab ask again."""
        if step:
            self._done[tab, step] = paths, skipped
        if len(self._done) > _ASKED_AGAIN:
            del self._done[next(iter(self._done))]
        return paths, skipped

    def apply(self) -> None:
        """Clean with the verdicts. Raises NothingMatches while that is being done."""
        if self.again.is_running:
            raise NothingMatches("It is being cleaned already.", "Wait for it to end.")
        self.again.start()

    # -- what changes ------------------------------------------------------------------------------------------

    def _told(self, paths: Sequence[str], tab: str) -> Answer:
        """Tell the other pages what these photos' verdicts are now, and return it."""
        numbers, codes = codes_of(self.decisions, self.gallery, paths)
        self.codes[numbers] = codes
        answer = {"generation": self.gallery.generation, "photos": numbers, "verdict": codes, "waiting": self.waiting}
        self._later("verdicts", answer | {"tab": tab})
        return answer

    def _refresh(self, generation: int | None = None) -> None:
        """Read again what other commands, editors and pages of other servers have changed.

        Raises
        ------
        OutOfDate
            The gallery is not the one of `generation` any more.
        """
        # While photos are being moved, one is in two places or in none: what there is, is looked at afterwards.
        if not self.again.is_running and self.gallery.stamp != stamp(self.dataset):
            self._open_again()
        if changed := self.decisions.refresh():
            self._told(sorted(changed), "")
        if generation is not None and generation != self.gallery.generation:
            raise OutOfDate

    def _open_again(self) -> None:
        earlier, now = self.gallery, open_gallery(self.dataset)
        is_cleaned = now.stamp["clean.parquet"] != earlier.stamp["clean.parquet"]
        before = dict(zip(earlier.paths, earlier.reason.tolist(), strict=True)) if is_cleaned else earlier.before
        self.gallery = replace(now, before=before)
        self.codes = self.gallery.codes(self.decisions.verdicts)
        self._later("generation", {"generation": self.gallery.generation})

    def _cleaned(self, event: Event) -> None:
        self._tell("apply", event)
        if event["state"] != "running":
            self._one.submit(self._refresh_or_leave)

    def _refresh_or_leave(self) -> None:
        with contextlib.suppress(ShroomError, OSError):  # the next request meets it again and says so
            self._refresh()

    def _later(self, name: str, data: Answer) -> None:
        """Tell the pages, from another thread."""
        self.loop.call_soon_threadsafe(self._tell, name, data)

    def _tell(self, name: str, data: Answer) -> None:
        message = f"event: {name}\ndata: {json.dumps(data, default=str)}\n\n"
        for page in self.pages:
            page.put_nowait(message)


def _percent(scores: NDArray[np.float32]) -> list[int]:
    import numpy as np

    found: list[int] = np.where(np.isnan(scores), -1, np.round(100 * np.nan_to_num(scores))).astype(int).tolist()
    return found

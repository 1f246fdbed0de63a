"""The photo server as one run sees it: asked politely, and again when it stumbles."""

from __future__ import annotations

import random
import time
from collections import deque
from typing import TYPE_CHECKING

from shroomcurate import transport
from shroomcurate.download.connections import Connections
from shroomcurate.download.far import Nodes
from shroomcurate.download.options import DownloadOptions
from shroomcurate.download.pace import Line, read_rates
from shroomcurate.ray_cluster import Cluster
from shroomcurate.transport import Answer, Patience

if TYPE_CHECKING:
    import asyncio

#: Bytes of a photo by size, before any has come. Medium: mean of 2,700 photos; the smaller ones the same photos made
#: smaller; the larger ones by their pixels, at the fewer bytes a pixel that larger JPEGs need.
TYPICAL_BYTES = {
    "original": 700_000, "large": 130_000, "medium": 40_000, "small": 15_000, "thumb": 3_800, "square": 3_100,
}  # fmt: skip

_AGAIN = frozenset({"retry", "unreachable"})


class Server:
    """An open line to the bucket, or one from each node of a cluster. Use it as an asynchronous context.

    Attributes
    ----------
    line
        Its pace; every answer is heard there.
    requests
        Requests made.
    last_error
        How the last request ended for which no connection stood.
    """

    client: Connections | Nodes

    def __init__(self, options: DownloadOptions, cluster: Cluster | None = None) -> None:
        self.options = options
        self.cluster = cluster
        self.patience = Patience(options.connect_timeout, options.read_timeout, options.photo_timeout)
        self.line = Line(options.concurrency, read_rates(options.max_rate), TYPICAL_BYTES[options.size])
        self.requests = self.answers = 0
        self.last_error: str | None = None
        self.active = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> Server:
        wishes = self.options.base_url, self.patience
        self.client = Nodes(self.cluster, *wishes) if self.cluster else Connections(*wishes)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    def address(self, photo_id: int, extension: str) -> str:
        """Return where the server has a photo."""
        return transport.photo_url(self.options.base_url, photo_id, self.options.size, extension)

    async def ask_once(self, url: str, method: str = "GET") -> Answer:
        """Ask when it is this request's turn; the line hears the answer."""
        await self._slot()
        try:
            while wait := self.line.turn(time.monotonic()):
                held_until = self.line.held_until
                await transport.sleep(wait)
                if self.line.held_until == held_until:
                    break  # else the server has asked for a pause meanwhile: another turn
            self.requests += 1
            answer = await self.client.ask(url, method)
            self.line.hear(answer, time.monotonic())
            self.answers += 1
        finally:
            self._free()
        if answer.kind == "unreachable":
            self.last_error = answer.error
        return answer._replace(number=self.answers)

    async def _slot(self) -> None:
        """Wait until the line bears one request more."""
        import asyncio

        if self.active < int(self.line.allowed) and not self.waiting:
            self.active += 1
            return
        granted = asyncio.get_running_loop().create_future()
        self.waiting.append(granted)
        await granted

    def _free(self) -> None:
        """Let as many others go on as the line bears by now."""
        self.active -= 1
        while self.waiting and self.active < int(self.line.allowed):
            granted = self.waiting.popleft()
            if not granted.cancelled():
                granted.set_result(None)
                self.active += 1

    async def ask(self, url: str, attempts: int, method: str = "GET") -> tuple[Answer, int]:
        """Ask until an answer is final, ``attempts`` times at most; follow redirects on the server.

        Returns
        -------
        tuple
            The last answer, and the requests made.
        """
        for attempt in range(1, attempts + 1):
            answer = await self.ask_once(url, method)
            if answer.kind == "redirect":
                url = answer.target or url
            elif answer.kind not in _AGAIN:
                return answer, attempt
            elif attempt < attempts:
                await self.pause(attempt, answer.retry_after)
        return answer, attempts

    async def pause(self, attempt: int, wish: float | None = None) -> None:
        """Wait after this many attempts, and as long as the server wishes."""
        jitter = random.random()  # noqa: S311 (spreads requests, guards nothing)
        await transport.sleep(transport.pause_before(attempt + 1, self.options.backoff, wish, jitter))

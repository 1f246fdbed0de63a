"""Look at the photos and judge them: a local web page over a dataset or any tree of class folders.

Reads: the photos, and every table that is there. Writes: ``verdicts.csv``, line by line, each durable before the page
says so; ``.review/``, which can be deleted. Resumes: start it again; what was judged is judged.

Moves nothing: 'Apply' on the page runs `clean`, which does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shroomcurate.dataset import Dataset
from shroomcurate.errors import BadOption, Busy

if TYPE_CHECKING:
    import socket

    from shroomcurate.review.state import State

__all__ = ["ReviewOptions", "ReviewSummary", "review"]

#: Seconds that answers under way are waited for at the end.
_PATIENCE = 0.5


@dataclass(frozen=True)
class ReviewOptions:
    """Where the page is served.

    Parameters
    ----------
    port
        On 127.0.0.1; 0 takes one that is free.
    """

    port: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise BadOption(f"--port {self.port} is no port.", "Give a number from 1 to 65535, or leave it away.")


@dataclass(frozen=True)
class ReviewSummary:
    """What :func:`review` wrote: verdicts given or taken back, and how many the last cleaning does not know yet."""

    given: int
    waiting: int


def review(
    dataset: Dataset,
    command: Sequence[str],
    options: ReviewOptions = ReviewOptions(),
    opened: Callable[[str], None] | None = None,
) -> ReviewSummary:
    """Serve the page until ^C.

    Parameters
    ----------
    command
        What 'Apply' runs, see :class:`shroomcurate.review.again.Again`.
    opened
        Called with the address as soon as a browser can be sent there.

    Raises
    ------
    StageMissing, SourceMissing
        There is no photo.
    Busy
        The port is taken.
    DamagedFile
        A table or a line of ``verdicts.csv`` cannot be read.
    """
    import asyncio

    from shroomcurate.review.state import State

    dataset.require_photos()
    found: ReviewSummary | None = None

    async def serve() -> None:
        nonlocal found
        state = State(dataset, command)
        try:
            await _serve(state, options, opened)
        finally:
            if state.ready.is_set():
                found = ReviewSummary(state.decisions.given, state.waiting)
            await state.close()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:  # the ordinary end
        if found is None:
            raise
    return found or ReviewSummary(0, 0)


async def _serve(state: State, options: ReviewOptions, opened: Callable[[str], None] | None) -> None:
    import asyncio

    from shroomcurate.review.address import HOST, Address, keep_address, last_address, new_token

    last = last_address(state.dataset)
    listening = _listen(options.port, last.port)
    port = listening.getsockname()[1]
    # A page that was left open tells its token to whoever has its old port now.
    token = last.token if port == last.port else new_token()
    if last.port in (0, port) or options.port:
        keep_address(state.dataset, Address(port, token))
    if opened is not None:
        opened(f"http://{HOST}:{port}/{token}/")  # a browser takes its time to start, and what it asks meanwhile waits
    from aiohttp import web

    from shroomcurate.review.server import make_app

    origins = {f"{name}:{port}": f"http://{name}:{port}" for name in (HOST, "localhost")}
    runner = web.AppRunner(make_app(state, token, origins), access_log=None, shutdown_timeout=_PATIENCE)
    await runner.setup()
    # The tables are read while the page is sent; what it asks of them waits its turn behind that.
    opening = asyncio.create_task(state.open())
    await asyncio.sleep(0)
    try:
        await web.SockSite(runner, listening).start()
        await opening
        await asyncio.Event().wait()
    finally:
        opening.cancel()
        await runner.cleanup()


def _listen(wanted: int, last: int) -> socket.socket:
    """Take the port that is wanted, or else that of the last time, or else one that is free."""
    import socket

    from shroomcurate.review.address import HOST

    try:
        return socket.create_server((HOST, wanted or last), backlog=128)
    except OSError as error:
        if wanted:
            hint = "Leave --port away, or give another."
            raise Busy(f"Port {wanted} of {HOST}: {error.strerror}.", hint) from error
    return socket.create_server((HOST, 0), backlog=128)  # most likely it is open already, and stays where it is

"""Cleaning again with the verdicts, in a process of its own, so that the page goes on answering meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from shroomcurate.processes import own_environment

if TYPE_CHECKING:
    import asyncio

Event = dict[str, Any]
"""``state`` is ``running`` (with label, done, total), ``done`` (with summary) or ``failed`` (with what and hint)."""

_PATIENCE = 0.5  # seconds until it is ended for good
_LINE = 1 << 24  # bytes: a summary names every class


class Again:
    """One cleaning at a time, seen from the server.

    Parameters
    ----------
    command
        What to run. Each line that it prints is an :data:`Event` as JSON; the last one is ``done`` or ``failed``.
    tell
        Called with every event.

    Attributes
    ----------
    last
        The newest event.
    is_running
        Whether it is at work now.
    """

    def __init__(self, command: Sequence[str], tell: Callable[[Event], None]) -> None:
        self.command = command
        self.tell = tell
        self.last: Event | None = None
        self.is_running = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; what comes of it is told."""
        import asyncio

        self.is_running = True
        self._say({"state": "running", "label": "starting", "done": 0, "total": 0})
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End it: whatever it had begun, the next cleaning goes on with."""
        import asyncio

        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.is_running = False

    async def _run(self) -> None:
        import asyncio

        last: Event = {}
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_LINE,
                env=own_environment(),
                start_new_session=True,  # the terminal's ^C is for the server, which ends it
            )
            output, errors = process.stdout, process.stderr
            if output is None or errors is None:
                raise RuntimeError("no pipes")
            complaints = asyncio.ensure_future(errors.read())
            try:
                while line := await output.readline():
                    if event := _event(line):
                        last = event
                        if event["state"] == "running":
                            self._say(event)
                words = (await complaints).decode(errors="replace").strip()
                await process.wait()
                why = words.splitlines()[-1] if words else f"it ended with code {process.returncode}"
            finally:
                complaints.cancel()
                await _end(process)
        except (OSError, ValueError) as error:  # it cannot be started, or a line has no end
            why = str(error)
        if last.get("state") not in ("done", "failed"):
            last = {"state": "failed", "what": f"Cleaning broke off: {why}", "hint": "Type: shroomcurate clean"}
        self.is_running = False  # who hears of the end may begin the next one
        self._say(last)

    def _say(self, event: Event) -> None:
        self.last = event
        self.tell(event)


def _event(line: bytes) -> Event | None:
    """Return what a line tells; None for one that a library has printed."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "state" in event else None


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process and those that it has started."""
    import asyncio

    for way in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, way)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _PATIENCE)

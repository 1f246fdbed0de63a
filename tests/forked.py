"""Processes of the command line that begin with its modules imported: one Python imports them and forks for each.

All of it runs in a process of its own, which can be killed; only the second that Python needs to import is saved. Not a
test itself.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

SOURCE = Path(__file__).resolve().parents[1] / "src"

#: What `shroomcurate review` imports until it has answered. None of them starts a thread before it is used.
_MODULES = ("shroomcurate.cli.look", "shroomcurate.review.server", "shroomcurate.review.state", "aiohttp.web")
_MODULES += ("numpy", "pyarrow.parquet", "pyarrow.compute", "PIL.Image", "PIL.ImageOps", "PIL.JpegImagePlugin")


class Forked:
    """A process of the command line, used as one of :class:`subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], packages: Path | None = None) -> None:
        out, written = os.pipe()
        err, complained = os.pipe()
        self._told, telling = socket.socketpair()
        order = json.dumps([list(arguments), dict(environment), str(packages or "")]).encode()
        handles = [written, complained, telling.fileno()]
        socket.send_fds(_forker(), [len(order).to_bytes(4, "big")], handles)
        _forker().sendall(order)
        os.close(written)
        os.close(complained)
        telling.close()
        self.stdout: IO[str] = os.fdopen(out, encoding="utf-8")
        self.stderr: IO[str] = os.fdopen(err, encoding="utf-8")
        self.returncode: int | None = None
        self._told.settimeout(60)
        self._answers = self._told.makefile()
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        """Return its exit code once it has ended."""
        try:
            return self.wait(0.001)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float = 60) -> int:
        """Wait for its end and return its exit code; that of a signal is negative."""
        until = time.monotonic() + timeout
        while self.returncode is None:
            self._told.settimeout(max(until - time.monotonic(), 0.001))
            try:
                self.returncode = int(self._told.recv(20))
            except TimeoutError as error:
                raise subprocess.TimeoutExpired("shroomcurate", timeout) from error
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # killed before, and this moment gone: as Popen does
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for its end and return what it has written, which is little."""
        self.wait(timeout)
        return self.stdout.read(), self.stderr.read()

    def close(self) -> None:
        """Let go of it, once it has ended."""
        for each in (self.stdout, self.stderr, self._answers, self._told):
            each.close()


@cache
def _forker() -> socket.socket:
    """Where orders are sent. The one that forks ends with this process, at the end of its input."""
    orders, taken = socket.socketpair()
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{root}"}
    code = "from tests.forked import serve; serve()"
    subprocess.Popen([sys.executable, "-P", "-c", code], stdin=taken, env=environment, start_new_session=True)
    taken.close()
    return orders


def serve() -> None:
    """Fork for each order, until there is none any more."""
    for name in _MODULES:
        import_module(name)
    orders = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while True:
        size, handles, _, _ = socket.recv_fds(orders, 4, 3)
        if not size:
            return
        order = orders.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        if not os.fork():
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _attend(*handles, *json.loads(order))
        for each in handles:
            os.close(each)


def _attend(out: int, err: int, told: int, arguments: list[str], environment: dict[str, str], packages: str) -> None:
    """Fork once more, tell the number, wait for the end, and tell the exit code."""
    number = os.fork()
    if not number:
        os.close(told)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        _run(arguments, environment, packages)
    os.close(out)
    os.close(err)
    os.close(1)
    os.close(2)
    os.write(told, f"{number}\n".encode())
    _, status = os.waitpid(number, 0)
    with suppress(OSError):  # nobody listens any more
        os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(arguments: list[str], environment: dict[str, str], packages: str) -> None:
    """Be the command line, as Python runs it."""
    from shroomcurate.cli import main

    os.environ.clear()
    os.environ.update(environment)
    sys.stdout, sys.stderr = os.fdopen(1, "w", encoding="utf-8"), os.fdopen(2, "w", 1, encoding="utf-8")
    sys.path[:0] = [packages] if packages else []
    sys.argv = ["shroomcurate", *arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code: object = 1
    try:
        main()
    except SystemExit as ending:
        code = ending.code
    except (Exception, KeyboardInterrupt):  # noqa: BLE001
        traceback.print_exc()
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))

"""Python processes that run a function ``main`` of one of our modules, beside the process that started them.

Threads would do for much of it, but for Python's lock.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO


def own_command(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs ``main`` of a module of ours."""
    # With -P: what lies in the folder where somebody types the command is none of its modules.
    return (sys.executable, "-P", "-c", f"from {module} import main; main()", *arguments)


def own_environment() -> dict[str, str]:
    """Return the environment in which such a process finds what this one has found, perhaps by the working folder."""
    ours = str(Path(__file__).resolve().parents[1])
    found = os.pathsep.join([*(path for path in sys.path if path), ours])
    return {**os.environ, "PYTHONPATH": found}


class Helper:
    """A process that answers questions, one at a time, seen from the one that started it.

    It is away from the terminal's ^C, and ends when its input does. `command` runs :func:`answer_all`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = command
        self.ended = 0
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        self.process = subprocess.Popen(  # noqa: S603 (our own module)
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=2**20,  # a whole question, where the system grants it
            start_new_session=True,
            env=own_environment(),
        )

    def ask(self, question: object, patience: float) -> Any:
        """Return what it answers; None when that was its end, or took longer than so many seconds, which ends it.

        Another one has been started then, and `ended` says how it ended.
        """
        asked, told = self.process.stdin, self.process.stdout
        if asked is None or told is None:
            return None
        watch = threading.Timer(patience, self.process.kill)
        watch.start()
        try:
            pickle.dump(question, asked)
            asked.flush()
            return pickle.load(told)  # noqa: S301 (our own process says it)
        except (EOFError, OSError, pickle.UnpicklingError):
            self.ended = self.close()
            self.start()
            return None
        finally:
            watch.cancel()

    def close(self) -> int:
        """Wait for its end; return how it ended."""
        self.process.communicate()
        return self.process.returncode

    def dismiss(self) -> None:
        """End it at once: it has nothing at hand, and may still be starting."""
        self.process.kill()
        self.close()


def answer_all(
    answer: Callable[[Any], object],
    hear: Callable[[BinaryIO], Any] = pickle.load,
    tell: Callable[[object, BinaryIO], object] = pickle.dump,
) -> None:
    """Answer questions until there are no more; what goes wrong is an answer, to be raised where it was asked."""
    asked, told = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    sys.stdout = sys.stderr  # nothing that a library prints shall pass for an answer
    while True:
        try:
            question = hear(asked)
        except (EOFError, pickle.UnpicklingError):  # whoever started it is gone, perhaps amid a question
            return
        try:
            found = answer(question)
        except Exception as error:  # noqa: BLE001
            found = error
        try:
            tell(found, told)
            told.flush()
        except BrokenPipeError:  # it is gone by now, and nobody is left to hear an answer
            os._exit(1)  # without a last flush, which would fail as this one did, and say so

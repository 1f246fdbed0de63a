"""Everything that is drawn in a terminal: bars, tables, errors. Beside ``cli`` nothing else prints.

Data go to standard output, bars and errors to standard error, so that ``--json`` can be piped.
"""

from __future__ import annotations

import codecs
import errno
import gc
import io
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import timedelta
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from shroomcurate.errors import INTERRUPTED, DiskFull, NotWritable, ShroomError
from shroomcurate.progress import Bytes, Noted, Progress, Seconds, silent

#: Seconds between two plain progress lines where there is no terminal.
_LINE_EVERY = 10.0
#: Seconds that the ordinary end has after ^C.
_PATIENCE = 1.0
#: Set when this process is ours to end.
_own_process = threading.Event()


class Terminal:
    """How one command shows itself.

    Parameters
    ----------
    as_json
        Print one JSON document and nothing else on standard output.
    quiet
        No bars, no tables; errors only.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.out = _console(stderr=False)
        self.err = _console(stderr=True)
        self._stopped = threading.Event()

    def say(self, text: str = "", *, whole: bool = False) -> None:
        """Print a line, rich markup allowed.

        Parameters
        ----------
        whole
            Leave its wrapping to the terminal: it holds a command or a path that somebody will copy.
        """
        if not (self.as_json or self.quiet):
            self.out.print(text, soft_wrap=whole or not self.out.is_terminal)

    def item(self, mark: str, text: str, indent: int, style: str = "") -> None:
        """Print a line behind a mark, all of its lines set in; rich markup allowed in the line."""
        if self.as_json or self.quiet:
            return
        if not self.out.is_terminal:
            self.out.print(f"{mark:<{indent}}{text}", soft_wrap=True)
            return
        row = Table.grid()
        row.add_column(width=indent, style=style)
        row.add_column(overflow="fold")
        row.add_row(mark, text)
        self.out.print(row)

    def warn(self, text: str) -> None:
        """Print a line that a person should not overlook."""
        self.say(f"[yellow]{escape(text)}[/]")

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table; columns of numbers are set to the right."""
        if self.as_json or self.quiet or not rows:
            return
        table = Table(header_style="dim", box=None, pad_edge=False)
        for number, name in enumerate(header):
            values = [row[number] for row in rows if row[number] != ""]  # empty where a long table is cut short
            numbers = bool(values) and all(isinstance(value, int | float) for value in values)
            # A number that is cut in two is another number; a name that is folded stays whole.
            table.add_column(name, justify="right" if numbers else "left", overflow="fold", no_wrap=numbers)
        for row in rows:
            table.add_row(*(escape(shown(value)) for value in row))
        self.out.print(f"\n[bold]{escape(title)}[/]")
        self.out.print(table)

    def counts(self, title: str, header: tuple[str, str], counts: Mapping[str, int]) -> None:
        """Print a table of name and number, zeros left away."""
        self.table(title, header, [(name.replace("_", " "), count) for name, count in counts.items() if count])

    def result(self, summary: Any) -> None:
        """Print a summary as JSON when that was asked for."""
        if self.as_json:
            sys.stdout.write(json.dumps(_plain(summary), indent=2, default=str) + "\n")

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Give a progress callable: bars on a terminal, a plain line every few seconds elsewhere."""
        if self.quiet:
            yield silent
        elif self.err.is_terminal and not self.err.is_dumb_terminal:
            with _bars(self.err) as bars:
                yield bars
        else:
            yield _lines(self.err)

    def stopped(self) -> None:
        """Say once what ^C has done."""
        if not self._stopped.is_set():
            self._stopped.set()
            self.err.print(
                "\nStopped. What was finished is kept, and what was there is unharmed; type the same command again.",
                soft_wrap=True,
            )

    def error(self, error: ShroomError) -> None:
        """Print what happened and what to type next."""
        if self.as_json:
            facts = {
                "error": type(error).__name__,
                "what": error.what,
                "hint": error.hint,
                "exit_code": error.exit_code,
            }
            sys.stderr.write(json.dumps(facts) + "\n")
            return
        self.err.print(f"[bold red]{_words(error)}[/]: {escape(error.what)}", soft_wrap=True)
        self.err.print(f"[bold]→[/] {escape(error.hint)}", soft_wrap=True)


@contextmanager
def ended_soon(terminal: Terminal) -> Iterator[None]:
    """Let ^C end this process within two seconds whatever it is at; for work that a kill does not harm.

    Python hears of ^C between two steps of its own, which a library that computes for long lets it wait for. The byte
    that the system's signal writes is read at once, by a thread that gives the ordinary end its time and then ends all.
    And an interpreter that has loaded TensorFlow takes seconds to be taken down, which nobody needs.
    """
    if not _own_process.is_set():
        yield
        return
    heard, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)

    def watch() -> None:
        while (number := os.read(heard, 1)) and number[0] != signal.SIGINT:
            pass
        os.close(heard)
        if number:
            time.sleep(_PATIENCE)
            end()

    def end() -> None:
        terminal.stopped()
        terminal.err.show_cursor()  # which bars hide
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        end()
    finally:
        signal.set_wakeup_fd(before)
        os.close(tell)


@contextmanager
def reported(terminal: Terminal) -> Iterator[None]:
    """Turn a ShroomError or ^C inside the block into its message and exit code. A bug stays a traceback."""
    import typer

    try:
        yield
    except ShroomError as error:
        terminal.error(error)
        raise typer.Exit(error.exit_code) from error
    except OSError as error:
        if error.filename is None or error.errno is None:
            raise
        refused = _of_the_system(error)
        terminal.error(refused)
        raise typer.Exit(refused.exit_code) from error
    except KeyboardInterrupt as error:
        terminal.stopped()
        leave_if_a_thread_hangs(INTERRUPTED)
        raise typer.Exit(INTERRUPTED) from error


#: What to do about an error of the system that names a file; for all others the folder or its permissions.
_REMEDIES = {
    errno.ENAMETOOLONG: "Give a shorter path.",
    errno.ELOOP: "A link there leads back to itself: look with ls -l, and name the folder that is meant.",
    errno.EROFS: "The disk can only be read: choose a folder elsewhere, with --dataset or SHROOMCURATE_HOME.",
    errno.EMFILE: "Allow more open files, then type the same command again: ulimit -n 4096",
    errno.ENFILE: "The machine has too many files open: end what you do not need, then type the same command again.",
    errno.EIO: "The disk does not answer as it should: dmesg says more. Save what is on it before all else.",
    errno.ESTALE: "The network folder has gone away: mount it again, then type the same command again.",
}


def _of_the_system(error: OSError) -> ShroomError:
    """Return what the system refuses as an error for a person."""
    what = f"{os.fsdecode(error.filename)}: {error.strerror}."
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(what, "Make room, then type the same command again: what is finished is kept.")
    remedy = "Choose a folder that you may write to, with --dataset or SHROOMCURATE_HOME, or change its permissions."
    return NotWritable(what, _REMEDIES.get(error.errno or 0, remedy))


#: What this program writes beside ASCII, for terminals that have nothing else.
_IN_ASCII = {"→": "->", "…": "...", "–": "-", "×": "x", "©": "(c)", "●": "*", "✓": "+"}


def own_this_process() -> None:
    """Allow ^C to end this process at once, and keep any character from ending it.

    For the command line's entry point, not for tests or notebooks.
    """
    _own_process.set()
    gc.set_threshold(20_000, 20, 20)  # as rarely as pays: at the usual 700, a tenth of a download goes into looking
    codecs.register_error("shroomcurate", _instead)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="shroomcurate")
    if os.environ.get("NO_COLOR"):
        from typer import rich_utils  # draws --help

        rich_utils.COLOR_SYSTEM = None


def _instead(error: UnicodeError) -> tuple[str | bytes, int]:
    """Stand in for a character that a terminal's encoding lacks, and for bytes of a file's name that are no text."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(
        _IN_ASCII.get(each) or each.encode("ascii", "backslashreplace").decode() for each in lacking
    ), error.end


def _console(*, stderr: bool) -> Console:
    """Return a console; NO_COLOR (https://no-color.org) turns off bold and dim, too."""
    if os.environ.get("NO_COLOR"):
        return Console(stderr=stderr, highlight=False, no_color=True, color_system=None)
    return Console(stderr=stderr, highlight=False)


def leave_if_a_thread_hangs(code: int) -> None:
    """End this process at once when its ordinary end would wait, such as for a name server that does not answer."""
    waited_for = [each for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]
    if _own_process.is_set() and waited_for:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def shown(value: object) -> str:
    """Return a value as a person reads it: thousands separated, shares with three digits."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int) and not isinstance(value, Bytes | Seconds):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _plain(facts: Any) -> Any:
    """Return facts as JSON can hold them: what is not a number is null there."""
    if isinstance(facts, float):
        return facts if math.isfinite(facts) else None
    if is_dataclass(facts) and not isinstance(facts, type):
        facts = asdict(facts)
    if isinstance(facts, Mapping):
        return {str(name): _plain(value) for name, value in facts.items()}
    if isinstance(facts, list | tuple | set | frozenset):
        return [_plain(value) for value in facts]
    return facts


def _words(error: ShroomError) -> str:
    name = type(error).__name__
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip().capitalize()


#: Seconds of work before a bar is drawn: what is done by then needs none.
_BAR_AFTER = 0.5


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    from rich import progress as rich_progress
    from rich.spinner import Spinner

    class Bars(rich_progress.Progress):
        """Bars; between them, where nobody can tell how much is left, a sign that work goes on."""

        working = Spinner("line" if console.options.ascii_only else "dots", style="dim")
        quiet_since = began = time.monotonic()
        doing: tuple[str, float] | None = None  # work of which nobody knows the end, and since when

        def get_renderables(self) -> Iterable[RenderableType]:
            now = time.monotonic()
            if any(task.visible for task in self.tasks):
                self.quiet_since = now
                if now - self.began > _BAR_AFTER:
                    yield from super().get_renderables()
            elif now - self.quiet_since > _BAR_AFTER:
                label, since = self.doing or ("working", self.began)
                self.working.update(text=f"{label}, {timedelta(seconds=int(now - since))}")
                yield self.working

    bar = Bars(
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(bar_width=None),
        rich_progress.TaskProgressColumn(),
        rich_progress.TextColumn("{task.fields[amount]}"),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    tasks: dict[str, rich_progress.TaskID] = {}
    first: dict[str, int] = {}

    def progress(done: int, total: int, label: str) -> None:
        if label not in tasks:
            # What an earlier run did is no speed of this one.
            first[label] = done
            tasks[label] = bar.add_task(label, total=total or None, completed=done, amount="")
        task = bar.tasks[tasks[label]]
        amount = _amount(done, total, done - first[label], task.elapsed)
        bar.doing = None if total else (label, time.monotonic() - (task.elapsed or 0.0))
        bar.update(tasks[label], completed=done, total=total or None, amount=amount, visible=done < total)

    with bar:
        yield progress


def _lines(console: Console) -> Progress:
    last: dict[str, float] = {}
    start: dict[str, tuple[float, int]] = {}

    def progress(done: int, total: int, label: str) -> None:
        now = time.monotonic()
        began, first = start.setdefault(label, (now, done))
        # The first line of a stage waits too, so that short stages print none.
        if now - last.setdefault(label, now) >= _LINE_EVERY:
            last[label] = now
            share = f"{100 * done / total:.0f} %" if total else shown(done)
            if amount := _amount(done, total, done - first, now - began):
                share += f", {amount}"
                if done > first:
                    left = int((total - done) * (now - began) / (done - first))
                    share += f", {timedelta(seconds=left)} left"
            console.print(f"{label}: {share}", soft_wrap=True)

    return progress


def _amount(done: int, total: int, new: int, seconds: float | None) -> str:
    """Return how much came and how fast, for totals that can tell."""
    if isinstance(total, Noted):
        return ", ".join([*([f"{new / seconds:.0f}/s"] if seconds and new else []), total.note])
    if not isinstance(total, Bytes):
        return ""
    rate = f", {Bytes(new / seconds)}/s" if seconds and new else ""
    return f"{Bytes(done)} of {Bytes(total)}{rate}"

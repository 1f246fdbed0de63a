"""How a build looks in a terminal: what runs and why, what came of it, and what each class has."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from shroomcurate.cli.keys import as_keys
from shroomcurate.errors import ShroomError
from shroomcurate.progress import Bytes, Progress, silent
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.show import many, shortened, worst_first
from shroomcurate.terminal import Terminal

if TYPE_CHECKING:
    from shroomcurate.build import BuildSummary, LockedSummary, Step

_INDENT = 16


class Story:
    """Tells each step as it comes, with bars while it runs. Use it as a context."""

    def __init__(self, terminal: Terminal, file: Path) -> None:
        self._terminal = terminal
        self._file = file
        self._stage = ""
        self._bars = ExitStack()
        self._progress: Progress = silent

    def __enter__(self) -> Story:
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        self._bars.close()
        if isinstance(error, ShroomError) and (written := as_keys(error.hint, self._stage)):
            error.hint += f"\nIn {self._file.name}: {written}"

    def progress(self, done: int, total: int, label: str) -> None:
        """Draw the bars of the step that runs."""
        self._progress(done, total, label)

    def tell(self, step: Step, result: Any) -> None:
        """Tell that a step begins, or is left alone, or how it ended."""
        self._bars.close()
        self._progress = silent
        self._stage = step.stage
        if result is not None:
            self._terminal.item("", escape(_came_of(step, result)), _INDENT)
        elif step.why is None:
            self._terminal.item(step.stage, "current", _INDENT)
        else:
            self._terminal.item(step.stage, escape(step.why), _INDENT, style="bold")
            self._progress = self._bars.enter_context(self._terminal.progress())


def _came_of(step: Step, result: Any) -> str:
    words: dict[str, Callable[[Any], str]] = {
        "load-csvs": _loaded,
        "load-api": lambda found: _loaded(found.load),
        "query": lambda found: (
            f"{many(len(found.classes), 'class', 'classes')}, {many(found.wanted, 'photo', 'photos')}, "
            f"{found.reserve:,} in reserve"
        ),
        "download": _downloaded,
        "clean": _cleaned,
        "train-baseline": lambda found: "; ".join(f"top-1 {each.top1:.3f} ({each.run})" for each in found),
        "export": _exported,
        "report": lambda found: f"{found.path} ({Bytes(found.bytes)})",
    }
    return words[step.stage](result)


def _exported(summary: Any) -> str:
    from shroomcurate.export import LEFT_OUT

    left = "; ".join(f"{count:,} left out, {LEFT_OUT[why]}" for why, count in summary.left_out.items())
    where = f"{many(summary.photos, 'photo', 'photos')} in {summary.folder} ({Bytes(summary.bytes)})"
    return f"{where}{f'; {left}' if left else ''}. Pass ATTRIBUTION and NOTICE on with them"


def _loaded(report: Any) -> str:
    photos = f"{many(report.tables['photos'].kept, 'photo', 'photos')} in the catalogue"
    return f"{photos}, as before" if report.already_loaded else photos


def _downloaded(summary: Any) -> str:
    lost = ", ".join(f"{count:,} {status}" for status, count in summary.statuses.items() if status != "ok" and count)
    whole = summary.statuses.get("ok", 0) - summary.taken_out
    return f"{summary.fetched:,} fetched, {whole:,} here" + (f"; of all asked for, {lost}" if lost else "")


def _cleaned(summary: Any) -> str:
    moved = f"{summary.moved_out:,} moved out" + (f", {summary.moved_back:,} moved back" if summary.moved_back else "")
    return f"{summary.kept:,} kept, {summary.removed:,} removed; {moved} now"


def plan(terminal: Terminal, steps: Sequence[Step]) -> None:
    """Show what would run, and why."""
    rows = [(step.stage, "skip" if step.why is None else "run", step.why or "current") for step in steps]
    terminal.table("The plan", ("stage", "", "why"), rows)
    runs = any(step.why for step in steps)
    terminal.say("\nNothing was done (--dry-run)." if runs else "\nAll of it is current: there is nothing to do.")
    terminal.result({"steps": [{**asdict(step), "runs": step.why is not None} for step in steps]})


def build(terminal: Terminal, summary: BuildSummary) -> None:
    """Show what each class has, which are short and why."""
    rows = [
        (
            name,
            each.asked,
            _known(each.available),
            each.reserve_left,
            each.gone + each.corrupt + each.failed,
            _sum(each.removed),
            each.kept,
        )
        for name, each in summary.classes.items()
    ]
    header = ("class", "asked", "catalogue", "reserve left", "lost", "removed", "kept")
    terminal.table("Photos", header, shortened(rows))
    short = len(summary.shortages)
    if short:
        terminal.say(f"\n[yellow]{many(short, 'class is', 'classes are')} short:[/]")
        for name, missing in worst_first(summary.shortages)[:10]:
            terminal.item("", f"[bold]{escape(name)}[/] lacks {missing:,}: {escape(summary.classes[name].why)}", 2)
        if short > 10:
            terminal.say(f"  … {short - 10:,} more")
        lacking = [summary.classes[name] for name in summary.shortages]
        if any(each.available is None or each.available > each.selected for each in lacking):
            terminal.say("The catalogue has more of some: give a larger reserve below \\[query].")
    full = len(summary.classes) - short
    terminal.say(
        f"\n{summary.kept:,} clean photos; {full:,} of {many(len(summary.classes), 'class has', 'classes have')} all "
        f"{summary.per_class:,}. {many(summary.turns, 'round', 'rounds')} of cleaning."
    )
    if any(step.stage == "train-baseline" and step.why for step in summary.steps):
        terminal.say(f"[bold]{SAFETY_NOTICE}[/]")
    terminal.say(f"Each photo is named in [bold]{escape(summary.lock)}[/]", whole=True)
    terminal.result({**asdict(summary), "classes": {name: _class(each) for name, each in summary.classes.items()}})


def locked(terminal: Terminal, summary: LockedSummary) -> None:
    """Show which photos of the lock are not here."""
    for title, photos in (("Gone", summary.lost), ("Not what the lock names, and set aside", summary.changed)):
        terminal.table(
            title, ("photo", "because" if photos is summary.lost else "sha256"), shortened([*photos.items()])
        )
    terminal.say(
        f"\n{summary.same:,} of {many(summary.photos, 'photo', 'photos')} are here, "
        f"byte for byte as {escape(summary.lock)} says."
    )
    if not summary.met:
        lacking = many(summary.photos - summary.same, "is", "are")
        terminal.warn(f"{lacking} not. Type the same command again to ask once more.")
    terminal.result({**asdict(summary), "met": summary.met})


def init(terminal: Terminal, file: Path) -> None:
    """Show what to do with the file."""
    terminal.say(f"{escape(str(file))} is written. Change what you like, then:", whole=True)
    name = "" if file.name == "shroomcurate.toml" and file.parent == Path() else f" {shlex.quote(str(file))}"
    terminal.say(f"[bold]shroomcurate build{escape(name)} --dry-run[/]", whole=True)
    terminal.result({"file": str(file)})


def _class(each: Any) -> dict[str, Any]:
    return {**asdict(each), "short": each.short, "why": each.why}


def _known(count: int | None) -> object:
    return "–" if count is None else count


def _sum(counts: Mapping[str, int]) -> int:
    return sum(counts.values())

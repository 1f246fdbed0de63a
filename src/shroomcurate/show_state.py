"""How a dataset's and a machine's state look in a terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.markup import escape

from shroomcurate.progress import Bytes
from shroomcurate.show import many, shortened, worst_first
from shroomcurate.terminal import Terminal

if TYPE_CHECKING:
    from shroomcurate.doctor import Diagnosis
    from shroomcurate.status import DatasetStatus


def status(terminal: Terminal, found: DatasetStatus, title: str) -> None:
    """Show each stage's state, the shortages, and what to type next."""
    rows = []
    for stage in found.stages:
        counts = ", ".join(f"{count:,} {what}" for what, count in stage.counts.items() if count)
        if stage.stage == "report" and stage.counts:
            counts = str(Bytes(stage.counts["bytes"]))
        rows.append((stage.stage, stage.state, "\n".join([*([counts] if counts else []), *stage.details])))
    terminal.table(title, ("stage", "state", "photos"), rows)
    short = worst_first(found.shortages)
    title = f"Too few photos: {many(len(short), 'class', 'classes')}"
    terminal.table(title, ("class", "missing"), shortened(short, most=6))
    if found.next_command is None:
        terminal.say(f"\n{escape(found.because) or 'All of it is current.'}")
    next_step(terminal, found)
    terminal.result(found)


def next_step(terminal: Terminal, found: DatasetStatus) -> None:
    """Show what to type next, why, and what else serves; in the same words after every command."""
    if found.next_command:
        terminal.say(f"\nNext: [bold]{escape(found.next_command)}[/]", whole=True)
        if found.because:
            terminal.item("", escape(found.because), indent=6)
    for command, purpose in found.also.items():
        terminal.say(f"Also: [bold]{escape(command)}[/]", whole=True)
        terminal.item("", escape(purpose), indent=6)


#: How a check's end is drawn.
_COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(terminal: Terminal, found: Diagnosis) -> None:
    """Show each check, what follows from it and what to do about it."""
    for check in found.checks:
        said = f"[bold]{escape(check.name)}[/]: {escape(check.found)}"
        terminal.item(check.state, said, indent=9, style=_COLOURS[check.state])
        if check.means:
            terminal.item("", escape(check.means), indent=9)
        for line in check.todo:
            terminal.say(f"{'':9}→ {escape(line)}", whole=True)
    problems, warnings = found.problems, found.warnings
    if problems or warnings:
        terminal.say(f"\n{_many(problems, 'problem')}, {_many(warnings, 'warning')}.")
    else:
        terminal.say("\nAll is well.")
    terminal.result({**asdict(found), "problems": problems, "warnings": warnings})


def _many(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"

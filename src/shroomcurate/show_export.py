"""How an export, and the check of one, look in a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.markup import escape

from shroomcurate.licences import LICENCES, LICENSE_PROFILES, PERMITS
from shroomcurate.progress import Bytes
from shroomcurate.show import many, shortened
from shroomcurate.terminal import Terminal

if TYPE_CHECKING:
    from shroomcurate.export import ExportOptions, ExportSummary
    from shroomcurate.export.verify import Verification
    from shroomcurate.split import SplitOptions


def splitting(terminal: Terminal, state: str, options: SplitOptions) -> None:
    """Say that a split is made first, since there is none or it is out of date."""
    shares = "/".join(f"{100 * share:.4g}" for share in (options.train, options.val, options.test))
    was = "There is no split yet" if state == "missing" else "The split is out of date"
    terminal.say(f"{was}: it is made {'again, ' if state == 'stale' else ''}{shares}, without leaks …")


def export(terminal: Terminal, summary: ExportSummary, options: ExportOptions, split_made: str | None) -> None:
    """Show what was written, what one must heed, and what is not in it.

    Parameters
    ----------
    split_made
        Why a split was made for it; None when there was one, or none was wanted.
    """
    from shroomcurate.export import LEFT_OUT

    rows = [(name, count, LICENCES.get(name, _unknown(name))) for name, count in summary.licenses.items()]
    terminal.table("Licences", ("licence", "photos", "what it asks"), rows)
    _heed(terminal, summary, options)
    left = [(count, LEFT_OUT[why], summary.first_left_out[why]) for why, count in summary.left_out.items()]
    terminal.table("Not in it", ("photos", "because", "the first"), left)
    if summary.lacking:
        names = ", ".join(summary.lacking[:5]) + (" …" if len(summary.lacking) > 5 else "")
        terminal.warn(f"Classes of which no photo is in it: {len(summary.lacking):,}: {names}")
    splits = ", ".join(f"{count:,} {name}" for name, count in summary.splits.items()) or "no split"
    terminal.say(
        f"\n{many(summary.photos, 'photo', 'photos')} of {many(summary.classes, 'class', 'classes')} ({splits}), "
        f"{many(summary.files, 'file', 'files')}, {Bytes(summary.bytes)}, in [bold]{escape(summary.folder)}[/]",
        whole=True,
    )
    terminal.say("Pass ATTRIBUTION.csv or ATTRIBUTION.md, and NOTICE, on with the photos.")
    terminal.say(f"The manifest's sha256, to be cited: {summary.manifest_sha256}", whole=True)
    terminal.say(
        f"Check it at any time: [bold]shroomcurate verify {escape(shlex.quote(summary.folder))}[/]", whole=True
    )
    terminal.result({**asdict(summary), "split_made": split_made})


def _unknown(name: str) -> str:
    return "Not known: ask their owners before you pass them on." if name == "unknown" else "Ask its owner."


def _heed(terminal: Terminal, summary: ExportSummary, options: ExportOptions) -> None:
    """Say what may be done with all of it, and how much of it each profile would hold."""
    if options.licenses in LICENSE_PROFILES and set(summary.licenses) != {"unknown"}:
        terminal.say(f"\n--licenses {options.licenses}: {PERMITS[options.licenses]}")
    for sentence in summary.terms:
        terminal.item("-", escape(sentence), indent=2)
    if options.licenses == "any":
        others = _profiles(summary.licenses)
        if others and summary.terms:
            terminal.say(f"Of these, {others}. docs/licences.md says more; none of it is legal advice.")
    if unknown := summary.licenses.get("unknown"):
        terminal.warn(
            f"Of {many(unknown, 'photo', 'photos')} no licence is known: without one all rights are reserved. Pass "
            "them on only if their owners allow it."
        )


def _profiles(licenses: Mapping[str, int]) -> str:
    counts = {name: sum(licenses.get(each, 0) for each in LICENSE_PROFILES[name]) for name in ("commercial", "share")}
    return " and ".join(f"--licenses {name} would take {count:,}" for name, count in counts.items())


def verification(terminal: Terminal, found: Verification) -> None:
    """Show what is wrong with an export, file by file, or that nothing is."""
    terminal.table("Missing", ("file",), shortened([(path,) for path in found.missing]))
    terminal.table("Not of the export", ("file",), shortened([(path,) for path in found.extra]))
    terminal.table("Changed", ("file", "how"), shortened(list(found.changed.items())))
    terminal.table("Licences", ("photo", "how it differs"), shortened(list(found.licenses.items())))
    files = f"{many(found.files, 'file', 'files')} beside the manifest ({Bytes(found.bytes)})"
    what = f"{files} with {many(found.photos, 'photo', 'photos')}"
    if found.sound:
        terminal.say(f"\n[green]Sound[/]: {what}, as {escape(found.format)} was written by version {found.version}.")
    else:
        wrong = {
            "missing": len(found.missing),
            "not of the export": len(found.extra),
            "changed": len(found.changed),
            "with another licence": len(found.licenses),
        }
        counts = ", ".join(f"{count:,} {words}" for words, count in wrong.items() if count)
        terminal.say(f"\n[bold red]Not sound[/]: of {what}: {counts}.")
        terminal.say("Export it anew, or fetch it again from where it came.")
    terminal.say(f"The manifest's sha256: {found.manifest_sha256}", whole=True)
    terminal.result({**asdict(found), "sound": found.sound})

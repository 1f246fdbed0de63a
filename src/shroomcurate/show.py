"""How the result of each command looks in a terminal. The files hold all of it; a screen holds what matters."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from shroomcurate.dataset import Dataset
from shroomcurate.progress import Bytes
from shroomcurate.terminal import Terminal
from shroomcurate.verdicts import COLUMNS, csv_line

if TYPE_CHECKING:
    from shroomcurate.catalogue.api import ApiOptions, ApiReport
    from shroomcurate.catalogue.fetch import FetchReport
    from shroomcurate.catalogue.ledger import LoadReport
    from shroomcurate.clean import CleanSummary, Suggestion, Trust
    from shroomcurate.demo.score import CleaningScore
    from shroomcurate.download import DownloadPlan, DownloadSummary, RecheckSummary
    from shroomcurate.embed import EmbedSummary
    from shroomcurate.report import ReportSummary
    from shroomcurate.restore import RestoreSummary
    from shroomcurate.review import ReviewSummary
    from shroomcurate.select import QueryOptions, QuerySummary, Template


def fetch_dumps(terminal: Terminal, report: FetchReport) -> None:
    """Show which files are here, what came, and what to type next."""
    rows = [
        (name, str(Bytes(file.size)), file.last_modified or "–", "fetched" if name in report.fetched else "was here")
        for name, file in report.files.items()
    ]
    terminal.table(f"In {report.folder}", ("file", "size", "put on the server", "now"), rows)
    if report.fetched:
        resumed = f", {Bytes(report.bytes_resumed)} had come before" if report.bytes_resumed else ""
        terminal.say(f"\n{Bytes(report.bytes_fetched)} fetched{resumed}; every file unpacks to its end.")
        if report.cannot_resume:
            terminal.say("This server cannot resume: a file that breaks off begins anew.")
    else:
        terminal.say("\nAll of it is current; nothing was fetched.")
    terminal.say(f"Next: [bold]shroomcurate load-csvs {escape(shlex.quote(report.source))}[/]", whole=True)
    terminal.result(report)


def load_csvs(terminal: Terminal, report: LoadReport, *, diff: bool) -> None:
    """Show what was read, kept and left out, table by table."""
    rows = [(name, table.read, table.kept, _reasons(table.left_out)) for name, table in report.tables.items()]
    terminal.table("Loaded", ("table", "rows read", "kept", "left out"), rows)
    terminal.counts("Worth knowing", ("in the catalogue", "count"), report.facts)
    for name, table in report.tables.items():
        if table.not_utf8:
            terminal.say(f"{name}: {table.not_utf8:,} values are not UTF-8, such as {escape(table.not_utf8_example)}")
    if report.changes is not None:
        terminal.counts("Changed since the load before", ("change", "rows"), report.changes)
        each = "Each one is a row of the table inaturalist.changes."
        terminal.say(each if report.changes else "Nothing changed since the load before.")
    elif diff and report.already_loaded:
        terminal.say(
            "It was loaded without --diff, and the catalogue before it is gone: there is nothing to compare with."
        )
    elif diff:
        terminal.say("There is nothing to compare with: no load before, or one that kept other taxa or grades.")
    if report.already_loaded:
        terminal.say("This dump is in the catalogue already: nothing was done. --force loads it again.")
    terminal.result(report)


def load_api_ahead(terminal: Terminal, requests: int, there: int, options: ApiOptions) -> None:
    """Show how long it will take, before it starts."""
    time = f"{requests} seconds" if requests < 120 else f"{round(requests / 60)} minutes"
    if there:  # which of them are of use is known only as they are needed
        terminal.say(
            f"Up to about {requests:,} requests, one a second; {there:,} pages are there already, and what they hold "
            "is not asked for again."
        )
    else:
        terminal.say(
            f"About {requests:,} requests, one a second: {time} or more. What is fetched is not asked for again."
        )
    if options.contact is None:
        terminal.say("With --contact you@example.org, iNaturalist can write to you rather than block you.")


def load_api(terminal: Terminal, report: ApiReport, options: ApiOptions) -> None:
    """Show the photos of each species, those left out, the load, and what to type next."""
    rows = [(each.name, each.observations, each.photos, each.ended) for each in report.species]
    terminal.table("Fetched", ("species", "observations", "photos", "ended with"), shortened(rows))
    terminal.counts("Photos left out", ("because", "photos"), report.left_out)
    there = f", {report.pages_there:,} pages were there" if report.pages_there else ""
    since = f", the oldest of {report.oldest_page} (--fresh asks for all again)" if report.oldest_page else ""
    terminal.say(f"\n{report.requests:,} requests{there}{since}. The small dump: {escape(report.dump)}", whole=True)
    facts, tables = report.load.facts, report.load.tables
    terminal.say(
        f"In the catalogue: {tables['photos'].kept:,} photos of {tables['observations'].kept:,} observations by "
        f"{tables['observers'].kept:,} observers."
    )
    terminal.counts("Worth knowing", ("in the catalogue", "count"), facts)
    short = sum(each.photos < options.per_species for each in report.species)
    if short:
        terminal.warn(f"{short:,} species have fewer than {options.per_species:,} photos.")
    covered = sum(each.photos > 0 for each in report.species)
    terminal.say(
        f"\nNext: [bold]shroomcurate query --species {covered} --per-class {options.per_species}[/], "
        "then [bold]shroomcurate download --size small[/]"
    )
    terminal.result(report)


def query(terminal: Terminal, summary: QuerySummary, options: QueryOptions) -> None:
    """Show the classes, the licences, and why the other photos were left out."""
    rows = [(count.name, count.wanted, count.reserve) for count in summary.classes]
    terminal.table("Selected", ("class", "photos", "reserve"), shortened(rows))
    terminal.counts("Licences", ("licence", "photos and reserve"), summary.licenses)
    title = f"Left out, of {many(summary.photos_in_catalogue, 'photo', 'photos')} in the catalogue"
    terminal.counts(title, ("because", "photos"), summary.left_out)
    classes, wanted = many(len(summary.classes), "class", "classes"), many(summary.wanted, "photo", "photos")
    terminal.say(f"\n{classes}, {wanted}, {summary.reserve:,} in reserve.")
    if options.names is None and options.template is None and len(summary.classes) < options.species:
        terminal.warn(f"You asked for {options.species:,} classes; the catalogue has no more.")
    if summary.without_photos:
        some = ", ".join(summary.without_photos[:5]) + (", …" if len(summary.without_photos) > 5 else "")
        classes = many(len(summary.without_photos), "class", "classes")
        terminal.warn(f"Of the list, {classes} without photos or with too few: {some}")
    if summary.short:
        classes = many(len(summary.short), "class has", "classes have")
        terminal.warn(f"{classes} fewer than {options.per_class:,} photos in all.")
    if summary.excluded_ids and not summary.excluded_found:
        terminal.warn(f"--exclude left nothing out: 0 of {summary.excluded_ids:,} ids are in the catalogue.")
    if options.quality != "research":
        terminal.warn("Observations that are not of research grade are here: nobody has confirmed what they show.")
    terminal.result(summary)


def templates(terminal: Terminal, found: Sequence[Template]) -> None:
    """Show each template of ``query`` with its typed parameters."""
    for template in found:
        rows = [
            (f":{each.name}", each.type, each.meaning) for each in template.parameters if each.name in template.used()
        ]
        terminal.table(f"{template.name}: {template.description}", ("parameter", "type", "meaning"), rows)
    terminal.say("\nA file of your own declares its parameters in the same way. query --show-sql prints a whole one.")
    terminal.result([{"name": each.name, **asdict(each)} for each in found])


def download_plan(terminal: Terminal, plan: DownloadPlan, *, recheck: bool = False, verify: bool = False) -> None:
    """Show what would be fetched, and whether it fits."""
    terminal.say(
        f"{many(plan.photos, 'photo', 'photos')} to ask for in {many(plan.classes, 'class', 'classes')}, "
        f"about {Bytes(plan.expected_bytes)}; "
        f"{plan.already_there:,} are here. {Bytes(plan.free_bytes)} are free."
    )
    warn_of_space(terminal, plan)
    if recheck:
        asked = many(plan.known, "photo that is", "photos that are")
        terminal.say(f"Before that --recheck would ask about {asked} here.")
    if verify:
        terminal.say("Photos are hashed (--verify) in a real run only: damaged ones would be asked for besides.")
    terminal.say("Nothing was asked for (--dry-run).")
    terminal.result(plan)


def warn_of_space(terminal: Terminal, plan: DownloadPlan) -> None:
    """Say so when the photos will probably not fit on the disk."""
    if plan.expected_bytes > plan.free_bytes:
        terminal.warn(
            f"About {Bytes(plan.expected_bytes)} to come, and room for {Bytes(plan.free_bytes)}: the disk will probably"
            " be full before the end. What has come by then is kept."
        )


def recheck(terminal: Terminal, summary: RecheckSummary, why_not: str | None) -> None:
    """Show what was taken out since it was taken down or relicensed."""
    terminal.counts("Taken out", ("because", "photos"), summary.withdrawn)
    withdrawn = sum(summary.withdrawn.values())
    terminal.say(
        f"\n{many(summary.checked, 'photo', 'photos')} asked about again; {withdrawn:,} moved to removed/withdrawn/."
        + (f" {summary.unanswered:,} without a clear answer stay." if summary.unanswered else "")
    )
    if why_not:
        terminal.say(f"Licences were not compared: {escape(why_not)}.")


def download(terminal: Terminal, summary: DownloadSummary, rechecked: RecheckSummary | None = None) -> None:
    """Show how the photos ended, and which classes are short."""
    terminal.counts("Photos asked for, all runs together", ("status", "photos"), summary.statuses)
    whole = summary.statuses.get("ok", 0)
    rate = f" ({summary.fetched / summary.seconds:,.0f} a second)" if summary.fetched >= 100 and summary.seconds else ""
    terminal.say(
        f"\n{many(whole, 'photo', 'photos')} in {many(summary.classes, 'class', 'classes')}, "
        f"{Bytes(summary.bytes)}: {summary.fetched:,} fetched now{rate}, "
        f"{summary.already_there:,} were there; {summary.from_reserve:,} come from the reserve."
    )
    if summary.taken_out:
        terminal.say(f"{summary.taken_out:,} of the {whole:,} are in removed/; the reserve stands in for them.")
    if summary.damaged:
        terminal.warn(
            f"Photos on disk that were not what had come: {summary.damaged:,}. They were asked for again; what lay "
            "there is in unselected/ now, as damaged-…"
        )
    elif summary.hashed:
        terminal.say(f"Photos on disk that were hashed: {summary.hashed:,}. All are as they came.")
    if summary.unselected:
        terminal.say(f"{many(summary.unselected, 'file', 'files')} not needed by the dataset now lie in unselected/.")
    short = worst_first(summary.shortages)
    terminal.table("Too few photos, and none left in the reserve", ("class", "missing"), shortened(short))
    if short:
        terminal.say("Where the catalogue has more photos of a class, `query` with a larger --reserve selects them.")
    if short and summary.statuses.get("gone"):
        terminal.say("If gone photos should be there, as after a wrong --base-url: download --retry-gone asks again.")
    terminal.result(summary if rechecked is None else {**asdict(summary), "recheck": asdict(rechecked)})


def clean(terminal: Terminal, summary: CleanSummary, embedded: EmbedSummary, dataset: Dataset) -> None:
    """Show what was removed and why, and what was left alone."""
    rows = [(name, counts["kept"], counts["removed"]) for name, counts in summary.classes.items()]
    terminal.table("Judged", ("class", "kept", "removed"), shortened(rows))
    terminal.counts("Removed", ("reason", "photos"), summary.reasons)
    terminal.table("Left alone", ("class", "because"), shortened(list(summary.left_alone.items())))
    if any("cluster" in why for why in summary.left_alone.values()):
        terminal.say("Where clusters are too small a larger --eps helps, or --auto-eps.")
    terminal.table("The eps of each class (--auto-eps)", ("class", "eps"), shortened(list(summary.eps.items())))
    terminal.table("Not decodable", ("photo", "because"), shortened(list(embedded.undecodable.items())))
    if embedded.outside:
        terminal.warn(
            f"Not looked at: {many(embedded.outside, 'file', 'files')} beside the class folders, or in folders within "
            f"them. A photo lies in {dataset.images.name}/<Class>/."
        )
    moved = "Nothing was moved (--dry-run)." if summary.dry_run else f"{summary.moved_out:,} moved to removed/."
    if summary.moved_back:
        moved += f" {summary.moved_back:,} moved back."
    terminal.say(f"\n{many(summary.kept, 'photo', 'photos')} kept, {summary.removed:,} removed. {moved}")
    if not embedded.head and embedded.embedder != "classic":
        terminal.say("There are no weights of ImageNet's head: the evidence and the reasons are of the pixels alone.")
    for who, what in (("model", "what other photos teach, against DBSCAN's word"), ("person", "verdicts.csv")):
        if decided := summary.decided_by.get(who):
            terminal.say(f"Decided by {what}: {decided:,}.")
    if summary.conflicts:
        terminal.say(
            f"Gone because the same photo stands in two classes, of which one is wrong: {summary.conflicts:,}. They "
            "lie in removed/duplicate; duplicate_of in clean.parquet names the other one. Give the right one a "
            "verdict: keep."
        )
    if summary.without_photo:
        first = escape(summary.without_photo[0])
        terminal.warn(f"Verdicts that name no photo that is here: {len(summary.without_photo):,}, the first: {first}")
    if summary.unfinished:
        terminal.warn(summary.unfinished)
    if summary.trust:
        _trust(terminal, summary.trust)
    _suggestions(terminal, summary.suggestions, dataset)
    terminal.result(summary)


def _trust(terminal: Terminal, trust: Trust) -> None:
    terminal.say(
        f"How far to trust the model: it gets {trust.agreed:,} of {trust.verdicts:,} verdicts right "
        f"({trust.agreed / trust.verdicts:.0%}) without knowing the one in question. It would remove "
        f"{trust.would_remove:,} that you keep, and keep {trust.would_keep:,} that you remove."
    )


def _suggestions(terminal: Terminal, suggestions: Sequence[Suggestion], dataset: Dataset) -> None:
    rows = [(of.path, f"{of.score:.2f}", (of.reason or "kept").replace("_", " ")) for of in suggestions]
    terminal.table("A verdict on these would teach most", ("photo", "score (noise above 0.5)", "now"), rows)
    if suggestions:
        first = suggestions[0]
        file = escape(str(dataset.path("verdicts.csv")))
        terminal.say(
            "Look at each; one that was removed lies in removed/REASON/CLASS. Then add a line a photo, such as the "
            f"second or the third of these, to {file} and type the command again:"
        )
        for line in (COLUMNS, (first.path, "keep", "", "", ""), (first.path, "remove", first.reason or "", "", "")):
            terminal.say(f"  [bold]{escape(csv_line(line))}[/]", whole=True)


def restore(terminal: Terminal, summary: RestoreSummary) -> None:
    """Show what came back."""
    terminal.table("Restored", ("class", "photos"), shortened(list(summary.classes.items())))
    terminal.say(f"\nBack: {many(summary.restored, 'photo', 'photos')}. {summary.still_removed:,} stay removed.")
    if summary.restored:
        terminal.say(
            "From now on clean keeps them, whatever its options: their lines in verdicts.csv, with the note restore, "
            "say so. To take it back, delete these lines and type clean."
        )
    if summary.overruled:
        terminal.warn(f"Of these verdicts.csv had told to remove: {summary.overruled:,}.")
    if summary.missing:
        terminal.warn(f"{len(summary.missing):,} photos are no longer under removed/.")
    terminal.result(summary)


def review_open(terminal: Terminal, url: str) -> None:
    """Show where the page is. On the error stream, so that it is seen with --json and --quiet too."""
    terminal.err.print(f"The page is at [bold]{escape(url)}[/]", soft_wrap=True)
    terminal.err.print("It is for this machine alone. End it with ^C.", soft_wrap=True)


def review(terminal: Terminal, summary: ReviewSummary, dataset: Dataset) -> None:
    """Show how many verdicts were given, and what to type next."""
    terminal.say(f"\n{summary.given:,} verdicts written to {escape(str(dataset.path('verdicts.csv')))}.")
    if summary.waiting:
        terminal.say(f"{summary.waiting:,} are not applied yet: [bold]shroomcurate clean {escape(dataset.option)}[/]")
    terminal.result(summary)


def report(terminal: Terminal, summary: ReportSummary) -> None:
    """Show where the page lies and what is not in it yet."""
    terminal.table("Not in it yet", ("section", "made by"), list(summary.missing.items()))
    terminal.say(f"{escape(summary.path)} ({Bytes(summary.bytes)}, {summary.thumbnails} photos shown)", whole=True)
    terminal.result(summary)


def demo(terminal: Terminal, score: CleaningScore, took: Mapping[str, float], page: str) -> None:
    """Show what each command took and how cleaning compares with what was painted."""
    terminal.table("What each command took", ("command", "seconds"), [(name, f"{s:.1f}") for name, s in took.items()])
    kinds = [(kind.replace("_", " "), tally.found, tally.missed) for kind, tally in score.kinds.items()]
    terminal.table("Cleaning against the truth", ("planted picture", "found", "missed"), kinds)
    terminal.say(f"F1 {score.f1:.2f}: precision {score.precision:.2f}, recall {score.recall:.2f}.")
    terminal.say("These photos are painted, and judged without a network's weights: it does far better on real ones.")
    terminal.say(f"\n{sum(took.values()):.0f} s in all. The report: [bold]{escape(page)}[/]", whole=True)
    folder = escape(shlex.quote(str(Path(page).parent)))
    terminal.say(f"Look at its photos: [bold]shroomcurate review --dataset {folder}[/]", whole=True)
    terminal.say(
        "The server of the painted photos has ended, and nobody else has them: for download and build, type "
        "[bold]shroomcurate demo --serve 8765[/] and the words that it prints.",
    )
    terminal.result({"seconds": dict(took), "cleaning": asdict(score), "report": page})


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "–"


def many(number: int, one: str, several: str) -> str:
    """Return a number and what it counts."""
    return f"{number:,} {one if number == 1 else several}"


def worst_first(shortages: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return class and photos missing, those that lack most first."""
    return sorted(shortages.items(), key=lambda item: (-item[1], item[0]))


def shortened(rows: Sequence[tuple[object, ...]], most: int = 20) -> Sequence[tuple[object, ...]]:
    """Return a long list's first and last rows; the files hold them all."""
    if len(rows) <= most:
        return rows
    between = (f"… {len(rows) - most + 1:,} more …", *("" for _ in rows[0][1:]))
    return [*rows[: most // 2], between, *rows[len(rows) - most // 2 + 1 :]]

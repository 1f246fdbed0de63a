"""Find photos that were taken down or relicensed since they came, and take them out.

Reads: ``downloads.parquet``, ``selection.parquet``. Writes: ``downloads.parquet``; moves photos to
``removed/withdrawn/<Class>/``. Resumes: run it again.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shroomcurate import transport
from shroomcurate.dataset import Dataset, Receipt, read_receipt, read_table, write_table
from shroomcurate.download.crew import Crew, End
from shroomcurate.download.journal import JOURNAL, Journal
from shroomcurate.download.known import Known, look
from shroomcurate.download.manifest import Photo, Record, as_table, manifest
from shroomcurate.download.options import DownloadOptions
from shroomcurate.download.places import WITHDRAWN, set_aside
from shroomcurate.download.server import Server
from shroomcurate.progress import Noted, Progress, silent


@dataclass(frozen=True)
class RecheckSummary:
    """What was found. The classes lack these photos now; the next download fills them up."""

    checked: int
    """Photos that the server was asked about."""
    withdrawn: dict[str, int]
    """Why -> photos that were moved to ``removed/withdrawn/``."""
    unanswered: int
    """Photos about which the server gave no clear answer; they stay."""
    licenses_checked: bool
    """Whether the licences were compared with the catalogue."""
    requests: int
    """Requests that it made."""


def recheck(
    dataset: Dataset,
    options: DownloadOptions = DownloadOptions(),
    licenses: Mapping[int, str | None] | None = None,
    progress: Progress = silent,
) -> RecheckSummary:
    """Ask the server about every photo that is here, and take out those that are gone or have another licence.

    Parameters
    ----------
    licenses
        photo_id -> its licence by a newer catalogue, None where that does not hold the photo any more; photos that it
        cannot know are left away. Without it only the server is asked.
    progress
        Called as ``progress(photos checked, photos, "recheck")``.

    Raises
    ------
    StageMissing
        Nothing has been downloaded yet.
    NetworkDown
        The server cannot be reached, or has nothing any more; nothing is taken out.
    KeyboardInterrupt
        ^C. Nothing is taken out.
    """
    dataset.require("downloads.parquet")
    with dataset.lock("download --recheck"):
        known = look(dataset, options)
        run = _Recheck(options, progress, known)
        transport.run_to_end(run.run())
        answered = {record.photo_id for record in run.gone}
        gone = [*run.gone, *_relicensed(dataset, known, licenses or {}, answered)]
        if gone:
            _take_out(dataset, options, known, gone)
    return RecheckSummary(
        checked=run.checked,
        withdrawn=dict(sorted(Counter(str(record.error) for record in gone).items())),
        unanswered=run.unanswered,
        licenses_checked=licenses is not None,
        requests=run.server.requests,
    )


class _Recheck:
    """Asks for the head of each photo: the bucket answers as for the photo itself."""

    def __init__(self, options: DownloadOptions, progress: Progress, known: Known) -> None:
        self.options = options
        self.progress = progress
        self.known = known
        self.photos = list(known.whole())
        self.server = Server(options)
        self.gone: list[Record] = []
        self.checked = self.unanswered = 0
        self.shown_at = -math.inf

    async def run(self) -> None:
        self.crew = Crew(self.server, self, self.known.came_before())
        for photo in self.photos:
            self.crew.add(photo)
        if self.photos:
            async with self.server:
                await self.crew.run()

    async def settle(self, photo: Photo) -> End:
        """Return whether the server still has it."""
        if not photo.extension:
            return End(Record(photo.photo_id, "failed", error="the selection does not name its file end"))
        url = self.server.address(photo.photo_id, photo.extension)
        answer, made = await self.server.ask(url, self.options.attempts, "HEAD")
        status = {"ok": "ok", "gone": "gone", "unreachable": "pending"}.get(answer.kind, "failed")
        record = Record(photo.photo_id, status, answer.http_status, attempts=made, error=answer.error)
        return End(record, answer.number)

    def expects(self) -> bool:
        """Heads are judged at once."""
        return False

    def hole(self, photo: Photo) -> None:
        """Nothing stands in for it yet."""

    def done(self, _: Photo, record: Record) -> None:
        """Take note of what the server says."""
        self.checked += 1
        self.unanswered += record.status == "failed"
        if record.status == "gone":
            self.gone.append(record._replace(error=f"withdrawn: {record.error}"))
        self.show()

    def show(self) -> None:
        """Report progress, ten times a second at most."""
        now = time.monotonic()
        if now - self.shown_at > 0.1 or self.checked == len(self.photos):
            self.shown_at = now
            waits = "" if self.crew.steady.is_set() else ", waiting for the server"
            self.progress(self.checked, Noted(len(self.photos), f"{len(self.gone):,} gone{waits}"), "recheck")


def _relicensed(
    dataset: Dataset, known: Known, licenses: Mapping[int, str | None], answered: Collection[int]
) -> Iterator[Record]:
    """Yield the end of each photo whose licence is not the one that the selection names: without an HTTP status."""
    table = read_table(dataset.require("selection.parquet"), ["photo_id", "license"])
    named = dict(zip(table["photo_id"].to_pylist(), table["license"].to_pylist(), strict=True))
    for photo in known.whole():
        photo_id = photo.photo_id
        if photo_id in answered or photo_id not in licenses or licenses[photo_id] == named[photo_id]:
            continue
        what = f"relicensed from {named[photo_id]} to {licenses[photo_id]}"
        if licenses[photo_id] is None:
            what = "withdrawn: no longer in the catalogue, or no longer of its grade"
        yield Record(photo_id, "gone", error=what)


def _take_out(dataset: Dataset, options: DownloadOptions, known: Known, gone: Sequence[Record]) -> None:
    """Call the photos gone, in the journal and then in the table, then move them.

    In this order: a kill in between leaves files that the manifest does not have, which the next download sets aside.
    """
    broken_off = dataset.path(JOURNAL).exists()
    journal = Journal(dataset, options.size)
    journal.append(*gone)
    journal.close()
    known.records.update((record.photo_id, record) for record in gone)
    table = dataset.path("downloads.parquet")
    receipt = read_receipt(table) or Receipt("download", {"size": options.size})
    rows = manifest(known.classes, known.earlier | known.records, known.taken_out)
    write_table(table, as_table(rows), receipt)
    if not broken_off:
        dataset.path(JOURNAL).unlink()
    for record in gone:
        set_aside(dataset, known.places[record.photo_id], dataset.removed / WITHDRAWN)

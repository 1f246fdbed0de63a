"""Find photos that were taken down or relicensed since they came, and take them out.

Reads: ``downloads.parquet``, ``selection.parquet``. Writes: ``downloads.parquet``; moves photos to
``removed/withdrawn/<Class>/``. Resumes: run it again.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from shroomcurate import transport
from shroomcurate.dataset import Dataset, Receipt, read_receipt, read_table, write_table
from shroomcurate.download.crew import Crew
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
        reasons = _relicensed(dataset, known, licenses or {})
        reasons |= {photo_id: f"withdrawn: {error}" for photo_id, error in run.gone.items()}
        _take_out(dataset, options, known, reasons)
    return RecheckSummary(
        checked=run.checked,
        withdrawn=dict(sorted(Counter(reasons.values()).items())),
        unanswered=run.unanswered,
        licenses_checked=licenses is not None,
    )


class _Recheck:
    """Asks for the head of each photo: the bucket answers as for the photo itself."""

    def __init__(self, options: DownloadOptions, progress: Progress, known: Known) -> None:
        self.options = options
        self.progress = progress
        self.known = known
        self.photos = list(known.whole())
        self.server = Server(options)
        self.gone: dict[int, str] = {}
        self.checked = self.unanswered = 0
        self.shown_at = -math.inf

    async def run(self) -> None:
        crew = Crew(self.server, self, self.known.canaries())
        for photo in self.photos:
            crew.add(photo)
        if self.photos:
            async with self.server:
                await crew.run()

    async def settle(self, photo: Photo) -> Record:
        """Return whether the server still has it."""
        if not photo.extension:
            return Record(photo.photo_id, "failed", error="the selection does not name its file end")
        url = self.server.address(photo.photo_id, photo.extension)
        answer, made = await self.server.ask(url, self.options.attempts, "HEAD")
        status = {"ok": "ok", "gone": "gone", "unreachable": "pending"}.get(answer.kind, "failed")
        return Record(photo.photo_id, status, answer.http_status, attempts=made, error=answer.error)

    def expects(self) -> bool:
        """Heads are judged at once."""
        return False

    def hole(self, photo: Photo) -> None:
        """Nothing stands in for it yet."""

    def done(self, photo: Photo, record: Record) -> None:
        """Take note of what the server says."""
        self.checked += 1
        self.unanswered += record.status == "failed"
        if record.status == "gone":
            self.gone[photo.photo_id] = str(record.error)
        now = time.monotonic()
        if now - self.shown_at > 0.1 or self.checked == len(self.photos):
            self.shown_at = now
            self.progress(self.checked, Noted(len(self.photos), f"{len(self.gone):,} gone"), "recheck")


def _relicensed(dataset: Dataset, known: Known, licenses: Mapping[int, str | None]) -> dict[int, str]:
    """Return the photos whose licence is not the one that the selection names, and what became of it."""
    table = read_table(dataset.require("selection.parquet"), ["photo_id", "license"])
    named = dict(zip(table["photo_id"].to_pylist(), table["license"].to_pylist(), strict=True))
    found = {}
    for photo in known.whole():
        before = named[photo.photo_id]
        now = licenses.get(photo.photo_id, before)
        if now is None:
            found[photo.photo_id] = "withdrawn: no longer in the catalogue, or no longer of its grade"
        elif now != before:
            found[photo.photo_id] = f"relicensed from {before} to {now}"
    return found


def _take_out(dataset: Dataset, options: DownloadOptions, known: Known, reasons: Mapping[int, str]) -> None:
    """Call the photos gone, in the journal and then in the table, then move them.

    In this order: a kill in between leaves files that the manifest does not have, which the next download sets aside.
    """
    if not reasons:
        return
    broken_off = dataset.path(JOURNAL).exists()
    journal = Journal(dataset, options.size)
    gone = [Record(photo_id, "gone", error=reason) for photo_id, reason in reasons.items()]
    journal.append(*gone)
    journal.close()
    known.records.update((record.photo_id, record) for record in gone)
    table = dataset.path("downloads.parquet")
    receipt = read_receipt(table) or Receipt("download", {"size": options.size})
    write_table(table, as_table(manifest(known.classes, known.records, known.taken_out)), receipt)
    if not broken_off:
        dataset.path(JOURNAL).unlink()
    for photo_id in reasons:
        set_aside(dataset, known.places[photo_id], dataset.removed / WITHDRAWN)

"""Check an export against its manifest: every file, every hash, every photo's licence."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from shroomcurate.export.credit import TABLE, guarded
from shroomcurate.export.manifest import Manifest, empty_folders, files_in, hashed, read_manifest
from shroomcurate.progress import Bytes, Progress, silent
from shroomcurate.summary import Summary


@dataclass(frozen=True)
class Verification(Summary):
    """What became of an export. It is sound when all lists are empty."""

    folder: str
    format: str
    version: str
    """Of shroomcurate, when it was written."""
    manifest_sha256: str
    """Compare it with what `export` printed: who changes the manifest, too, changes this."""
    files: int
    bytes: int
    photos: int
    missing: list[str] = field(default_factory=list)
    """Files of the manifest that are not there."""
    extra: list[str] = field(default_factory=list)
    """Files that the manifest does not know, and empty folders that nothing of it lies in, with ``/`` at the end."""
    changed: dict[str, str] = field(default_factory=dict)
    """File -> what is wrong with it: its size, its hash, or that it is a link where none was written."""
    licenses: dict[str, str] = field(default_factory=dict)
    """Photo -> how its licence in ``ATTRIBUTION.csv`` differs from the manifest's, or that it has no row there."""

    @property
    def sound(self) -> bool:
        """Whether the export is what was written."""
        return not (self.missing or self.extra or self.changed or self.licenses)


def verify(folder: Path, progress: Progress = silent) -> Verification:
    """Check an export of any format.

    Raises
    ------
    SourceMissing
        The folder is no export.
    DamagedFile
        Its manifest cannot be read.
    """
    manifest = read_manifest(folder)
    found = set(files_in(folder))
    there = {path for path in found if (folder / path).is_file()}  # a link to nothing is not, nor is a pipe
    folders = {f"{parent.as_posix()}/" for path in manifest.files for parent in Path(path).parents}
    changed = _changed(folder, manifest, there, progress)
    return Verification(
        folder=str(folder),
        format=str(manifest.about.get("format")),
        version=str(manifest.about.get("version")),
        manifest_sha256=manifest.sha256,
        files=len(manifest.files),
        bytes=sum(size for size, _ in manifest.files.values()),
        photos=len(manifest.photos),
        missing=sorted(manifest.files.keys() - there),
        extra=sorted((found - manifest.files.keys()) | (empty_folders(folder) - folders)),
        changed=changed,
        licenses=_licenses(folder / TABLE, manifest),
    )


def _changed(folder: Path, manifest: Manifest, there: set[str], progress: Progress) -> dict[str, str]:
    known = sorted(manifest.files.keys() & there)
    total = Bytes(sum(manifest.files[path][0] for path in known))
    found, done = {}, 0
    linked = manifest.about["options"]["link"] == "symlink"
    for path, size, digest in hashed(folder, known):
        then, hash_then = manifest.files[path]
        if size != then:
            found[path] = f"{size:,} bytes, not {then:,}"
        elif digest != hash_then:
            found[path] = f"other bytes: sha256 {digest[:12]}…, not {hash_then[:12]}…"
        elif not linked and (folder / path).is_symlink():
            found[path] = "a link to a file elsewhere, not a file"
        done += then
        progress(done, total, "hash files")
    return found


def _licenses(table: Path, manifest: Manifest) -> dict[str, str]:
    """Return the photos whose licence is not that of the manifest; none where the table is missing, which is told."""
    if not table.is_file():
        return {}
    try:
        with table.open(encoding="utf-8", newline="") as handle:
            now = {row["file"]: row["license"] for row in csv.DictReader(handle)}
    except (KeyError, UnicodeDecodeError, csv.Error):
        return {}  # it has other bytes, then, and is named for that
    then = {guarded(photo["file"]): photo["license"] or "" for photo in manifest.photos}
    found = dict.fromkeys(now.keys() - then.keys(), "the manifest has no such photo")
    for file, license_name in then.items():
        if file not in now:
            found[file] = f"has no row in {TABLE}"
        elif now[file] != license_name:
            found[file] = f"{TABLE} says {now[file] or 'nothing'}, the manifest {license_name or 'nothing'}"
    return dict(sorted(found.items()))

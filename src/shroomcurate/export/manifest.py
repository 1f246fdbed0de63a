"""The list of all that an export holds, ``MANIFEST.json``: every file with size and hash, every photo's licence.

It also says how the export was made: version, options, and the receipts of the tables behind it. It has a line a file
and a line a photo, so that two of them can be compared with diff.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shroomcurate import __version__
from shroomcurate.dataset import file_hash, write_bytes
from shroomcurate.errors import DamagedFile, SourceMissing
from shroomcurate.export.options import ExportOptions
from shroomcurate.export.records import Records
from shroomcurate.progress import Progress, silent

FILE = "MANIFEST.json"

#: Of a command at work; a kill may leave it.
LOCK = ".lock"

#: What the manifest says of each photo.
PHOTO = ("file", "split", "photo_id", "license", "sha256")


@dataclass(frozen=True)
class Manifest:
    """What an export says of itself.

    Attributes
    ----------
    about
        ``format``, ``version``, ``options``, ``receipts``, ``name``, ``classes``, …
    files
        Path inside the export, with ``/`` -> size in bytes, sha256.
    photos
        The columns of :data:`PHOTO` of each photo.
    sha256
        Of the manifest itself: to cite, for what has this hash is this export.
    """

    about: Mapping[str, Any]
    files: Mapping[str, tuple[int, str]]
    photos: list[dict[str, Any]]
    sha256: str


def files_in(folder: Path) -> Iterator[str]:
    """Yield every file in a folder by its path in there, with ``/``, sorted; not its manifest."""
    found = []
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]  # noqa: PTH114, PTH118
        for name in [*files, *links]:
            path = Path(parent, name).relative_to(folder).as_posix()
            if path != FILE:
                found.append(path)
    yield from sorted(found)


def empty_folders(folder: Path) -> set[str]:
    """Return the folders in a folder that hold nothing, each by its path in there, with ``/`` at its end."""
    return {
        Path(parent).relative_to(folder).as_posix() + "/"
        for parent, folders, files in os.walk(folder)
        if not folders and not files
    }


def foreign_files(folder: Path, progress: Progress = silent) -> list[str]:
    """Return the files in an export that its manifest does not know, or knows with other bytes, sorted.

    A link says nothing of the file that it leads to, which stays where it is.
    """
    known = read_manifest(folder).files
    found = [path for path in files_in(folder) if path != LOCK]
    listed = [path for path in found if path in known]
    links = {path for path in listed if (folder / path).is_symlink()}
    same_size = [path for path in listed if path not in links and (folder / path).stat().st_size == known[path][0]]
    now = hashed(folder, same_size, progress, "compare with the former export")
    own = links | {path for path, *content in now if tuple(content) == known[path]}
    return [path for path in found if path not in own]


def write_manifest(records: Records, folder: Path, options: ExportOptions, progress: Progress = silent) -> Manifest:
    """Write the manifest of what stands in a folder, and return it."""
    paths = [path for path in files_in(folder) if path != LOCK]
    files = {path: (size, digest) for path, size, digest in hashed(folder, paths, progress)}
    about = _about(records, options)
    photos = [{name: row[name] for name in PHOTO} for row in records.rows()]
    text = _text(about, files, photos)
    write_bytes(folder / FILE, text)
    return Manifest(about, files, photos, hashlib.sha256(text).hexdigest())


def hashed(
    folder: Path, paths: list[str], progress: Progress = silent, label: str = "hash files"
) -> Iterator[tuple[str, int, str]]:
    """Yield path, size in bytes and sha256 of files, in their order. Files of another thread are hashed meanwhile."""

    def one(path: str) -> tuple[str, int, str]:
        file = folder / path
        return path, file.stat().st_size, file_hash(file)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        for done, found in enumerate(threads.map(one, paths), start=1):
            yield found
            progress(done, len(paths), label)


def _about(records: Records, options: ExportOptions) -> dict[str, Any]:
    return {
        "made_by": "shroomcurate export",
        "version": __version__,
        "format": options.format,
        "options": options.made_with(),
        "name": records.name,
        "description": records.description,
        "created": records.created,
        "classes": list(records.classes),
        "dump": dict(records.dump),
        "receipts": {name: json.loads(receipt.to_json()) for name, receipt in sorted(records.receipts.items())},
    }


def _text(about: Mapping[str, Any], files: Mapping[str, tuple[int, str]], photos: list[dict[str, Any]]) -> bytes:
    listed = [{"path": path, "bytes": size, "sha256": digest} for path, (size, digest) in files.items()]
    return "".join(lined(about, {"files": listed, "photos": photos})).encode()


def lined(head: Mapping[str, Any], lists: Mapping[str, Iterable[Mapping[str, Any]]]) -> Iterator[str]:
    """Yield the parts of a JSON object: the head indented, then each list with a line an entry."""
    yield json.dumps(head, indent=1, sort_keys=True, ensure_ascii=False)[:-2]
    for name, rows in lists.items():
        yield f",\n {json.dumps(name)}: ["
        for number, row in enumerate(rows):
            yield (",\n  " if number else "\n  ") + json.dumps(row, ensure_ascii=False)
        yield "\n ]"
    yield "\n}\n"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an export.

    Raises
    ------
    SourceMissing
        There is no such folder, or no manifest in it.
    DamagedFile
        It is not what an export writes.
    """
    file = folder / FILE
    if not file.is_file():
        what = f"{folder} is no export: it has no {FILE}" if folder.is_dir() else f"There is no folder {folder}"
        raise SourceMissing(f"{what}.", "Name the folder that `shroomcurate export` wrote.")
    content = file.read_bytes()
    try:
        about = json.loads(content)
        files = {str(each["path"]): (int(each["bytes"]), str(each["sha256"])) for each in about.pop("files")}
        photos = [{name: each[name] for name in PHOTO} for each in about.pop("photos")]
        if about["made_by"] != "shroomcurate export":
            raise ValueError("another program wrote it")
        about["options"]["link"], about["receipts"]  # are they there?
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFile(
            f"{file} is no manifest of an export: {error}.", "Export anew, or fetch the export again."
        ) from error
    return Manifest(about, files, photos, hashlib.sha256(content).hexdigest())

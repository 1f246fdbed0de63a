"""Tar shards for the library webdataset and whatever else reads its layout: ``<split>-000000.tar``.

A sample is three members of one key, ``<Class>/<photo_id>``: the photo, ``.cls`` with its label, ``.json`` with all
that is known of it. Layout: https://github.com/webdataset/webdataset, a key ends at the first dot of a file's name.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shroomcurate.export.options import ExportOptions
from shroomcurate.export.records import Records
from shroomcurate.export.shards import shards
from shroomcurate.progress import Progress

INDEX = "dataset.json"


def write(records: Records, folder: Path, options: ExportOptions, progress: Progress) -> None:
    """Fill an empty folder with the shards, and ``dataset.json``: classes, and each shard with its photos."""
    done = 0
    index: dict[str, dict[str, int]] = {}
    for split, cut in shards(records, options.shard_mb):
        names = index.setdefault(split, {})
        for number, shard in enumerate(cut):
            name = f"{split}-{number:06}.tar"
            names[name] = len(shard)
            with tarfile.open(folder / name, "w", format=tarfile.PAX_FORMAT) as tar:
                for row in shard.rows():
                    _add_sample(tar, records, row)
                    done += 1
                    progress(done, len(records), "write photos")
    about = {"name": records.name, "description": records.description, "classes": records.classes, "shards": index}
    (folder / INDEX).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _add_sample(tar: tarfile.TarFile, records: Records, row: Mapping[str, Any]) -> None:
    known = {name: value for name, value in row.items() if name != "path"}
    key = f"{row['class']}/{_key(row)}"
    _add(tar, f"{key}.{ending(row)}", records.read(row))
    _add(tar, f"{key}.cls", str(row["label"]).encode())
    _add(tar, f"{key}.json", json.dumps(known, ensure_ascii=False, sort_keys=True).encode())


def _key(row: Mapping[str, Any]) -> str:
    """Return the sample's key in its class: the photo's id, or else a hash of its file's name, which may hold dots."""
    if row["photo_id"] is not None:
        return str(row["photo_id"])
    return hashlib.sha256(str(row["file"]).encode()).hexdigest()[:20]


def ending(row: Mapping[str, Any]) -> str:
    """Return the file's end in small letters; ``jpg`` for ``jpeg``, so that a reader asks for one of them."""
    end = str(row["file"]).rpartition(".")[2].lower()
    return "jpg" if end in ("jpeg", "mpo", "jpe") else end


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member with a header that tells of no time, host or user."""
    member = tarfile.TarInfo(name)  # mtime, uid and gid are 0, names empty, mode 0644
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))

"""Where an export goes: whether it may, whether there is room, and how it comes there in one moment."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shroomcurate.dataset import Dataset, sync_folder
from shroomcurate.errors import BadOption, DamagedFile, DiskFull, disk_full_named
from shroomcurate.export.manifest import FILE, LOCK, files_in, foreign_files
from shroomcurate.export.options import ExportOptions
from shroomcurate.export.records import Records
from shroomcurate.locks import folder_lock
from shroomcurate.progress import Bytes, Progress, silent
from shroomcurate.tree import PARTIAL

#: What a photo takes besides its bytes: its rows in attribution, manifest and index, at most.
_BYTES_PER_PHOTO = 3_000

#: Up to so many files are made durable one by one; many take minutes so, and then the whole system's disks are asked.
_FILES_ONE_BY_ONE = 200


def refuse_target(dataset: Dataset, out: Path, force: bool, progress: Progress = silent) -> None:
    """Refuse a folder that holds anything but an export of ours.

    Raises
    ------
    BadOption
        It is a file or a disk, holds the dataset or is the dataset's own, or holds what an export did not write.
    """
    _refuse_own(dataset, out)
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise BadOption(f"{out} is there, and is no folder.", "Give another folder: --out DIR")
    if out.is_mount():
        raise BadOption(
            f"{out} is a disk, which cannot be replaced in one moment.",
            f"Give a folder in it: --out {shlex.quote(str(out / 'export'))}",
        )
    if force or not out.exists() or not any(out.iterdir()):
        return
    hint = "Give another folder (--out DIR), or replace all that is in it: --force"
    if not (out / FILE).exists():
        raise BadOption(f"{out} is there, and is no export.", hint)
    try:
        foreign = foreign_files(out, progress)
    except DamagedFile as error:
        raise BadOption(f"{out} is there, and what the export wrote cannot be told: {error}", hint) from error
    if foreign:
        raise BadOption(
            f"{out} holds {len(foreign):,} files that the export there did not write so, the first: {foreign[0]}.", hint
        )


def _refuse_own(dataset: Dataset, out: Path) -> None:
    """Refuse a folder that holds what is not to be lost, or lies in what is the dataset's."""
    hint, place, exports = "Give another folder: --out DIR", out.resolve(), dataset.path("exports").resolve()
    for kept in (dataset.root, dataset.images, dataset.removed, exports, Path.home(), Path.cwd()):
        if kept.resolve().is_relative_to(place):
            raise BadOption(f"{out} holds {kept}, which an export would replace.", hint)
    for inner in (dataset.images, dataset.removed):
        if place.is_relative_to(inner.resolve()):
            raise BadOption(f"{out} lies among the dataset's photos.", hint)
    # A foreign tree's root is the folder that it lies in, where other things lie, too.
    own = dataset.path("runs") if dataset.foreign else dataset.root
    if place.is_relative_to(own.resolve()) and not place.is_relative_to(exports):
        raise BadOption(f"{out} lies in {own}, where the dataset keeps its own.", f"{hint}, or one in {exports}")


def refuse_without_room(records: Records, out: Path, options: ExportOptions) -> None:
    """Refuse an export that the disk has no room for; a former one at its place stays until it is complete.

    Raises
    ------
    DiskFull
        The message says how much it needs and how much there is.
    """
    photos = sum(records.table["bytes"].to_pylist()) if options.link == "copy" else 0
    needed = photos + _BYTES_PER_PHOTO * len(records)
    there = next(parent for parent in out.parents if parent.exists())  # where it is made
    free = shutil.disk_usage(there).free
    if needed > free:
        links = " or links instead of copies (--link)" if options.link == "copy" else ""
        raise DiskFull(
            f"The export needs about {Bytes(needed)} in {out}, and {Bytes(free)} are free. Nothing was written.",
            f"Make room, or give a folder on another disk (--out DIR){links}.",
        )


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give an empty folder beside the target; on success it takes the target's place.

    A kill leaves the target as it was, and a hidden folder that the next export sweeps away. Only between the two
    renames of a replacement there is nothing at the target; the next export then puts the former one back first.

    Raises
    ------
    Busy
        Another export writes there.
    DiskFull
        No room; the target is as before.
    """
    staging, former = (out.with_name(f".{out.name}{end}") for end in (PARTIAL, ".former"))
    with folder_lock(staging, "export"):
        _sweep(staging)
        if former.exists():
            if out.exists():
                shutil.rmtree(former)
            else:
                former.rename(out)
        try:
            with disk_full_named(out):
                yield staging
                _sync(staging)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        if out.exists():
            out.rename(former)
        staging.rename(out)
        sync_folder(out.parent)
        (out / LOCK).unlink()
        shutil.rmtree(former, ignore_errors=True)


def _sweep(staging: Path) -> None:
    """Delete all but the lock that this process holds."""
    for left in staging.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        elif left.name != LOCK:
            left.unlink()


def _sync(staging: Path) -> None:
    """Make all that was written durable before it takes its place; a link's file belongs to the dataset."""
    written = [staging / path for path in files_in(staging)]
    if len(written) > _FILES_ONE_BY_ONE:
        os.sync()
        return
    for file in written:
        if not file.is_symlink():
            sync_folder(file)  # a file is synced the same way
    for folder in {parent for file in written for parent in file.parents if parent.is_relative_to(staging)}:
        sync_folder(folder)

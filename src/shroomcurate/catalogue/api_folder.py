"""The folder of ``load-api``: fetched pages and the small dump. Only what ``load-api`` made is ever deleted in it.

``dump`` has the layout of any dump, so its files' names tell nothing of who made them: a marker beside them does. Pages
have names that nothing else has.
"""

from __future__ import annotations

import errno
import gzip
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shroomcurate.catalogue.api_rows import Row, dump_text
from shroomcurate.catalogue.dumps import TABLES
from shroomcurate.dataset import sync_folder, write_bytes
from shroomcurate.errors import BadOption, NotWritable
from shroomcurate.tree import PARTIAL

#: Lies in each dump that was made here; comes first and goes last.
MARKER = "made-by-load-api"
_MARKER_TEXT = b"'shroomcurate load-api' made this folder, and replaces it whenever it is typed again.\n"

_TABLE_FILES = {f"{table}.csv.gz" for table in TABLES}
_DUMP_FILES = _TABLE_FILES | {f"{name}{PARTIAL}" for name in (*_TABLE_FILES, MARKER)} | {MARKER}
_PAGE = re.compile(r"[0-9a-f]{24}\.json\.gz(\.partial)?")
_REFUSALS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ELOOP,
    errno.ENAMETOOLONG,
}  # fmt: skip


def refuse_foreign(place: Path, *, fresh: bool) -> None:
    """Refuse a folder in which something lies where pages and dump belong. To be called before anything is fetched.

    Parameters
    ----------
    fresh
        The pages shall be deleted: then nothing else may lie among them.

    Raises
    ------
    BadOption
        The message names the folder and what lies there.
    NotWritable
        A file stands where a folder should.
    """
    for folder in (place, place / "pages"):
        if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
            raise NotWritable(f"{folder} is no folder.", _other_folder())
    for name in ("dump", f"dump{PARTIAL}"):
        folder = place / name
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise BadOption(f"{folder} is no folder of load-api: a link or a file is in its place.", _move(folder))
        if folder.is_dir() and not _is_ours(folder):
            raise BadOption(
                f"{folder} was not made by load-api, which would replace it: it holds {_some(folder)}.", _move(folder)
            )
    if fresh:
        for file in _pages(place / "pages"):
            if not _PAGE.fullmatch(file.name) or file.is_dir():
                raise BadOption(f"--fresh would delete {file}, which is no page of load-api.", _move(file))


def pages_there(place: Path) -> int:
    """Return how many pages lie in a folder, whatever they were asked for; none when it cannot be read."""
    try:
        return sum(bool(_PAGE.fullmatch(file.name)) for file in _pages(place / "pages"))
    except OSError:
        return 0


def clear_pages(folder: Path) -> None:
    """Delete the pages in a folder, and nothing else."""
    for file in list(_pages(folder)):
        if _PAGE.fullmatch(file.name):
            file.unlink()


def write_dump(folder: Path, tables: Mapping[str, Iterable[Row]]) -> None:
    """Write a dump in the true layout, whole or not at all. The same rows give the same bytes.

    A tab or a line's end inside a value becomes a space, since the layout has no quoting; blanks around it go.

    Raises
    ------
    BadOption
        Something lies there that :func:`write_dump` did not write.
    """
    refuse_foreign(folder.parent, fresh=False)
    made = folder.with_name(f"{folder.name}{PARTIAL}")
    _remove(made)
    write_bytes(made / MARKER, _MARKER_TEXT)
    for table, columns in TABLES.items():
        lines = ["\t".join(columns)]
        lines += ["\t".join(dump_text(row.get(name)) for name in columns) for row in tables[table]]
        content = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        write_bytes(made / f"{table}.csv.gz", gzip.compress(content, 6, mtime=0))
    _remove(folder)
    made.rename(folder)
    sync_folder(folder.parent)


@contextmanager
def named_refusal(place: Path) -> Iterator[None]:
    """Turn 'not allowed' and its like inside the block into a :class:`NotWritable` that says what to type."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        raise NotWritable(f"{error.filename or place}: {os.strerror(error.errno)}.", _other_folder()) from error


def _is_ours(folder: Path) -> bool:
    names = {each.name for each in folder.iterdir()}
    return not names or (names <= _DUMP_FILES and bool(names & {MARKER, f"{MARKER}{PARTIAL}"}))


def _remove(folder: Path) -> None:
    """Delete a folder of ours file by file, the marker last: after a kill in between it still tells whose it is."""
    if not folder.exists():
        return
    for name in sorted(_DUMP_FILES - {MARKER}):
        (folder / name).unlink(missing_ok=True)
    (folder / MARKER).unlink(missing_ok=True)
    folder.rmdir()


def _pages(folder: Path) -> Iterator[Path]:
    """Yield what lies where pages do: in each series' folder, and whatever lies beside these folders."""
    for series in sorted(folder.iterdir()) if folder.is_dir() else ():
        if series.is_dir():
            yield from sorted(series.iterdir())
        else:
            yield series


def _some(folder: Path) -> str:
    names = sorted(each.name for each in folder.iterdir())
    return ", ".join(names[:4]) + (", …" if len(names) > 4 else "")


def _move(what: Path) -> str:
    return f"Name another folder with --folder, or move it away: mv {shlex.quote(str(what))} SOMEWHERE"


def _other_folder() -> str:
    return "Name a folder that you may write to: shroomcurate load-api --folder FOLDER, or change its permissions."

"""Every error a user can meet: what happened and where, its exit code, and what to type next.

A photo's failure is not here: it is a row with a status. A bug is a traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class ShroomError(Exception):
    """A stage cannot do its work.

    Parameters
    ----------
    what
        What happened, and where: file, line, column, value.
    hint
        What to type or do next.
    """

    exit_code = 1

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.add_note(hint)  # which a traceback shows, in a notebook too

    def __reduce__(self) -> tuple[type[ShroomError], tuple[str, str]]:  # another process may have raised it
        return type(self), (self.what, self.hint)


class BadOption(ShroomError):
    """An option has a value it cannot have. Same code as the command line parser's own."""

    exit_code = 2


class SourceMissing(ShroomError):
    """The dump, file or folder that was named is not there."""

    exit_code = 3


class BadDump(ShroomError):
    """The dump is there but cannot be believed: a column, a field, an end is missing."""

    exit_code = 4


class DatabaseUnreachable(ShroomError):
    """No PostgreSQL answers."""

    exit_code = 5


class StageMissing(ShroomError):
    """An earlier stage has not run yet."""

    exit_code = 6


class NothingMatches(ShroomError):
    """The request is sound, and nothing fulfils it."""

    exit_code = 7


class WeightsMissing(ShroomError):
    """The network's weights are neither here nor to be had."""

    exit_code = 8


class DiskFull(ShroomError):
    """There is no room for what must be written."""

    exit_code = 9


class NetworkDown(ShroomError):
    """A server cannot be reached, or nothing of use came from it."""

    exit_code = 10


class Busy(ShroomError):
    """Another command works on the same thing."""

    exit_code = 11


class TooLittleData(ShroomError):
    """There are too few photos or classes for what was asked."""

    exit_code = 12


class DamagedFile(ShroomError):
    """A file of the dataset is not what its stage wrote."""

    exit_code = 13


class NotWritable(ShroomError):
    """A file or folder cannot be read, made or written as this user."""

    exit_code = 14


class Refused(ShroomError):
    """A server answers, and says that the request is wrong or not allowed."""

    exit_code = 15


class NothingThere(NetworkDown):
    """A server answers, and has nothing, or nothing any more, of what is asked for."""

    exit_code = 16


UNFIT = 17
"""What `doctor` ends with when it has found a problem; its answer says which."""

UNSOUND = 18
"""What `verify` ends with when an export is not what was written; its answer says where."""

LOCK_UNMET = 19
"""What `build --locked` ends with when photos of the lock are gone or changed; its answer lists them."""

INTERRUPTED = 130  # what a shell reports for ^C

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def disk_full_named(where: object) -> Iterator[None]:
    """Turn 'no space left' inside the block into a :class:`DiskFull` that says where.

    Parameters
    ----------
    where
        The path being written, for the message.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise DiskFull(
            f"The disk is full while writing {where} ({error.strerror}).",
            "Make room, then type the same command again: what is finished is kept.",
        ) from error

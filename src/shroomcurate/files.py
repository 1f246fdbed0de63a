"""Moving a photo from one folder to another without ever having none of it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from shroomcurate.dataset import atomic_path


def move(place: Path, target: Path) -> None:
    """Move a file, also to another disk; what stands at the target is replaced. The target's folder is made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() and not (to := place.readlink()).is_absolute():
        # A link that is relative means another file from another folder; a folder may itself be reached by a link.
        meant = (place.parent / to).parent.resolve() / to.name
        with atomic_path(target) as partial:
            partial.symlink_to(os.path.relpath(meant, target.parent.resolve()))
        place.unlink()
        return
    try:
        place.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_path(target) as partial:  # another disk: the copy is whole and durable before the original goes
            shutil.copy2(place, partial)
        place.unlink()

"""Where photos lie, and the acts that put them there. A place is a path relative to the dataset."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from shroomcurate.dataset import Dataset
from shroomcurate.download.manifest import Photo, Record, identity
from shroomcurate.errors import disk_full_named
from shroomcurate.files import move
from shroomcurate.photos import NotAPhoto, check_photo
from shroomcurate.tree import PARTIAL, REASONS, class_files

UNSELECTED = "unselected"
WITHDRAWN = "withdrawn"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC  # how a file that is to be written is opened


def sweep_partials(dataset: Dataset, process: int | None = None) -> None:
    """Delete what a killed run left half written, or what one of its processes left."""
    end = PARTIAL if process is None else f".{process}{PARTIAL}"
    for folder, pattern in ((dataset.root, "downloads.*"), (dataset.images, "*/*"), (dataset.removed, "*/*/*")):
        for partial in folder.glob(pattern + end):
            partial.unlink(missing_ok=True)


def list_places(dataset: Dataset) -> dict[str, int]:
    """Return every photo on disk and its bytes: those set aside first, then those removed, then those kept.

    Paths as text, by ``os.scandir``: of a quarter of a million photos, Path objects alone would take 200 MB.
    """
    removed = [f"removed/{reason}" for reason in sorted(REASONS)]
    return {
        f"{tree}/{class_name}/{file.name}": file.stat().st_size
        for tree in (UNSELECTED, *removed, "images")
        for class_name, file in class_files(dataset.root / tree)
    }


def by_id(places: Iterable[str]) -> dict[int, str]:
    """Return photo_id -> where it lies; of several, the last."""
    stems = ((place.rsplit("/", 1)[1].partition(".")[0], place) for place in places)
    return {int(stem): place for stem, place in stems if stem.isascii() and stem.isdigit()}


def removed_by(place: str) -> str | None:
    """Return why a photo was taken out, by where it lies; None when it was not."""
    parts = place.split("/")
    return parts[1] if parts[0] == "removed" else None


def trusted(
    earlier: Mapping[int, Record],
    places: Mapping[int, str],
    sizes: Mapping[str, int],
    is_final: Callable[[Record], bool],
) -> dict[int, Record]:
    """Return the records that spare a request: those that are final, and those of photos that lie there in full."""
    return {
        photo_id: record
        for photo_id, record in earlier.items()
        if is_final(record)
        or (record.status == "ok" and photo_id in places and sizes[places[photo_id]] == record.bytes)
    }


def judged(photo: Photo, content: bytes, came: Record | None = None) -> Record:
    """Return the record of a photo's bytes: ok with its facts, or corrupt with the reason.

    Parameters
    ----------
    came
        How it came: the answer's status, the requests made, the time.
    """
    came = came or Record(photo.photo_id, "ok")
    try:
        facts = check_photo(content)
    except NotAPhoto as error:
        return came._replace(status="corrupt", error=str(error)[:200])
    return came._replace(
        status="ok",
        extension=facts.extension,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        width=facts.width,
        height=facts.height,
    )


def home(photo: Photo, record: Record, place: str | None) -> str:
    """Return where a whole photo belongs: in its class folder, or in the one of those removed if it lies there now."""
    path = identity(photo, record.extension or "")
    reason = removed_by(place) if place is not None else None
    return path if reason is None else f"removed/{reason}/{path.removeprefix('images/')}"


class Unplaced:
    """Photos that are being written, under other names than their own: those that are not put in place are removed.

    Nothing is forced to the disk: a kill leaves whole files only, but a power failure may not. So the end of a run
    waits for the disk once, and what only a journal knows is hashed before it is believed.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.root = f"{dataset.root}"  # paths as text: as Path objects they take as long as what is done with them
        # A name of this process's own: if it outlives a killed run for a moment, it does not write into the next run's.
        self.end = f".{os.getpid()}{PARTIAL}"
        self.files: list[tuple[str, str]] = []

    def __enter__(self) -> Unplaced:
        return self

    def __exit__(self, *error: object) -> None:
        for partial, _ in self.files:
            with contextlib.suppress(OSError):
                Path(partial).unlink()

    def write(self, place: str, content: bytes) -> None:
        """Write a photo that shall stand at ``place``. Raises DiskFull."""
        target = f"{self.root}/{place}"
        partial = target + self.end
        with disk_full_named(target):
            try:
                file = os.open(partial, _NEW)
            except (FileNotFoundError, NotADirectoryError):  # the first of its class
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                file = os.open(partial, _NEW)
            self.files.append((partial, target))
            try:
                while content:
                    content = content[os.write(file, content) :]
            finally:
                os.close(file)

    def put_in_place(self) -> None:
        """Give each its own name."""
        while self.files:
            os.replace(*self.files[-1])  # noqa: PTH105 (paths as text, see above)
            self.files.pop()


def tidy(
    dataset: Dataset, rows: Sequence[tuple[Photo, Record]], found: Iterable[str], places: Mapping[int, str]
) -> int:
    """Make the class folders, kept and removed, hold exactly the photos of the manifest.

    Everything else in them moves to ``unselected/<Class>/``, whence a later selection takes it back; the folder lies
    beside ``images/`` and ``removed/``, so that no stage takes what is in it for a photo of the dataset.

    Parameters
    ----------
    rows
        The manifest.
    found
        Every photo that lies there now: where.
    places
        photo_id -> the file to use, of all that lie there now.

    Returns
    -------
    int
        Files moved to ``unselected/``.
    """
    homes = {
        places[photo.photo_id]: home(photo, record, places[photo.photo_id])
        for photo, record in rows
        if record.status == "ok"
    }
    surplus = [place for place in found if place not in homes and not place.startswith(f"{UNSELECTED}/")]
    for place in surplus:
        set_aside(dataset, place, dataset.path(UNSELECTED))
    for place, target in homes.items():
        if place != target:
            _move(dataset.root / place, dataset.root / target)
    return len(surplus)


def set_aside(dataset: Dataset, place: str, tree: Path, prefix: str = "") -> None:
    """Move a photo into another tree, under its class and a free name."""
    file = dataset.root / place
    target = tree / file.parent.name / f"{prefix}{file.name}"
    while target.exists():
        target = target.with_name(f"copy-of-{target.name}")
    _move(file, target)


def _move(file: Path, target: Path) -> None:
    move(file, target)
    with contextlib.suppress(OSError):
        file.parent.rmdir()  # only if that was its last file: an empty folder would pass for a class

"""What an export can be asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from shroomcurate.errors import BadOption
from shroomcurate.licences import accepted_licenses

#: Format -> the module that writes it, imported when it is asked for.
FORMATS = {
    "imagefolder": "shroomcurate.export.imagefolder",
    "webdataset": "shroomcurate.export.webdataset",
    "tfrecord": "shroomcurate.export.tfrecord",
    "coco": "shroomcurate.export.coco",
    "huggingface": "shroomcurate.export.huggingface",
    "fiftyone": "shroomcurate.export.fiftyone",
    "croissant": "shroomcurate.export.croissant",
}
LINKS = ("copy", "hard", "symlink")

#: Formats whose photos stay files of their own, so that these can be links; the others hold the photos' bytes.
LINKING = ("imagefolder", "coco", "fiftyone")


@dataclass(frozen=True)
class ExportOptions:
    """What to write, and of which photos."""

    format: str = "imagefolder"
    link: str = "copy"
    """``copy``, ``hard`` or ``symlink``, for formats of :data:`LINKING`. Links cost no room; but what is changed in
    one place is changed in both (hard), or is gone with the dataset (symlink)."""
    licenses: str = "any"
    """A profile or licences joined by commas, as for a query. ``any`` also takes photos of which none is known."""
    split: bool = True
    """Carry ``splits.parquet``; without, all photos are together."""
    name: str | None = None
    """What the dataset is called inside the export. None: ``inaturalist-N-classes``, or the tree's own folder."""
    shard_mb: int = 128
    """Size of a shard, in 10^6 bytes, that is filled. TensorFlow's advice is 100 to 200 MB a file
    (https://www.tensorflow.org/tutorials/load_data/tfrecord); more would leave few for workers to share."""
    force: bool = False
    """Replace what stands there, even if it is no export, or holds files that the export did not write."""

    def made_with(self) -> dict[str, Any]:
        """Return what decides what is written, as the manifest holds it."""
        return {name: value for name, value in asdict(self).items() if name != "force"}

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise BadOption(f"--format {self.format!r} is not known.", f"Use one of: {', '.join(FORMATS)}")
        if self.link not in LINKS:
            raise BadOption(f"--link {self.link!r} is not known.", f"Use one of: {', '.join(LINKS)}")
        if self.link != "copy" and self.format not in LINKING:
            raise BadOption(
                f"--link {self.link}: files of the format {self.format} hold the photos' bytes.",
                f"Leave --link away, or take one of: {', '.join(LINKING)}",
            )
        if self.shard_mb < 1:
            raise BadOption(f"--shard-mb {self.shard_mb} is too small.", "Give 1 or more.")
        if self.name is not None and not self.name.strip():
            raise BadOption("--name is empty.", "Give a word, or leave it away.")
        accepted_licenses(self.licenses)

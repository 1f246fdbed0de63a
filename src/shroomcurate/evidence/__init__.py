"""What a person can check about a photo: numbers from its pixels and from ImageNet's head, and the reason they give."""

from shroomcurate.evidence.imagenet import IMAGENET_COLUMNS, imagenet_evidence
from shroomcurate.evidence.pixels import PIXEL_COLUMNS, measure, pixel_evidence
from shroomcurate.evidence.thumbnail import make_thumbnails, shrink

#: All numbers, in the order in which the tables hold them.
EVIDENCE = (*IMAGENET_COLUMNS, *PIXEL_COLUMNS)

#: Changes whenever a number of the same photo does.
EVIDENCE_VERSION = "2"

__all__ = [
    "EVIDENCE",
    "EVIDENCE_VERSION",
    "IMAGENET_COLUMNS",
    "PIXEL_COLUMNS",
    "imagenet_evidence",
    "make_thumbnails",
    "measure",
    "pixel_evidence",
    "shrink",
]

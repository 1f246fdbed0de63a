"""Why a photo that does not belong does not: the reason that its evidence gives.

Each rule says what a person would see in such a photo, in numbers that a person can check. The first rule that holds
is the reason of a photo that goes. No reason is invented: ``outlier`` where none holds. A rule takes no photo out by
itself; but where one holds of a photo within its class, the photo is not taught as an example of what belongs, for a
drawing of the species looks to DBSCAN like the species.

Rules compare arrays, a number for each photo. A number that is not known is NaN, of which no comparison holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

#: The reason of a photo of which the evidence gives none.
NO_REASON = "outlier"

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Holds = NDArray[np.bool_]
    Evidence = Mapping[str, NDArray[np.float32]]


def reasons(evidence: Evidence) -> NDArray[np.str_]:
    """Return why each photo goes if it goes, one of :data:`shroomcurate.verdicts.REASONS`.

    Parameters
    ----------
    evidence
        The numbers of :data:`shroomcurate.evidence.EVIDENCE`, each of shape (photos,); NaN where not known.
    """
    import numpy as np

    return np.select([holds(evidence) for _, holds in _RULES], [reason for reason, _ in _RULES], NO_REASON)


def _screen(of: Evidence) -> Holds:
    """See text or icons on an even ground in even rows, and no subject."""
    return (of["strokes"] >= 0.08) & (of["even_lines"] >= 0.2) & (of["subject"] < 0.15)


def _printed(of: Evidence) -> Holds:
    """See mostly what ImageNet takes screens and printed matter for, in even rows."""
    return (of["imagenet_document"] >= 0.5) & (of["even_lines"] >= 0.2)


def _drawing(of: Evidence) -> Holds:
    """See a subject of hard outlines on blank paper or on black."""
    return (of["flat"] >= 0.4) & (of["strokes"] >= 0.08) & (of["subject"] >= 0.15)


def _round_field(of: Evidence) -> Holds:
    """See the round field of a microscope."""
    return (of["field_radius"] >= 0.5) & (of["field_edge"] >= 0.25)


def _slide(of: Evidence) -> Holds:
    """See a smooth ground lit from behind, on which everything is darker, and nothing green."""
    lit = (of["ground_lightness"] >= 0.3) & (of["brighter_than_ground"] <= 0.15) & (of["lightness"] >= 0.3)
    plain = (of["contrast"] <= 0.48) & (of["smooth"] >= 0.55) & (of["vegetation"] <= 0.05) & (of["strokes"] < 0.18)
    return lit & plain & (of["subject"] < 0.35)


def _cells(of: Evidence) -> Holds:
    """See mostly what ImageNet takes micrographs for."""
    return (of["imagenet_microscopic"] >= 0.3) & (of["vegetation"] <= 0.05)


def _clothes(of: Evidence) -> Holds:
    """See clothes, and nothing of a fungus."""
    return (of["imagenet_person"] >= 0.4) & (of["imagenet_fungus"] < 0.1)


def _skin(of: Evidence) -> Holds:
    """See a smooth patch of skin at the frame's edge, and neither fungus nor landscape for all that is known."""
    skin = (of["skin_at_edge"] >= 0.05) & (of["skin_at_edge"] <= 0.6) & (of["flat"] < 0.65) & (of["contrast"] > 0.42)
    return skin & ~(of["imagenet_fungus"] >= 0.1) & ~(of["imagenet_scenery"] >= 0.15)


def _covered(of: Evidence) -> Holds:
    """See a dark or red patch without detail from the frame's edge, and no fungus: a finger before the lens."""
    return (of["lens_cover"] >= 0.3) & (of["smooth"] >= 0.55) & (of["imagenet_fungus"] < 0.05)


def _landscape(of: Evidence) -> Holds:
    """See landscape or buildings, and nothing of a fungus."""
    return (of["imagenet_scenery"] >= 0.15) & (of["imagenet_fungus"] < 0.1)


def _outdoors(of: Evidence) -> Holds:
    """See sky, a level horizon, green all over or trunks, and no fungus for all that is known."""
    horizon = (of["horizon"] >= 0.5) & (of["flat"] < 0.55) & (of["contrast"] > 0.48)
    green = (of["vegetation"] >= 0.75) & (of["smooth"] < 0.74)
    trunks = (of["upright"] >= 0.56) & (of["in_focus"] > 0.12)
    return ((of["sky"] >= 0.08) | horizon | green | trunks) & ~(of["imagenet_fungus"] >= 0.1)


def _far(of: Evidence) -> Holds:
    """See a sharp view with green and a small subject, and nothing of a fungus."""
    view = (of["subject"] < 0.03) & (of["in_focus"] >= 0.6) & (of["vegetation"] >= 0.2)
    return view & (of["imagenet_fungus"] < 0.1)


def _blurred(of: Evidence) -> Holds:
    """See no sharp part."""
    return (of["sharpness"] < 0.68) & (of["smooth"] < 0.97)


_RULES: tuple[tuple[str, Callable[[Evidence], Holds]], ...] = (
    ("screenshot", _screen),
    ("screenshot", _printed),
    ("drawing", _drawing),
    ("microscopy", _round_field),
    ("microscopy", _slide),
    ("microscopy", _cells),
    ("person", _clothes),
    ("obstructed", _skin),
    ("obstructed", _covered),
    ("scenery", _landscape),
    ("scenery", _outdoors),
    ("too_far", _far),
    ("blurred", _blurred),
)

"""All that is known of one photo, for the large view."""

from __future__ import annotations

from typing import Any

from shroomcurate.dataset import Column
from shroomcurate.evidence import EVIDENCE
from shroomcurate.licences import DEEDS
from shroomcurate.review.gallery import Gallery
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.verdicts import Verdict

_DISTANCE = Column("distance", "float", "cosine distance to the mean of the photos that are the class")


def detail(gallery: Gallery, number: int, verdict: Verdict | None) -> dict[str, Any]:
    """Return what is known of a photo; null where a table that would know is not there."""
    judged = gallery.row(gallery.clean, int(gallery.clean_row[number]))
    chosen = gallery.row(gallery.selection, int(gallery.selection_row[number]))
    photo_id = chosen.get("photo_id")
    observed_on = chosen.get("observed_on")
    here = chosen.get("latitude") is not None and chosen.get("longitude") is not None
    return {
        "number": number,
        "path": gallery.paths[number],
        "class": gallery.classes[gallery.class_of[number]],
        "there": number not in gallery.gone,
        "photo_id": photo_id,
        "photo_url": f"https://www.inaturalist.org/photos/{photo_id}" if photo_id is not None else None,
        "observation_url": _observation(chosen.get("observation_uuid")),
        "species": chosen.get("taxon_name"),
        "licence": chosen.get("license"),
        "licence_url": DEEDS.get(chosen.get("license", "")),
        "attribution": chosen.get("attribution"),
        "observed_on": observed_on.isoformat() if observed_on else None,
        "place": {"latitude": chosen["latitude"], "longitude": chosen["longitude"]} if here else None,
        "kept": judged.get("kept"),
        "reason": judged.get("reason"),
        "decided_by": judged.get("decided_by"),
        "left_alone": gallery.left_alone.get(gallery.classes[gallery.class_of[number]]),
        "score": judged.get("score"),
        "cluster": judged.get("cluster"),
        "cluster_size": _cluster_size(gallery, number) if judged else None,
        "evidence": [
            {"name": column.name, "value": judged.get(column.name), "meaning": column.meaning.partition("; null")[0]}
            for column in (_DISTANCE, *EVIDENCE)
            if judged
        ],
        "duplicates": next((group for group in gallery.duplicate_groups if number in group), []),
        "prediction": _prediction(gallery, number),
        "verdict": {"keep": verdict.keep, "reason": verdict.reason} if verdict else None,
    }


def _observation(uuid: str | None) -> str | None:
    return f"https://www.inaturalist.org/observations/{uuid}" if uuid else None


def _cluster_size(gallery: Gallery, number: int) -> int:
    same = (gallery.class_of == gallery.class_of[number]) & (gallery.cluster == gallery.cluster[number])
    return int(same.sum())


def _prediction(gallery: Gallery, number: int) -> dict[str, Any] | None:
    """Return what the baseline took a test photo for, where it was wrong."""
    if number not in gallery.predicted:
        return None
    predicted, sure = gallery.predicted[number]
    return {"predicted": predicted, "confidence": sure, "run": gallery.run, "safety": SAFETY_NOTICE}

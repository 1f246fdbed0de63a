"""The one sentence that must stand beside every prediction."""

from __future__ import annotations

SAFETY_NOTICE = (
    "Never eat a mushroom because of this result: a photograph does not show what tells a deadly species from an "
    "edible one, and the model is wrong on a known share of photos. "
    "Ask an expert who holds the specimen; if you have eaten an unknown mushroom, call a poison centre at once."
)

"""Reasons: each says what a person would see, and none is invented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shroomcurate.clean import reasons as module
from shroomcurate.clean.reasons import NO_REASON, reasons
from shroomcurate.evidence import EVIDENCE
from shroomcurate.verdicts import REASONS

NAMES = [column.name for column in EVIDENCE]

#: A photo of which no rule holds: a sharp mushroom in the grass.
GOOD = dict.fromkeys(NAMES, 0.0) | {
    "sharpness": 0.9,
    "in_focus": 0.4,
    "lightness": 0.4,
    "contrast": 0.6,
    "vegetation": 0.2,
    "smooth": 0.3,
    "ground_lightness": 0.4,
    "brighter_than_ground": 0.5,
    "upright": 0.5,
    "subject": 0.3,
    "imagenet_fungus": 0.8,
}

#: Rule -> its reason, what it sees in a photo, and for each number one just beyond the line.
ROWS: dict[str, tuple[str, dict[str, float], dict[str, float]]] = {
    "_screen": (
        "screenshot",
        {"strokes": 0.08, "even_lines": 0.2, "subject": 0.14},
        {"strokes": 0.079, "even_lines": 0.19, "subject": 0.15},
    ),
    "_printed": (
        "screenshot",
        {"imagenet_document": 0.5, "even_lines": 0.2},
        {"imagenet_document": 0.49, "even_lines": 0.19},
    ),
    "_drawing": (
        "drawing",
        {"flat": 0.4, "strokes": 0.08, "subject": 0.15},
        {"flat": 0.39, "strokes": 0.079, "subject": 0.14},
    ),
    "_round_field": (
        "microscopy",
        {"field_radius": 0.5, "field_edge": 0.25},
        {"field_radius": 0.49, "field_edge": 0.24},
    ),
    "_slide": (
        "microscopy",
        {
            "ground_lightness": 0.3, "brighter_than_ground": 0.15, "lightness": 0.3, "contrast": 0.48,
            "smooth": 0.55, "vegetation": 0.05, "strokes": 0.17, "subject": 0.34,
        },
        {
            "ground_lightness": 0.29, "brighter_than_ground": 0.16, "lightness": 0.29, "contrast": 0.49,
            "smooth": 0.54, "vegetation": 0.06, "strokes": 0.18, "subject": 0.35,
        },
    ),
    "_cells": (
        "microscopy",
        {"imagenet_microscopic": 0.3, "vegetation": 0.05},
        {"imagenet_microscopic": 0.29, "vegetation": 0.06},
    ),
    "_clothes": (
        "person",
        {"imagenet_person": 0.4, "imagenet_fungus": 0.09},
        {"imagenet_person": 0.39, "imagenet_fungus": 0.1},
    ),
    "_skin": (
        "obstructed",
        {"skin_at_edge": 0.05, "flat": 0.64, "contrast": 0.43, "imagenet_fungus": 0.09, "imagenet_scenery": 0.14},
        {"skin_at_edge": 0.049, "flat": 0.65, "contrast": 0.42, "imagenet_fungus": 0.1, "imagenet_scenery": 0.15},
    ),
    "_covered": (
        "obstructed",
        {"lens_cover": 0.3, "smooth": 0.55, "imagenet_fungus": 0.04},
        {"lens_cover": 0.29, "smooth": 0.54, "imagenet_fungus": 0.05},
    ),
    "_landscape": (
        "scenery",
        {"imagenet_scenery": 0.15, "imagenet_fungus": 0.09},
        {"imagenet_scenery": 0.14, "imagenet_fungus": 0.1},
    ),
    "_outdoors": ("scenery", {"sky": 0.08, "imagenet_fungus": 0.09}, {"sky": 0.079, "imagenet_fungus": 0.1}),
    "_far": (
        "too_far",
        {"subject": 0.029, "in_focus": 0.6, "vegetation": 0.2, "imagenet_fungus": 0.09},
        {"subject": 0.03, "in_focus": 0.59, "vegetation": 0.19, "imagenet_fungus": 0.1},
    ),
    "_blurred": ("blurred", {"sharpness": 0.67, "smooth": 0.96}, {"sharpness": 0.68, "smooth": 0.97}),
}  # fmt: skip

#: Other ways in which the landscape rule and the skin rule hold, and where these end.
OTHER_WAYS: list[tuple[str, dict[str, float], dict[str, float]]] = [
    (
        "_outdoors",
        {"horizon": 0.5, "flat": 0.54, "contrast": 0.49, "imagenet_fungus": 0},
        {"horizon": 0.49, "flat": 0.55, "contrast": 0.48},
    ),
    ("_outdoors", {"vegetation": 0.75, "smooth": 0.73, "imagenet_fungus": 0}, {"vegetation": 0.74, "smooth": 0.74}),
    ("_outdoors", {"upright": 0.56, "in_focus": 0.13, "imagenet_fungus": 0}, {"upright": 0.55, "in_focus": 0.12}),
    ("_skin", {"skin_at_edge": 0.6, "imagenet_fungus": 0}, {"skin_at_edge": 0.61}),
]


def columns(*photos: Mapping[str, float]) -> dict[str, NDArray[np.float32]]:
    return {name: np.array([photo[name] for photo in photos], np.float32) for name in NAMES}


def holds(rule: str, photo: Mapping[str, float]) -> bool:
    return bool(getattr(module, rule)(columns(photo))[0])


def test_every_rule_is_in_the_table_and_every_reason_is_known() -> None:
    assert list(ROWS) == [rule.__name__ for _, rule in module._RULES]
    for reason, rule in module._RULES:
        assert reason == ROWS[rule.__name__][0]
        assert reason in REASONS
        assert reason != NO_REASON
    assert NO_REASON in REASONS


def test_of_a_good_photo_no_rule_holds() -> None:
    assert reasons(columns(GOOD)).tolist() == [NO_REASON]


@pytest.mark.parametrize("rule", ROWS)
def test_a_rule_gives_its_reason_and_ends_where_it_says(rule: str) -> None:
    reason, seen, beyond = ROWS[rule]
    assert reasons(columns(GOOD | seen)).tolist() == [reason]
    assert holds(rule, GOOD | seen)
    assert seen.keys() == beyond.keys()
    for number, value in beyond.items():
        assert not holds(rule, GOOD | seen | {number: value}), number


@pytest.mark.parametrize(("rule", "seen", "beyond"), OTHER_WAYS)
def test_another_way_in_which_a_rule_holds(rule: str, seen: dict[str, float], beyond: dict[str, float]) -> None:
    assert reasons(columns(GOOD | seen)).tolist() == [ROWS[rule][0]]
    for number, value in beyond.items():
        assert not holds(rule, GOOD | seen | {number: value}), number


def test_without_any_evidence_nothing_is_known() -> None:
    nothing = columns(dict.fromkeys(NAMES, np.nan), dict.fromkeys(NAMES, np.nan))
    assert reasons(nothing).tolist() == [NO_REASON, NO_REASON]


@pytest.mark.parametrize("rule", ROWS)
def test_without_imagenets_head_the_pixels_speak_alone(rule: str) -> None:
    """Rules that only ask whether there is no sign of a fungus hold; those that need a sign do not."""
    _, seen, _ = ROWS[rule]
    blind = GOOD | seen | {name: np.nan for name in NAMES if name.startswith("imagenet_")}
    needs_head = rule in {"_printed", "_cells", "_clothes", "_covered", "_landscape", "_far"}
    assert holds(rule, blind) is not needs_head


def test_the_first_rule_that_holds_is_the_reason() -> None:
    order = [rule.__name__ for _, rule in module._RULES]
    assert order.index("_drawing") < order.index("_cells")
    drawing_in_a_field = GOOD | ROWS["_drawing"][1] | ROWS["_round_field"][1]
    assert reasons(columns(drawing_in_a_field)).tolist() == ["drawing"]
    blurred_landscape = GOOD | ROWS["_blurred"][1] | ROWS["_landscape"][1]
    assert reasons(columns(blurred_landscape)).tolist() == ["scenery"]


numbers: Any = st.one_of(
    st.floats(0, 1, width=32), st.sampled_from([0.0, 1.0, np.nan]), st.floats(-1000, 1000, width=32)
)


@settings(max_examples=60)
@given(st.lists(st.lists(numbers, min_size=len(NAMES), max_size=len(NAMES)), min_size=1, max_size=5))
def test_any_evidence_gives_exactly_one_known_reason_whatever_photo_stands_beside(table: list[list[float]]) -> None:
    photos = [dict(zip(NAMES, row, strict=True)) for row in table]
    together = reasons(columns(*photos))
    assert together.shape == (len(photos),)
    assert set(together.tolist()) <= set(REASONS) - {"duplicate"}
    assert together.tolist() == [reasons(columns(photo)).tolist()[0] for photo in photos]
    for photo, reason in zip(photos, together.tolist(), strict=True):
        assert (reason == NO_REASON) == (not any(holds(rule, photo) for rule in ROWS))

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shroomcurate.training.danger import DANGEROUS, WORDS, bound, danger

LABELS = ("Boletus", "Chanterelle", "Webcap", "Deathcap", "Bracket")
EDIBILITY = {
    "Boletus": "edible",
    "Chanterelle": "edible",
    "Webcap": "poisonous",
    "Deathcap": "deadly",
    "Bracket": "inedible",
}
BOLETUS, CHANTERELLE, WEBCAP, DEATHCAP, BRACKET = range(5)


def sure(called: int, certainty: float) -> list[float]:
    """A photo's probabilities: this certainty for the class that is called, the rest shared by the others."""
    return [certainty if number == called else (1 - certainty) / 4 for number in range(5)]


#: True class, called class, certainty.
PHOTOS = (
    (BOLETUS, BOLETUS, 0.95),
    (BOLETUS, CHANTERELLE, 0.6),  # still edible
    (CHANTERELLE, WEBCAP, 0.5),  # left in the wood
    (CHANTERELLE, CHANTERELLE, 0.85),
    (WEBCAP, WEBCAP, 0.9),
    (WEBCAP, CHANTERELLE, 0.9),  # eaten
    (WEBCAP, DEATHCAP, 0.7),  # the wrong one, but nobody eats it
    (WEBCAP, BRACKET, 0.4),  # not known as poisonous, not eaten either
    (DEATHCAP, DEATHCAP, 0.99),
    (DEATHCAP, BOLETUS, 0.8),  # eaten
    (BRACKET, BOLETUS, 0.3),  # nothing happens
)
TRUTH = np.array([true for true, _, _ in PHOTOS])
PROBABILITIES = np.array([sure(called, certainty) for _, called, certainty in PHOTOS])


def found(**more: Any) -> dict[str, Any]:
    return danger(PROBABILITIES, TRUTH, LABELS, EDIBILITY, **more)


def test_every_figure_by_hand() -> None:
    figures = found()
    assert json.loads(json.dumps(figures)) == figures
    assert figures["classes"] == {"edible": 2, "inedible": 1, "poisonous": 1, "deadly": 1, "unknown": 0}
    assert figures["test_photos"] == {"edible": 4, "inedible": 1, "poisonous": 4, "deadly": 2, "unknown": 0}
    assert figures["recall_poisonous"] == {"share": 3 / 6, "photos": 6}
    assert figures["poisonous_taken_for_edible"] == {
        "count": 2,
        "photos": 6,
        "share": 2 / 6,
        "pairs": [
            {"class": "Webcap", "taken_for": "Chanterelle", "photos": 1},
            {"class": "Deathcap", "taken_for": "Boletus", "photos": 1},
        ],
    }
    assert figures["deadly_taken_for_edible"] == {
        "count": 1,
        "photos": 2,
        "share": 0.5,
        "pairs": [{"class": "Deathcap", "taken_for": "Boletus", "photos": 1}],
    }
    assert figures["unknown_taken_for_edible"] is None
    assert figures["expected_cost"] == pytest.approx((2 * 100 + 1) / 11)
    assert found(cost=10.0)["expected_cost"] == pytest.approx((2 * 10 + 1) / 11)
    assert figures["notes"] == []


def test_the_threshold_and_what_it_costs_by_hand() -> None:
    deadly, poisonous = (found()["abstention"][kind] for kind in ("deadly", "poisonous"))
    # The death cap is called Boletus with 0.8: above that, 5 photos are answered, 4 of them rightly.
    assert deadly["threshold"] == pytest.approx(0.8, abs=2e-6)
    assert deadly["threshold"] >= 0.8
    assert (deadly["photos"], deadly["test_photos"], deadly["edible_photos"]) == (2, 11, 4)
    assert deadly["answered"] == pytest.approx(5 / 11)
    assert deadly["top1"] == pytest.approx(4 / 5)
    assert deadly["edible_called_edible"] == pytest.approx(2 / 4)
    assert deadly["expected_cost"] == pytest.approx((100 + 2) / 11)  # the webcap is eaten, two edible ones are left
    # The webcap is called Chanterelle with 0.9: only the surest Boletus and death cap are answered.
    assert poisonous["threshold"] == pytest.approx(0.9, abs=2e-6)
    assert poisonous["answered"] == pytest.approx(2 / 11)
    assert poisonous["top1"] == 1
    assert poisonous["edible_called_edible"] == pytest.approx(1 / 4)
    assert poisonous["expected_cost"] == pytest.approx(3 / 11)


def test_what_remains_is_bounded_by_the_number_of_photos_and_better_by_that_of_groups() -> None:
    assert bound(1) == 0.95
    assert bound(100) == pytest.approx(0.0295, abs=1e-4)  # the rule of three
    assert (1 - bound(40)) ** 40 == pytest.approx(0.05)
    deadly = found(groups=["one group"] * len(PHOTOS))["abstention"]["deadly"]
    assert (deadly["bound"], deadly["groups"], deadly["bound_by_group"]) == (bound(2), 1, 0.95)
    assert found()["abstention"]["deadly"]["bound_by_group"] is None


def test_the_bound_holds_for_a_threshold_that_was_found_on_the_same_photos() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        threshold = rng.random(30).max()  # the certainties of 30 deadly photos called edible
        held += (1 - threshold) <= bound(30)  # the share of all such photos that lies above
    assert 0.93 < held / 2000 < 0.97


@pytest.mark.parametrize(
    ("words", "lacks", "note"),
    [
        ({**EDIBILITY, "Deathcap": "poisonous"}, ["deadly"], "deadly"),
        ({**EDIBILITY, "Deathcap": "unknown", "Webcap": "inedible"}, ["deadly", "poisonous"], "poisonous"),
    ],
)
def test_what_the_dataset_does_not_have_gets_words_in_the_place_of_a_figure(
    words: dict[str, str], lacks: list[str], note: str
) -> None:
    figures = danger(PROBABILITIES, TRUTH, LABELS, words)
    for kind in ("deadly", "poisonous"):
        assert (figures["abstention"][kind] is None) == (kind in lacks)
        assert (figures[f"{kind}_taken_for_edible"] is None) == (kind in lacks)
    assert any(note in each for each in figures["notes"])
    if "poisonous" in lacks:
        assert figures["recall_poisonous"] is None
        assert figures["expected_cost"] is None
        assert figures["unknown_taken_for_edible"]["count"] == 1
        assert any("not known whether it is edible" in each for each in figures["notes"])


def test_without_an_edible_class_nothing_can_be_called_edible_and_that_is_no_success() -> None:
    figures = danger(PROBABILITIES, TRUTH, LABELS, dict.fromkeys(("Webcap", "Deathcap"), "deadly"))
    assert figures["poisonous_taken_for_edible"] is None
    assert figures["abstention"] == {"deadly": None, "poisonous": None}
    assert "edible" in figures["notes"][0]
    assert figures["recall_poisonous"] == {"share": 3 / 6, "photos": 6}


def test_a_word_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="tasty"):
        danger(PROBABILITIES, TRUTH, LABELS, {"Boletus": "tasty"})


def test_a_photo_of_which_the_model_is_wholly_sure_silences_it() -> None:
    probabilities = np.array([sure(BOLETUS, 1.0), sure(BOLETUS, 1.0)])
    deadly = danger(probabilities, np.array([DEATHCAP, BOLETUS]), LABELS, EDIBILITY)["abstention"]["deadly"]
    assert (deadly["threshold"], deadly["answered"], deadly["top1"]) == (1, 0, None)


photos = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(0.3, 1)), min_size=1, max_size=30)
some_words = st.lists(st.sampled_from(WORDS), min_size=5, max_size=5)


@settings(deadline=None)
@given(photos, some_words)
def test_above_the_threshold_no_such_photo_is_called_edible_and_just_below_one_is(
    rows: list[tuple[int, int, float]], words: list[str]
) -> None:
    truth = np.array([true for true, _, _ in rows])
    probabilities = np.array([sure(called, certainty) for _, called, certainty in rows])
    figures = danger(probabilities, truth, LABELS, dict(zip(LABELS, words, strict=True)))
    stored = probabilities.max(axis=1).astype(np.float32).astype(np.float64)  # as predictions.parquet holds it
    for kind, kinds in (("deadly", ("deadly",)), ("poisonous", DANGEROUS)):
        found = figures["abstention"][kind]
        if found is None:
            assert "edible" not in words or not any(words[true] in kinds for true in truth)
            continue
        assert json.loads(json.dumps(round(found["threshold"], 6))) == found["threshold"]
        bad = np.array([words[t] in kinds and words[c] == "edible" for t, c, _ in rows])
        for certainty in (probabilities.max(axis=1), stored):
            assert not (bad & (certainty > found["threshold"])).any()
        if found["threshold"]:
            assert (bad & (stored > found["threshold"] - 2e-6)).any()
        else:
            assert not bad.any()


@settings(deadline=None)
@given(photos, st.floats(0, 1), st.floats(0, 1))
def test_raising_the_threshold_never_makes_more_dangerous_answers_nor_more_answers(
    rows: list[tuple[int, int, float]], one: float, other: float
) -> None:
    from shroomcurate.training.danger import Photos, expected_cost

    words = np.array([EDIBILITY[label] for label in LABELS])
    truth, called = (np.array([row[i] for row in rows]) for i in (0, 1))
    certainty = np.array([row[2] for row in rows])
    answers = Photos(words[truth], words[called], truth == called, certainty)
    low, high = sorted((one, other))
    assume(low < high)
    assert not (answers.called_edible(high) & ~answers.called_edible(low)).any()
    for cost in (0.0, 100.0):  # what refusing costs is at most one for each photo of an edible species
        eaten = [np.isin(answers.true, DANGEROUS) & answers.called_edible(each) for each in (low, high)]
        lost = expected_cost(answers, high, cost) - expected_cost(answers, low, cost)
        assert lost <= (answers.true == "edible").mean() + 1e-12
        assert cost == 0 or lost <= 1 - cost * (eaten[0].mean() - eaten[1].mean()) + 1e-9


def test_a_poisonous_species_is_recalled_also_as_another_poisonous_one_and_deadly_is_part_of_poisonous() -> None:
    figures = found()
    assert figures["poisonous_taken_for_edible"]["photos"] == sum(figures["test_photos"][word] for word in DANGEROUS)
    assert figures["abstention"]["poisonous"]["threshold"] >= figures["abstention"]["deadly"]["threshold"]

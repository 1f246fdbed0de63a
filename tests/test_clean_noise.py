"""The noise model: the many outvote the one, a person outweighs the marks, and no photo judges itself."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from shroomcurate.clean import noise
from shroomcurate.clean.noise import (
    EVIDENCE_SCALE,
    LEAST_MARKS,
    RIDGE,
    VERDICT_WEIGHT,
    Judgement,
    _leave_one_out,
    _probabilities,
    judge_noise,
)
from tests.cleaning import LENGTH, blob, unit

Floats = NDArray[np.float64]


class Case:
    """Photos of two looks: `good` along one axis, `bad` along another, with marks that are right unless changed."""

    def __init__(self, good: int = 40, bad: int = 10, seed: int = 0, spread: float = 0.3, numbers: int = 3) -> None:
        count = good + bad
        self.vectors = np.concatenate([blob(0, good, seed, spread), blob(5, bad, seed, spread)])
        self.evidence = np.random.default_rng(seed).normal(2, 5, (count, numbers)).astype(np.float32)
        self.marks = np.array([-1] * good + [1] * bad, np.int8)
        self.verdicts = np.zeros(count, np.int8)
        self.clumps = np.full(count, -1, np.int64)

    def judged(self) -> Judgement | None:
        return judge_noise(self.vectors, self.evidence, self.marks, self.verdicts, self.clumps)

    def values(self) -> Floats:
        judgement = self.judged()
        assert judgement is not None
        return judgement.values


def mixed(seed: int) -> Case:
    """A case in which nothing is tidy: wrong marks, photos without a mark, unknown numbers, verdicts against marks."""
    chance = np.random.default_rng(seed)
    case = Case(*chance.integers(12, 30, 2).tolist(), seed=seed, spread=chance.uniform(0.1, 1.0))
    count = len(case.marks)
    case.vectors *= chance.uniform(0.5, 2, (count, 1)).astype(np.float32)
    case.marks[chance.random(count) < 0.1] *= -1
    case.marks[chance.random(count) < 0.2] = 0
    case.evidence[chance.random(case.evidence.shape) < 0.2] = np.nan
    said = chance.random(count) < chance.choice([0.0, 0.2])
    case.verdicts[said] = chance.choice([-1, 1], said.sum())
    return case


def inputs_of(case: Case) -> Floats:
    """What the model sees, written down a second time: vectors of length one, and numbers of equal spread."""
    with np.errstate(invalid="ignore"):
        evidence = case.evidence.astype(np.float64)
        spread = np.nanstd(evidence, axis=0)
        numbers = np.nan_to_num((evidence - np.nanmean(evidence, axis=0)) / spread * EVIDENCE_SCALE)
    return np.column_stack([unit(case.vectors).astype(np.float64), numbers])


def said_and_weights(case: Case) -> tuple[Floats, Floats]:
    said = np.where(case.verdicts != 0, case.verdicts, case.marks).astype(np.float64)
    weights = np.zeros(len(said))
    for side in (-1, 1):
        weights[said == side] = 1 / np.sqrt((said == side).sum())
    weights /= weights[said != 0].mean()
    spoken = case.verdicts != 0
    weights[spoken] = np.maximum(weights[spoken], 1) * VERDICT_WEIGHT
    return said, weights


def fitted_without(inputs: Floats, said: Floats, weights: Floats, left_out: int) -> float:
    """The value for a photo of a model that was fitted without it."""
    rest = np.arange(len(said)) != left_out
    rest &= weights > 0
    model = Ridge(alpha=RIDGE, solver="cholesky").fit(inputs[rest], said[rest], sample_weight=weights[rest])
    return float(model.predict(inputs[left_out : left_out + 1])[0])


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_a_value_is_that_of_a_model_fitted_without_the_photo(seed: int) -> None:
    case = mixed(seed)
    judgement = case.judged()
    assume(judgement is not None)
    assert judgement is not None
    inputs, (said, weights) = inputs_of(case), said_and_weights(case)
    expected = [fitted_without(inputs, said, weights, number) for number in range(len(said))]
    assert judgement.alone == pytest.approx(np.array(expected), abs=2e-5)
    assert (judgement.values == judgement.alone).all(), "here is no clump"


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.data())
def test_what_is_said_of_a_photo_does_not_change_its_own_value(seed: int, data: st.DataObject) -> None:
    case = mixed(seed)
    said, weights = said_and_weights(case)
    own = data.draw(st.integers(0, len(said) - 1))
    evidence = inputs_of(case)[:, LENGTH:]
    before = _leave_one_out(case.vectors, evidence, said, weights)
    said[own] = -said[own]
    after = _leave_one_out(case.vectors, evidence, said, weights)
    assert after[own] == pytest.approx(before[own], abs=2e-5)
    if weights[own]:
        assert np.abs(np.delete(after - before, own)).max() > 1e-5  # yet the others hear it


def test_a_wrong_mark_is_outvoted_by_photos_that_look_alike() -> None:
    case = Case(spread=0.1)
    case.marks[[3, 45]] *= -1
    values = case.values()
    assert (values[:40] < 0).all()
    assert (values[40:] > 0).all()


def test_verdicts_outweigh_the_marks() -> None:
    """Photos that look like noise, all marked, some called fine by a person: then their like is fine."""
    case = Case(good=60, bad=24, spread=0.03, numbers=0)
    assert (case.values()[60:] > 0).all()
    case.verdicts[60:68] = -1
    assert (case.values()[60:] < 0).all()
    assert (case.values()[:60] < 0).all()
    case.verdicts[60:68] = 1
    assert (case.values()[60:] > 0).all()
    # As many marks that differ are only a minority.
    case.verdicts[:] = 0
    case.marks[60:68] = -1
    assert (case.values()[68:] > 0).all()


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_scores_are_probabilities_that_rise_with_the_value(seed: int) -> None:
    judgement = mixed(seed).judged()
    assume(judgement is not None)
    assert judgement is not None
    values, scores = judgement.values, judgement.scores
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (np.diff(scores[np.argsort(values)]) >= 0).all()
    assert ((scores > 0.5) == (values > 0)).all()
    assert (values[scores < 0.5] < 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_where_the_model_has_learned_a_score_is_above_one_half_exactly_where_the_value_is_above_zero(seed: int) -> None:
    judgement = Case(seed=seed).judged()
    assert judgement is not None
    assert ((judgement.scores > 0.5) == (judgement.values > 0)).all()
    assert ((judgement.scores < 0.5) == (judgement.values < 0)).all()


def test_a_score_tells_the_side_however_near_the_line_the_value_is() -> None:
    """Rounding alone would put it on the line."""
    case = Case()
    said, weights = said_and_weights(case)
    values = np.where(said > 0, 1.0, -1.0)
    values[[0, 1, 2]] = [1e-12, 0, -1e-12]
    scores = _probabilities(values, said, weights)
    assert scores is not None
    assert scores[0] > 0.5
    assert (scores[[1, 2]] == 0.5).all()


def test_of_marks_that_mean_nothing_it_is_silent_or_its_scores_tell_the_sides_apart() -> None:
    """Marks by chance: what the others say of a photo is then as often wrong as right, or more often."""
    silent = 0
    for seed in range(20):
        chance = np.random.default_rng(seed)
        case = Case(good=30, bad=30, seed=seed, spread=10)
        case.marks = chance.choice(np.array([-1, 1], np.int8), 60)
        judgement = case.judged()
        if judgement is None:
            silent += 1
        else:
            assert ((judgement.scores > 0.5) == (judgement.values > 0)).all()
    assert 0 < silent < 20


def test_it_is_silent_where_the_others_foretell_the_opposite() -> None:
    """Each look twice, once marked as noise and once not: what the twin says is always wrong."""
    case = Case(good=30, bad=0, numbers=0)
    case.vectors = np.repeat(np.eye(30, LENGTH, dtype=np.float32)[:15], 2, axis=0)
    case.marks = np.tile(np.array([-1, 1], np.int8), 15)
    assert case.judged() is None
    case.marks = np.array([-1, -1, *[1, 1] * 2] * 5, np.int8)
    assert case.judged() is not None, "what a twin says is right"


# -- what it cannot learn from -----------------------------------------------------------------------------------


def test_it_is_silent_where_there_is_nothing_to_learn_from() -> None:
    case = Case(bad=LEAST_MARKS)
    assert case.judged() is not None
    case.marks[-1] = 0
    assert case.judged() is None, "too few marks of noise"
    case.verdicts[0] = -1
    assert case.judged() is None, "verdicts of one kind"
    case.verdicts[-1] = 1
    assert case.judged() is not None, "a person has shown both"
    nobody = Case(bad=20)
    nobody.marks[:] = np.maximum(nobody.marks, 0)
    assert nobody.judged() is None, "nothing that belongs"
    unmarked = Case()
    unmarked.marks[:] = 0
    assert unmarked.judged() is None


def test_verdicts_of_both_kinds_teach_where_no_class_could_be_judged() -> None:
    case = Case(spread=0.1, numbers=0)
    case.marks[:] = 0
    case.verdicts[[0, 1, 48, 49]] = [-1, -1, 1, 1]
    values = case.values()
    assert (values[:40] < 0).all()
    assert (values[40:] > 0).all()


def test_numbers_that_are_not_known_say_nothing() -> None:
    """All unknown, as without ImageNet's head, is the same as no such number, and as one that is equal of all."""
    case = Case()
    without = case.values()
    for filler in (np.nan, 0.0, 0.1, 1e6):
        case.evidence = np.column_stack([case.evidence[:, :3], np.full(50, filler, np.float32)])
        assert case.values() == pytest.approx(without, abs=2e-5)


def test_one_unknown_number_is_taken_for_the_mean() -> None:
    case = Case()
    case.evidence[7, 1] = np.nan
    unknown = case.values()
    case.evidence[7, 1] = np.nanmean(case.evidence[:, 1].astype(np.float64))
    assert case.values() == pytest.approx(unknown, abs=5e-3)  # the spread is a little less
    assert np.isfinite(unknown).all()


def test_evidence_decides_where_photos_look_alike() -> None:
    case = Case(bad=10)
    case.vectors = blob(0, 50, spread=0.05)
    assert (case.values()[40:] <= 0).mean() > 0.5
    case.evidence[40:, 0] += 100
    assert (case.values()[40:] > 0).all()
    assert (case.values()[:40] < 0).all()


# -- clumps ------------------------------------------------------------------------------------------------------


def test_a_clump_is_judged_together() -> None:
    case = Case(spread=0.5, seed=2)
    alone = case.values()
    case.clumps[40:] = 0
    together = case.values()
    assert (together[:40] == alone[:40]).all()
    assert together[40:] == pytest.approx((alone[40:] + alone[40:].mean()) / 2, abs=1e-9)
    assert np.ptp(together[40:]) == pytest.approx(np.ptp(alone[40:]) / 2)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_each_clump_has_its_own_mean_whatever_its_number(seed: int) -> None:
    case = mixed(seed)
    case.clumps = np.random.default_rng(seed).choice([-1, -1, 0, 3, 1000], len(case.marks))
    judgement = case.judged()
    assume(judgement is not None)
    assert judgement is not None
    for clump in (0, 3, 1000):
        mine = case.clumps == clump
        if mine.any():
            expected = (judgement.alone[mine] + judgement.alone[mine].mean()) / 2
            assert judgement.values[mine] == pytest.approx(expected, abs=1e-9)
    lone = case.clumps == -1
    assert (judgement.values[lone] == judgement.alone[lone]).all()


def test_company_takes_a_doubtful_photo_along() -> None:
    """A photo halfway between class and noise goes in a clump of noise, and stays alone."""
    case = Case(spread=0.05, bad=12)
    case.vectors[-1] = unit(0.62 * case.vectors[:1] + 0.38 * case.vectors[40:41])[0]
    assert case.values()[-1] < 0
    case.clumps[40:] = 0
    assert case.values()[-1] > 0


# -- order, blocks, memory ---------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_the_order_of_photos_does_not_matter(seed: int) -> None:
    case = mixed(seed)
    case.clumps[::7] = 0
    first = case.judged()
    assume(first is not None)
    assert first is not None
    order = np.random.default_rng(seed).permutation(len(case.marks))
    for name in ("vectors", "evidence", "marks", "verdicts", "clumps"):
        setattr(case, name, getattr(case, name)[order])
    second = case.judged()
    assert second is not None
    assert second.values == pytest.approx(first.values[order], abs=3e-5)
    assert second.scores == pytest.approx(first.scores[order], abs=1e-3)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    case = mixed(4)
    whole = case.values()
    for block in (1, 7, len(whole) - 1, len(whole)):
        monkeypatch.setattr(noise, "_BLOCK", block)
        assert case.values() == pytest.approx(whole, abs=2e-5)


def test_a_hundred_thousand_photos_need_no_matrix_of_all_with_all() -> None:
    chance = np.random.default_rng(0)
    count, length = 100_000, 64
    marks = np.where(chance.random(count) < 0.1, 1, -1).astype(np.int8)
    vectors = chance.standard_normal((count, length), np.float32)
    vectors[marks > 0, 0] += 8
    evidence = chance.standard_normal((count, 38), np.float32)
    given: list[NDArray[Any]] = [vectors, evidence, marks]
    verdicts, clumps = np.zeros(count, np.int8), np.full(count, -1, np.int64)
    tracemalloc.start()
    try:
        judgement = judge_noise(vectors, evidence, marks, verdicts, clumps)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert judgement is not None
    assert ((judgement.values > 0) == (marks > 0)).mean() > 0.99
    assert peak < sum(each.nbytes for each in given) + 150 * 2**20

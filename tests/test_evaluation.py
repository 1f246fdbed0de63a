from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from sklearn import metrics as reference

from shroomcurate.training import evaluation as ev

LABELS = ("a", "b", "c")
#              called a  b  c
MATRIX = np.array([[3, 1, 0], [2, 2, 0], [0, 1, 1]])


def sample(seed: int, photos: int = 400, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right more often than not, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, photos)
    return rng.normal(size=(photos, classes)) * 2 + 3 * np.eye(classes)[truth] * rng.random((photos, 1)), truth


def test_precision_recall_and_f1_by_hand() -> None:
    precision, recall, f1 = ev.precision_recall_f1(MATRIX)
    assert precision.tolist() == [3 / 5, 2 / 4, 1]
    assert recall.tolist() == [3 / 4, 2 / 4, 1 / 2]
    assert f1 == pytest.approx([2 / 3, 1 / 2, 2 / 3])
    assert ev.macro_f1(MATRIX) == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)


def test_a_class_that_is_never_called_has_precision_0_and_an_absent_class_does_not_count() -> None:
    matrix = np.array([[2, 0, 0], [2, 0, 0], [0, 0, 0]])
    precision, recall, f1 = ev.precision_recall_f1(matrix)
    assert precision[1] == recall[1] == f1[1] == f1[2] == 0
    assert ev.macro_f1(matrix) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_every_figure_agrees_with_scikit_learn(seed: int) -> None:
    logits, truth = sample(seed)
    labels = [f"class {i}" for i in range(7)]
    alone = [str(i) for i in range(len(truth))]
    found = ev.evaluate(logits, truth, alone, labels, temperature=1.0, observations=alone)
    predicted = logits.argmax(axis=1)
    precision, recall, f1, support = reference.precision_recall_fscore_support(truth, predicted, labels=range(7))
    assert found["top1"] == pytest.approx(reference.accuracy_score(truth, predicted))
    assert found["top5"] == pytest.approx(reference.top_k_accuracy_score(truth, logits, k=5))
    assert found["confusion"] == reference.confusion_matrix(truth, predicted).tolist()
    for i, label in enumerate(labels):
        assert found["per_class"][label] == pytest.approx(
            {"precision": precision[i], "recall": recall[i], "f1": f1[i], "photos": support[i]}
        )
    assert found["macro_precision"] == pytest.approx(precision.mean())
    assert found["macro_recall"] == pytest.approx(recall.mean())
    assert found["macro_f1"] == pytest.approx(f1.mean())
    assert ev.log_loss(logits, truth) == pytest.approx(reference.log_loss(truth, ev.softmax(logits)))
    assert found["brier"] == pytest.approx(reference.brier_score_loss(truth, ev.softmax(logits), labels=range(7)))
    votes = {"photos": len(truth), "top1": pytest.approx(found["top1"])}
    assert found["by_observation"] == {"observations": len(truth), **votes}
    assert found["by_group"] == {"groups": len(truth), **votes}
    assert found["test_photos"] == len(truth)


def test_top_k_counts_a_class_that_is_second_only_from_k_2_on() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    truth = np.array([1, 2])
    assert [ev.top_k_accuracy(probabilities, truth, k) for k in (1, 2, 3)] == [0, 0.5, 1]


def test_top_5_of_three_classes_is_everything() -> None:
    logits, truth = sample(0, photos=9, classes=3)
    assert ev.evaluate(logits, truth, ["g"] * 9, LABELS, 1.0)["top5"] == 1


def test_confused_pairs_count_both_ways_worst_first() -> None:
    assert ev.most_confused(MATRIX, LABELS) == [
        {"classes": ["a", "b"], "mistakes": 3, "share": 3 / 8},
        {"classes": ["b", "c"], "mistakes": 1, "share": 1 / 6},
    ]
    assert len(ev.most_confused(MATRIX, LABELS, at_most=1)) == 1


def test_calibration_error_by_hand() -> None:
    # Two bins of two photos each: sure 0.62 and right half the time; sure 0.95 and always right.
    probabilities = np.array([[0.61, 0.39], [0.63, 0.37], [0.95, 0.05], [0.05, 0.95]])
    error, bins = ev.calibration(probabilities, np.array([0, 1, 0, 1]))
    assert error == pytest.approx(0.5 * abs(0.62 - 0.5) + 0.5 * abs(0.95 - 1))
    filled = [row for row in bins if row["photos"]]
    assert len(bins) == 15
    assert [row["photos"] for row in filled] == [2, 2]
    assert [row["accuracy"] for row in filled] == [0.5, 1]
    assert [row["confidence"] for row in filled] == pytest.approx([0.62, 0.95])
    assert bins[0]["accuracy"] is None


def test_bins_are_open_below_and_closed_above() -> None:
    _, bins = ev.calibration(np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]]), np.array([0, 0, 0]), bins=4)
    assert [row["photos"] for row in bins] == [0, 1, 1, 1]


@settings(deadline=None)  # the first example imports SciPy
@given(
    st_numpy.arrays(np.float64, (12, 4), elements=st.floats(-30, 30)),
    st_numpy.arrays(np.int64, 12, elements=st.integers(0, 3)),
)
def test_probabilities_add_up_and_every_share_lies_between_0_and_1(logits: np.ndarray, truth: np.ndarray) -> None:
    assert ev.softmax(logits, 0.05).sum(axis=1) == pytest.approx(np.ones(12))
    found = ev.evaluate(logits, truth, [str(i % 5) for i in range(12)], list("abcd"), 2.0)
    for name in ("top1", "top5", "macro_f1", "macro_precision", "macro_recall", "ece", "ece_calibrated"):
        assert 0 <= found[name] <= 1
    assert found["top1"] <= found["top5"]
    assert sum(row["photos"] for row in found["reliability"]) == 12


@pytest.mark.parametrize("true_temperature", [0.5, 3.0])
def test_the_temperature_that_spoilt_calibration_is_found_again(true_temperature: float) -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(size=(4000, 3)) * 2
    truth = np.array([rng.choice(3, p=row) for row in ev.softmax(honest)])
    spoilt = honest * true_temperature
    temperature = ev.fit_temperature(spoilt, truth)
    assert temperature == pytest.approx(true_temperature, rel=0.1)
    before, _ = ev.calibration(ev.softmax(spoilt), truth)
    after, _ = ev.calibration(ev.softmax(spoilt, temperature), truth)
    assert after < before / 2


@pytest.mark.parametrize(("margin", "right"), [(4.0, 3), (0.5, 3), (2.0, 2.2)])
def test_the_temperature_by_hand(margin: float, right: float) -> None:
    # Ten photos of two classes, each called by the same margin m. Most likely is sigmoid(m / T) = the share that is
    # right, so T = m / log(right / wrong).
    logits = np.tile([margin, 0.0], (40, 1))
    truth = np.array([0] * round(10 * right) + [1] * (40 - round(10 * right)))
    assert ev.fit_temperature(logits, truth) == pytest.approx(margin / np.log(right / (4 - right)), rel=1e-3)


def test_a_temperature_above_1_makes_less_sure_and_changes_no_prediction_by_hand() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 4.0]])
    assert ev.softmax(logits)[:, 0] == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(4))])
    assert ev.softmax(logits, 2.0)[:, 0] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(2))])
    # sure 0.881 and 0.982 before, 0.731 and 0.881 after; the first is wrong, each has a bin of its own
    before, after = (ev.calibration(ev.softmax(logits, each), np.array([1, 1]))[0] for each in (1.0, 2.0))
    assert before == pytest.approx((0.880797 + 1 - 0.982014) / 2, abs=1e-6)
    assert after == pytest.approx((0.731059 + 1 - 0.880797) / 2, abs=1e-6)


def test_the_brier_score_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert ev.brier(probabilities[:1], np.array([0])) == pytest.approx(0.3**2 + 0.2**2 + 0.1**2)
    assert ev.brier(probabilities[1:], np.array([1, 0])) == pytest.approx((0 + 2) / 2)


def test_photos_of_one_observation_vote_once() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])  # the mean of the first two is for class 0
    truth = np.array([0, 0, 0])

    def voted(truth: np.ndarray, boxes: list[str | None]) -> dict[str, object] | None:
        return ev.votes(probabilities, truth, boxes, "observations")

    assert voted(truth, ["g", "g", "h"]) == {"observations": 2, "photos": 3, "top1": 0.5}
    assert voted(truth, ["g", "h", "h"]) == {"observations": 2, "photos": 3, "top1": 0.5}
    assert voted(np.array([0, 1, 1]), ["g", "g", "g"]) == {"observations": 2, "photos": 3, "top1": 1}
    assert voted(truth, ["g", None, None]) == {"observations": 1, "photos": 1, "top1": 1}
    assert voted(truth, [None, None, None]) is None


def test_observations_vote_by_themselves_where_near_duplicates_make_one_group_of_them() -> None:
    logits = np.log([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])  # the first alone is right; the group's mean is for class 0
    truth = np.zeros(3, np.int64)
    found = ev.evaluate(logits, truth, ["g", "g", "g"], ["a", "b"], 1.0, observations=["x", "y", "y"])
    assert found["by_observation"] == {"observations": 2, "photos": 3, "top1": 0.5}
    assert found["by_group"] == {"groups": 1, "photos": 3, "top1": 1}
    assert ev.evaluate(logits, truth, ["g", "g", "g"], ["a", "b"], 1.0)["by_observation"] is None


def test_the_bootstrap_holds_the_difference_inside_its_interval_and_is_seeded() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 150)
    worse = np.where(rng.random(150) < 0.4, (truth + 1) % 3, truth)
    better = np.where(rng.random(150) < 0.1, (truth + 1) % 3, truth)
    groups = [str(i // 2) for i in range(150)]
    found = ev.bootstrap_difference(truth, worse, better, groups, classes=3, resamples=300, seed=5)
    again = ev.bootstrap_difference(truth, worse, better, groups, classes=3, resamples=300, seed=5)
    assert found == again
    assert found["top1"]["difference"] == pytest.approx((better == truth).mean() - (worse == truth).mean())
    expected = reference.f1_score(truth, better, average="macro") - reference.f1_score(truth, worse, average="macro")
    assert found["macro_f1"]["difference"] == pytest.approx(expected)
    for figures in found.values():
        assert 0 < figures["low"] < figures["difference"] < figures["high"]


def test_a_model_against_itself_differs_by_nothing() -> None:
    truth = np.array([0, 1, 0, 1])
    found = ev.bootstrap_difference(truth, truth, truth, list("abcd"), classes=2, resamples=50, seed=0)
    assert found["top1"] == {"difference": 0, "low": 0, "high": 0}


def test_the_bootstrap_draws_groups_not_photos() -> None:
    # 40 photos in two groups: one group is always better, the other never. Drawn by photo, the interval would be thin.
    truth = np.zeros(40, np.int64)
    worse, better = np.ones(40, np.int64), np.array([0] * 20 + [1] * 20)
    found = ev.bootstrap_difference(truth, worse, better, ["x"] * 20 + ["y"] * 20, classes=2, resamples=200, seed=0)
    assert (found["top1"]["low"], found["top1"]["high"]) == (0, 1)


@settings(deadline=None, max_examples=30)  # the first example imports SciPy
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 3))
def test_scores_of_a_draw_are_those_of_its_photos_written_out(seed: int, groups: int, models: int) -> None:
    rng = np.random.default_rng(seed)
    number = rng.integers(0, groups, 30)
    truth, predicted = rng.integers(0, 4, 30), rng.integers(0, 4, (models, 30))
    resampled = ev.Resampled(truth, predicted, [f"{each:02}" for each in number], 4)
    names = np.unique(number)
    draws = rng.integers(0, 3, (5, len(names)))
    draws[:, 0] += 1  # a draw is never empty
    found = resampled.scores(draws)
    for draw in range(5):
        rows = np.repeat(np.arange(30), draws[draw][np.searchsorted(names, number)])
        for model in range(models):
            called = predicted[model][rows]
            f1 = reference.f1_score(truth[rows], called, labels=np.unique(truth[rows]), average="macro")
            assert found[model, draw] == pytest.approx([(called == truth[rows]).mean(), f1])
    once = resampled.drawn(7, np.random.default_rng(seed))
    assert once.shape == (models, 7, 2)
    assert (once == resampled.drawn(7, np.random.default_rng(seed))).all()


def test_seeds_are_drawn_too_and_their_mean_is_the_difference() -> None:
    truth = np.zeros(40, np.int64)
    worse, better = np.ones((2, 40), np.int64), np.stack([np.zeros(40, np.int64), np.ones(40, np.int64)])
    found = ev.bootstrap_difference(truth, worse, better, list(map(str, range(40))), classes=2, resamples=200, seed=0)
    assert found["top1"] == {"difference": 0.5, "low": 0, "high": 1}  # the first seed is all better, the other not

"""A person's word: it holds, it teaches, and the run says how far to trust what was learned and what to ask next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shroomcurate.clean.tables import Photographs
from shroomcurate.vectors import ALIKE
from shroomcurate.verdicts import Verdict
from tests.cleaning import (
    CLASSES,
    KEEP,
    LENGTH,
    NOISE,
    REMOVE,
    blob,
    decide,
    known,
    noisy_classes,
    paths_of,
    unit,
    with_clump,
)

# -- a person's word ---------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(st.integers(0, 1000), st.booleans())
def test_verdicts_hold_whatever_the_model_says(seed: int, learn: bool) -> None:
    chance = np.random.default_rng(seed)
    every = [path for name in CLASSES for path in paths_of(name, range(68))]
    said = {path: (KEEP, REMOVE)[chance.integers(2)] for path in chance.choice(every, 30, replace=False).tolist()}
    photo, _ = decide(known(noisy_classes()), said, learn=learn)
    for path, verdict in said.items():
        assert photo[path].reason == verdict.reason
        assert photo[path].decided_by == "person"


def test_twenty_verdicts_that_call_a_kind_of_photo_fine_bring_its_like_back() -> None:
    """Mushrooms in baskets stand outside every class; a person wants them, and still no mountains."""
    classes = noisy_classes(bad=14)
    for axis, name in enumerate(CLASSES):
        classes[name] = np.concatenate([classes[name], blob(7, 8, seed=axis, spread=0.05)])
    baskets = [path for name in CLASSES for path in paths_of(name, range(60, 74))]
    mountains = [path for name in CLASSES for path in paths_of(name, range(74, 82))]
    photo, _ = decide(known(classes))
    assert all(photo[path].reason for path in baskets + mountains)
    said = dict.fromkeys(baskets[::2][:20], KEEP)
    photo, judged = decide(known(classes), said)
    rest = [path for path in baskets if path not in said]
    assert len(rest) >= 20
    assert not any(photo[path].reason for path in rest)
    assert {photo[path].decided_by for path in rest} == {"model"}
    assert all(photo[path].reason for path in mountains)
    assert judged.trust is not None
    assert judged.trust.verdicts == len(said)


def honest(photographs: Photographs, said: Mapping[str, Verdict]) -> dict[str, bool]:
    """What is said of each photo with a verdict by a run that does not know this verdict: path -> noise."""
    found = {}
    for path in said:
        photo, _ = decide(photographs, {other: verdict for other, verdict in said.items() if other != path})
        found[path] = photo[path].reason is not None
    return found


def test_trust_counts_what_runs_without_the_verdict_would_have_done() -> None:
    classes = {name: vectors[:66] for name, vectors in noisy_classes(bad=8).items()}
    every = [path for name in CLASSES for path in paths_of(name, range(66))]
    right = {path: REMOVE if int(Path(path).stem) >= 60 else KEEP for path in every[::8]}
    odd = {paths_of(CLASSES[0], [3])[0]: REMOVE, paths_of(CLASSES[1], [5])[0]: REMOVE}
    said = right | odd
    photographs = known(classes)
    _, judged = decide(photographs, said)
    noise = honest(photographs, said)
    assert judged.trust is not None
    assert judged.trust.verdicts == len(said)
    assert judged.trust.would_remove == sum(noise[path] and said[path].keep for path in said)
    assert judged.trust.would_keep == sum(not noise[path] and not said[path].keep for path in said) == 2
    assert judged.trust.agreed == len(said) - judged.trust.would_remove - judged.trust.would_keep
    assert decide(photographs)[1].trust is None, "no verdicts, nothing to compare with"


def test_trust_does_not_learn_a_verdict_from_the_clump_it_stands_in() -> None:
    """Of a clump of noise a person keeps two photos: without either verdict that photo would have gone.

    The verdicts bring the clump's others back, whose mean counts half; by that they would be foretold.
    """
    classes, clump = with_clump(9, 7)
    said = dict.fromkeys(clump[:2], KEEP)
    photographs = known(classes)
    assert honest(photographs, said) == dict.fromkeys(said, True)
    photo, judged = decide(photographs, said)
    assert judged.trust is not None
    assert (judged.trust.agreed, judged.trust.would_remove) == (0, 2)
    assert max(photo[path].score for path in clump) < 0.5


# -- suggestions -------------------------------------------------------------------------------------------------


def test_suggestions_are_the_most_doubtful_without_a_verdict_and_none_are_alike() -> None:
    classes = {
        name: np.concatenate([vectors, unit(np.eye(LENGTH)[axis] + np.eye(LENGTH)[NOISE] + noise)])
        for axis, (name, vectors) in enumerate(noisy_classes().items())
        for noise in [np.random.default_rng(axis).normal(0, 0.2, (12, LENGTH))]
    }
    photographs = known(classes)
    doubt = {path: abs(photo.score - 0.5) for path, photo in decide(photographs)[0].items()}
    most = min(doubt, key=lambda path: (doubt[path], path))
    said = {most: KEEP, paths_of(CLASSES[0], [62])[0]: REMOVE}
    for wanted in (0, 1, 10, 10_000):
        photo, judged = decide(photographs, said, suggest=wanted)
        named = [suggestion.path for suggestion in judged.suggestions]
        assert len(named) == len(set(named)) <= wanted
        assert not set(named) & set(said)
        assert [suggestion.score for suggestion in judged.suggestions] == [photo[path].score for path in named]
        doubts = [abs(photo[path].score - 0.5) for path in named]
        assert doubts == sorted(doubts)
        place = {path: number for number, path in enumerate(photographs.paths)}
        vectors = unit(photographs.vectors[[place[path] for path in named]])
        likeness = vectors @ vectors.T - np.eye(len(named))
        assert (likeness < ALIKE).all()
        if wanted == 10:
            assert len(named) == 10
            # Whoever is more doubtful than the last and was passed over is like one who was named.
            for path, each in photo.items():
                if path in said or path in named or abs(each.score - 0.5) >= doubts[-1]:
                    continue
                assert (unit(photographs.vectors[[place[path]]]) @ vectors.T).max() >= ALIKE - 1e-6


def test_a_copy_of_a_photo_that_stays_is_not_suggested() -> None:
    photographs = known(noisy_classes())
    photo, judged = decide(photographs, suggest=10_000)
    own = [each.path for each in judged.suggestions if photo[each.path].class_name == CLASSES[1]]
    first, copy = sorted([path for path in own if photo[path].reason is None][:2])
    photographs.sha256[photographs.paths.index(copy)] = first  # what it is in :func:`known`
    photo, judged = decide(photographs, suggest=10_000)
    assert (photo[copy].reason, photo[copy].duplicate_of) == ("duplicate", first)
    named = {each.path for each in judged.suggestions}
    assert first in named
    assert copy not in named


def test_a_duplicate_that_a_person_removes_teaches_nothing() -> None:
    """It is a good photo that is there twice."""
    every = [path for name in CLASSES for path in paths_of(name, range(60))]
    said = dict.fromkeys(every[:30], Verdict(False, "duplicate"))
    photographs = known(noisy_classes())
    plain, _ = decide(photographs)
    photo, judged = decide(photographs, said)
    assert [path for path in every[30:] if photo[path].reason != plain[path].reason] == []
    assert judged.trust is None

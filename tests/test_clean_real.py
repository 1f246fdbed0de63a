"""Cleaning real photographs: what the benchmark shows holds with a margin, on the half that nothing was chosen on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.clean_score import figures
from benchmarks.clean_teach import ASKERS, REASON_OF, verdict_curve
from benchmarks.planted import Collection, Material, draw, material, plant, read_pictures
from shroomcurate.clean import CleanOptions
from shroomcurate.embed import EmbedOptions

pytestmark = [pytest.mark.shared, pytest.mark.slow]

#: Good photos of each species. All of them would take a minute to embed.
EACH = 150

Photographs = tuple[Collection, Material]


@pytest.fixture(scope="module")
def second(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Photographs]:
    """Photos of the second half's two large species, and its planted pictures, embedded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHROOMCURATE_HOME", str(tmp_path_factory.getbasetemp() / "converted"))
        whole = material(read_pictures(shared / "inat-mini"), "second")
        few = Material(draw(whole.good, EACH, "test"), {}, whole.noise)
        pictures = sorted({*few.noise, *(each for drawn in few.big.values() for each in drawn)})
        yield Collection(pictures, tmp_path_factory.mktemp("real"), EmbedOptions(weights=shared / "weights")), few


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_pictures_are_found(second: Photographs, seed: int) -> None:
    collection, stuff = second
    plan = plant(stuff.good, stuff.noise, 0.1, seed)
    found = figures(collection.judge(plan, collection.build(plan, "tenth"), CleanOptions()))
    assert found["noise"] == pytest.approx(0.1 * (found["noise"] + found["good"]), abs=1)
    assert found["left alone"] == 0
    assert found["F1"] >= 0.92
    assert found["AP"] >= 0.97


def test_where_nothing_was_planted_hardly_a_photo_goes(second: Photographs) -> None:
    collection, stuff = second
    plan = plant(stuff.good, stuff.noise, 0, 0)
    found = figures(collection.judge(plan, collection.build(plan, "none"), CleanOptions()))
    assert found["left alone"] == 0
    assert found["lost"] <= 0.03


def test_fifty_suggested_verdicts_leave_hardly_a_mistake(second: Photographs) -> None:
    collection, stuff = second
    plan = plant(stuff.good, stuff.noise, 0.1, 1)
    curve = verdict_curve(collection, plan, [0, 50], ASKERS["suggest"], CleanOptions())
    assert curve[50]["verdicts"] == 50
    assert 0 < curve[50]["noise among them"] < 50, "the doubtful ones are of both kinds"
    assert curve[50]["F1"] >= max(0.96, curve[0]["F1"])
    assert curve[50]["AP"] >= 0.97
    assert curve[50]["rest F1"] >= min(0.96, curve[50]["before F1"])


def test_most_reasons_are_what_a_person_would_say(second: Photographs) -> None:
    collection, stuff = second
    right, known = 0, 0
    for seed in range(3):
        plan = plant(stuff.good, stuff.noise, 0.1, seed)
        judged = collection.judge(plan, collection.build(plan, "reasons"), CleanOptions())
        gone = judged.noise & judged.removed
        said = [REASON_OF[kind] for kind in judged.kinds[gone].tolist()]
        right += sum(why == reason for why, reason in zip(said, judged.reasons[gone].tolist(), strict=True))
        known += len(said)
    assert known > 90
    assert right / known > 0.6

"""The plots of a run, read as the text that their SVG files hold."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.training.plots import write_plots
from tests.reported import add_history, metrics_of


def words(file: Path) -> list[str]:
    """The words of each text of a plot, in its order."""
    texts = re.findall(r"<text [^>]*>(.*?)</text>", file.read_text("utf-8"), re.DOTALL)
    return [" ".join(unescape(re.sub(r"<[^>]*>", " ", each)).split()) for each in texts]


def drawn(folder: Path, classes: int) -> Path:
    points = [
        {"per_class": n, "top1": {"mean": 0.8, "sd": 0.1}, "macro_f1": {"mean": 0.7, "sd": None}} for n in (4, 29)
    ]
    curve = {"model": "probe", "points": points}
    names = [f"Genus_species{number}" for number in range(classes)]
    add_history(folder, [0.004, 0.0012, 0.0002, 0.0002])
    write_plots(folder, metrics_of(names, safety=SAFETY_NOTICE, learning_curve=curve))
    return folder / "plots"


def test_every_plot_has_a_title_and_says_what_its_axes_are(tmp_path: Path) -> None:
    plots = drawn(tmp_path, 3)
    for name, said in {
        "confusion": ("What 27 test photos are taken for", "what the model says", "what the photo shows"),
        "epochs": ("How it learned", "accuracy"),
        "learning_curve": ("Would more photos help?", "training photos of each class", "4", "29"),
        "reliability": ("How far the model's certainty can be believed", "share that is right"),
    }.items():
        assert set(said) <= set(words(plots / f"{name}.svg")), name


@pytest.mark.parametrize(("classes", "counted"), [(3, True), (12, True), (13, False), (40, False)])
def test_the_confusion_of_few_classes_has_a_figure_in_each_cell_and_always_the_notice(
    classes: int, counted: bool, tmp_path: Path
) -> None:
    said = words(drawn(tmp_path, classes) / "confusion.svg")
    figures = [each for each in said if re.fullmatch(r"[0-9]+", each)]
    assert figures == (
        ["8" if i == j else str(int(j == (i + 1) % classes)) for i in range(classes) for j in range(classes)]
        if counted
        else []
    )
    assert SAFETY_NOTICE in " ".join(said)


def test_equal_figures_give_equal_plots(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        drawn(tmp_path / name, 3)
    for file in (tmp_path / "a" / "plots").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / "plots" / file.name).read_bytes()

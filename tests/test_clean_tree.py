"""`clean --images`: class folders that somebody else made, with no selection, and every option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from shroomcurate.cli import app
from shroomcurate.dataset import Dataset, read_receipt, read_table
from shroomcurate.evidence import EVIDENCE
from tests.conftest import jpeg


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of 40 pictures of one colour each, and in both five letters on white."""
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(("Ash", "Beech")):
        target = tmp_path / "data" / "trees" / name
        target.mkdir(parents=True)
        for number in range(40):
            (target / f"{number:03}.jpg").write_bytes(jpeg(100 * place + number, hue=20 + 120 * place))
        for number in range(5):
            letter = Image.new("RGB", (160, 120), "white")
            draw = ImageDraw.Draw(letter)
            for line in range(12):
                draw.text((4, 10 * line), f"{name} {number} " * 6, fill="black")
            letter.save(target / f"letter {number}.png")
    return tmp_path / "data" / "trees"


def clean(folder: Path, *words: str) -> dict[str, Any]:
    eps = [] if "--auto-eps" in words else ["--eps", "0.2"]
    command = ["clean", "--images", str(folder), "--embedder", "classic", "--json", *eps, *words]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def judged(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in read_table(folder.parent / "clean.parquet").to_pylist()}


def everything(folder: Path) -> dict[str, bytes]:
    """All files but locks, and what is in them."""
    return {
        str(file.relative_to(folder.parent)): file.read_bytes()
        for file in sorted(folder.parent.rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    }


def test_letters_go_and_the_tables_lie_beside_the_tree(folder: Path) -> None:
    before = everything(folder)
    planned = clean(folder, "--dry-run", "--suggest", "5")
    assert everything(folder) == before
    summary = clean(folder, "--suggest", "5")
    assert (planned["removed"], planned["suggestions"]) == (summary["removed"], summary["suggestions"])
    assert summary["left_alone"] == {}
    assert summary["classes"] == {name: {"kept": 40, "removed": 5} for name in ("Ash", "Beech")}
    assert {path.name for path in folder.parent.iterdir() if not path.name.startswith(".")} == {
        "trees", "removed", "clean.parquet", "embeddings.parquet",
    }  # fmt: skip
    assert not (folder.parent.parent / "dataset").exists()
    for path, row in judged(folder).items():
        letter = "letter" in path
        assert row["kept"] is not letter
        assert row["photo_id"] is None
        assert Dataset(images=folder).locate(path, row["reason"]).is_file()
        assert (row["score"] > 0.5) is letter
    assert 0 < len(summary["suggestions"]) <= 5
    assert all(each["path"].startswith("trees/") for each in summary["suggestions"])


def test_what_was_measured_stands_in_both_tables(folder: Path) -> None:
    clean(folder)
    rows = judged(folder)
    for row in read_table(folder.parent / "embeddings.parquet").to_pylist():
        for column in EVIDENCE:
            assert rows[row["path"]][column.name] == row[column.name]
            assert (row[column.name] is None) == column.name.startswith("imagenet_")  # classic has no such head


def test_verdicts_beside_the_tree_count_and_teach(folder: Path) -> None:
    first = clean(folder)
    assert first["trust"] is None
    lines = ["path,verdict,reason,note,when", "trees/Ash/000.jpg,remove,blurred,,"]
    lines += [f"trees/Ash/letter {number}.png,keep,,," for number in range(5)]
    (folder.parent / "verdicts.csv").write_text("\n".join(lines) + "\n")
    summary = clean(folder, "--suggest", "100")
    assert summary["decided_by"]["person"] == 6
    assert summary["trust"]["verdicts"] == 6
    assert summary["moved_back"] >= 5
    rows = judged(folder)
    assert rows["trees/Ash/000.jpg"]["reason"] == "blurred"
    assert all(rows[f"trees/Ash/letter {number}.png"]["kept"] for number in range(5))
    assert (folder.parent / "removed" / "blurred" / "Ash" / "000.jpg").is_file()
    said = {line.split(",")[0] for line in lines}
    assert not said & {each["path"] for each in summary["suggestions"]}
    again = clean(folder, "--suggest", "100")
    assert again["suggestions"] == summary["suggestions"]
    assert (again["moved_out"], again["moved_back"]) == (0, 0)


@pytest.mark.parametrize(
    ("words", "option", "value"),
    [
        (["--auto-eps"], "auto_eps", True),
        (["--no-learn"], "learn", False),
        (["--min-samples", "12"], "min_samples", 12),
        (["--min-share", "0.3"], "min_share", 0.3),
        (["--max-share", "0.2"], "max_share", 0.2),
    ],
)
def test_every_option_arrives(folder: Path, words: list[str], option: str, value: object) -> None:
    summary = clean(folder, *words)
    receipt = read_receipt(folder.parent / "clean.parquet")
    assert receipt is not None
    assert receipt.options[option] == value
    assert "suggest" not in receipt.options
    assert summary["removed"] == 10
    assert bool(summary["eps"]) is (option == "auto_eps")


def test_no_more_than_max_share_goes(folder: Path) -> None:
    summary = clean(folder, "--max-share", "0.1")
    assert set(summary["left_alone"]) == {"Ash", "Beech"}
    assert set(summary["reasons"]) <= {"duplicate"}


def test_a_number_of_suggestions_below_nought_is_refused(folder: Path) -> None:
    result = CliRunner().invoke(app, ["clean", "--images", str(folder), "--suggest", "-1"])
    assert result.exit_code == 2
    assert "--suggest" in result.stderr


def test_one_eps_and_one_for_each_class_are_not_both_to_be_had(folder: Path) -> None:
    result = CliRunner().invoke(app, ["clean", "--images", str(folder), "--auto-eps", "--eps", "0.2"])
    assert result.exit_code == 2
    assert "Leave one of them away" in result.stderr


def test_files_that_lie_in_no_class_folder_are_counted_and_left_alone(folder: Path) -> None:
    photo = next(folder.glob("*/*.jpg"))
    deep = folder / "Ash" / "2024" / "May"
    deep.mkdir(parents=True)
    for place in (folder / "loose.jpg", deep / "deep.jpg", folder / ".hidden.jpg"):
        place.write_bytes(photo.read_bytes())
    result = CliRunner().invoke(app, ["clean", "--images", str(folder), "--embedder", "classic", "--dry-run"])
    assert "Not looked at: 2 files" in " ".join(result.output.split())
    assert (folder / "loose.jpg").exists()
    assert (deep / "deep.jpg").exists()


def test_a_folder_that_is_not_there_is_called_that(folder: Path) -> None:
    clean(folder)
    result = CliRunner().invoke(app, ["clean", "--images", str(folder.parent / "oaks"), "--embedder", "classic"])
    assert "There is no folder" in result.stderr
    assert "oaks" in result.stderr

"""The boundary sheet shows what went for each reason, and what lies nearest the line on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.boundary_sheet import MARGIN, PAPER, Sheet, draw, main, rows
from shroomcurate.clean import SCHEMA
from shroomcurate.dataset import Dataset, Receipt, make_table, write_table

from .conftest import jpeg


def judged(folder: Path, *photos: tuple[float, str | None, str]) -> Dataset:
    """A cleaned dataset of photos with these scores, reasons and deciders, the first of them on disk."""
    dataset = Dataset(folder)
    lines: list[dict[str, Any]] = [
        {
            "path": f"images/A/{number}.jpg",
            "class": "A",
            "kept": reason is None,
            "reason": reason,
            "score": score,
            "decided_by": by,
        }
        for number, (score, reason, by) in enumerate(photos)
    ]
    write_table(dataset.path("clean.parquet"), make_table(SCHEMA, lines), Receipt("clean", {}))
    first = dataset.locate("images/A/0.jpg", photos[0][1])
    first.parent.mkdir(parents=True)
    first.write_bytes(jpeg(seed=1))
    return dataset


def shown(dataset: Dataset, across: int = 8) -> dict[str, list[float]]:
    return {title: [round(photo.score, 2) for photo in photos] for title, photos in rows(dataset, across)}


def test_each_reason_has_a_row_with_the_highest_score_first(tmp_path: Path) -> None:
    dataset = judged(tmp_path, (0.7, "scenery", "rule"), (0.9, "scenery", "model"), (0.02, "duplicate", "rule"))
    assert shown(dataset) == {"scenery: 2": [0.9, 0.7], "duplicate: 1": [0.02], "removed, nearest the line": [0.7, 0.9]}


def test_the_last_rows_begin_at_the_line_and_are_cut_far_from_it(tmp_path: Path) -> None:
    dataset = judged(tmp_path, *[(score / 20, None if score <= 10 else "outlier", "rule") for score in range(20)])
    found = shown(dataset, across=3)
    assert found["removed, nearest the line"] == [0.55, 0.6, 0.65]
    assert found["kept, nearest the line"] == [0.5, 0.45, 0.4]
    assert found["outlier: 9"] == [0.95, 0.9, 0.85]


def test_what_a_person_decided_and_what_was_left_alone_says_nothing_of_the_line(tmp_path: Path) -> None:
    dataset = judged(tmp_path, (0.5, None, "person"), (0.6, "outlier", "person"), (0.8, None, "rule"))
    assert shown(dataset) == {}


def test_a_photo_is_shown_whole_and_one_that_is_gone_leaves_paper(tmp_path: Path) -> None:
    dataset = judged(tmp_path, (0.9, "outlier", "rule"), (0.8, "outlier", "rule"))
    pixels = np.asarray(draw(dataset, Sheet(across=2, pixels=64)))
    middle = slice(MARGIN + 24, MARGIN + 56)
    first, second = pixels[middle, MARGIN : MARGIN + 64], pixels[middle, 2 * MARGIN + 64 : 2 * MARGIN + 128]
    assert (first != PAPER).any()
    assert (second == PAPER).all()


def test_the_command_writes_the_sheet_and_wants_one_dataset(tmp_path: Path) -> None:
    dataset = judged(tmp_path / "dataset", (0.9, "outlier", "rule"))
    main([str(dataset.root), str(tmp_path / "sheet.webp")])
    assert (tmp_path / "sheet.webp").stat().st_size > 0
    with pytest.raises(SystemExit):
        main([str(tmp_path / "sheet.webp")])

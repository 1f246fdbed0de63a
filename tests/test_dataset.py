"""The dataset directory: what its messages say, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroomcurate.dataset import Dataset, printable, read_receipt
from shroomcurate.errors import DamagedFile, StageMissing


def test_a_hint_names_the_tree_that_was_named(tmp_path: Path) -> None:
    for dataset, option in (
        (Dataset(tmp_path), f"--dataset {tmp_path}"),
        (Dataset(images=tmp_path / "tree"), f"--images {tmp_path / 'tree'}"),
    ):
        with pytest.raises(StageMissing) as error:
            dataset.require("clean.parquet")
        assert error.value.hint.endswith(f"shroomcurate clean {option}")


@pytest.mark.parametrize("content", [b'{"unheard": "of"}', b"[]", b"no json", b"\xff"])
def test_a_receipt_of_another_shape_is_damage(tmp_path: Path, content: bytes) -> None:
    table = pa.table({"path": ["a"]}).replace_schema_metadata({b"shroomcurate": content})
    pq.write_table(table, tmp_path / "clean.parquet")
    with pytest.raises(DamagedFile, match=r"clean\.parquet"):
        read_receipt(tmp_path / "clean.parquet")


def test_only_a_name_that_is_not_utf_8_is_spelt_out() -> None:
    assert printable("images/Ä/ü.jpg") == "images/Ä/ü.jpg"
    assert printable("images/A/\udcff.jpg") == r"images/A/\udcff.jpg"

"""Where photos lie on the map: PCA, UMAP, and the places that are kept with the dataset."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shroomcurate.dataset import Dataset, Receipt, write_table
from shroomcurate.errors import BadOption, ShroomError, StageMissing, TooLittleData
from shroomcurate.review import layout
from shroomcurate.review.layout import on_grid, pca, umap
from shroomcurate.review.layouts import Layout, Layouts

Vectors = NDArray[np.float32]


def clumps(count: int = 60, length: int = 32, seed: int = 0) -> Vectors:
    """Vectors in two clumps, one after the other photo."""
    chance = np.random.default_rng(seed)
    centres = np.zeros((2, length), np.float32)
    centres[0, 0] = centres[1, 1] = 1
    noise = chance.standard_normal((count, length)).astype(np.float32)
    return np.asarray(centres[np.arange(count) % 2] + 0.05 * noise, np.float32)


def apart(points: NDArray[np.float32]) -> bool:
    """Whether each photo is nearer to its own clump's middle than to the other's."""
    of = np.arange(len(points)) % 2
    middles = np.stack([points[of == k].mean(axis=0) for k in (0, 1)])
    return bool((np.linalg.norm(points[:, None] - middles, axis=2).argmin(axis=1) == of).all())


class TestPca:
    def test_clumps_come_apart_along_the_first_axis(self) -> None:
        points, share = pca(clumps())
        first = points[:, 0]
        assert points.shape == (60, 2)
        assert points.dtype == np.float32
        assert first[0::2].max() < first[1::2].min() or first[1::2].max() < first[0::2].min()
        assert 0.5 < share < 1

    def test_the_share_is_that_of_the_two_largest_variances(self) -> None:
        vectors = clumps(200)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        variances = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False) ** 2
        assert pca(vectors)[1] == pytest.approx(variances[:2].sum() / variances.sum(), rel=1e-4)

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 1000), st.floats(0.01, 100))
    def test_the_length_of_vectors_plays_no_part(self, seed: int, times: float) -> None:
        vectors = clumps(20, seed=seed)
        points, _ = pca(vectors)
        assert np.allclose(pca(np.asarray(vectors * times, np.float32))[0], points, atol=1e-4)

    def test_the_same_vectors_lie_at_the_same_places_with_the_same_signs(self) -> None:
        points, share = pca(clumps())
        again, share_again = pca(clumps())
        assert (points == again).all()
        assert share == share_again

    def test_what_is_a_mirror_image_of_an_axis_is_none_on_the_map(self) -> None:
        """The sign of an eigenvector is chance; of ours the largest component is positive."""
        chance = np.random.default_rng(3)
        vectors = np.abs(chance.standard_normal((50, 4))).astype(np.float32)
        points, _ = pca(vectors)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        axes = np.linalg.lstsq(unit - unit.mean(axis=0), points, rcond=None)[0]
        assert all(axes[np.abs(axes[:, k]).argmax(), k] > 0 for k in (0, 1))

    def test_a_vector_without_direction_lies_in_the_middle_and_moves_no_other(self) -> None:
        vectors = clumps()
        odd = np.zeros((3, 32), np.float32)
        odd[1, 5], odd[2, 7] = np.nan, np.inf
        points, share = pca(np.concatenate([vectors, odd]))
        expected, expected_share = pca(vectors)
        assert (points[60:] == 0).all()
        assert np.allclose(points[:60], expected, atol=1e-5)
        assert share == pytest.approx(expected_share)

    @pytest.mark.parametrize("count", [0, 1, 2, 3])
    def test_few_photos_have_places_too(self, count: int) -> None:
        points, share = pca(clumps(count))
        assert points.shape == (count, 2)
        assert np.isfinite(points).all()
        assert 0 <= share <= 1.0001

    def test_vectors_that_are_all_zero_have_places(self) -> None:
        points, share = pca(np.zeros((5, 8), np.float32))
        assert (points == 0).all()
        assert share == 0

    def test_a_sample_finds_the_axes_of_a_large_dataset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(layout, "_SAMPLE", 50)
        monkeypatch.setattr(layout, "_BLOCK", 7)
        points, _ = pca(clumps(500))
        assert apart(points)

    def test_blocks_do_not_show(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole, _ = pca(clumps())
        monkeypatch.setattr(layout, "_BLOCK", 7)
        assert np.allclose(pca(clumps())[0], whole, atol=1e-6)


class TestOnGrid:
    def test_both_axes_have_one_scale_and_the_shorter_stands_in_the_middle(self) -> None:
        places = on_grid(np.array([[0, 0], [10, 5], [5, 2.5]], np.float32))
        assert places.tolist() == [[0, 16384], [65535, 49151], [32768, 32768]]

    @pytest.mark.parametrize("count", [1, 4])
    def test_photos_at_one_place_stand_in_the_middle(self, count: int) -> None:
        assert on_grid(np.ones((count, 2), np.float32)).tolist() == [[32768, 32768]] * count

    def test_no_photo_has_no_place(self) -> None:
        assert on_grid(np.zeros((0, 2), np.float32)).shape == (0, 2)


# -- kept with the dataset -------------------------------------------------------------------------------------


def write_embeddings(dataset: Dataset, vectors: Vectors) -> None:
    paths = [f"images/A/{number}.jpg" for number in range(len(vectors))]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    write_table(dataset.path("embeddings.parquet"), pa.table({"path": paths, "vector": column}), Receipt("embed", {}))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset(tmp_path / "dataset")
    write_embeddings(made, clumps())
    return made


def refuse(*_: object) -> None:
    raise AssertionError("computed again")


class TestKept:
    def test_places_are_kept_and_not_computed_again(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        first = Layouts(dataset).get("pca")
        monkeypatch.setattr("shroomcurate.review.layouts.pca", refuse)
        again = Layouts(dataset).get("pca")
        assert first is not None
        assert again is not None
        assert again.paths == first.paths == [f"images/A/{number}.jpg" for number in range(60)]
        assert (again.x == first.x).all()
        assert (again.y == first.y).all()
        assert again.share == pytest.approx(first.share)
        assert "% of the variance" in again.note

    def test_places_of_many_photos_are_computed_elsewhere_and_are_the_same(
        self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at_once = Layouts(dataset).get("pca")
        dataset.path(".review/map/pca.parquet").unlink()
        monkeypatch.setattr("shroomcurate.review.layouts.AT_ONCE", 59)
        monkeypatch.setattr("shroomcurate.review.layouts.pca", refuse)
        layouts = Layouts(dataset)
        assert layouts.get("pca") is None
        later = finished(layouts, "pca")
        assert at_once is not None
        assert (later.x == at_once.x).all()
        assert later.share == pytest.approx(at_once.share)

    def test_other_embeddings_replace_them(self, dataset: Dataset) -> None:
        layouts = Layouts(dataset)
        layouts.get("pca")
        write_embeddings(dataset, clumps(20, seed=1))
        found = layouts.get("pca")
        assert found is not None
        assert len(found.paths) == len(found.x) == len(found.y) == 20
        assert [file.name for file in dataset.path(".review").rglob("*.*")] == ["pca.parquet"]

    def test_a_damaged_file_is_computed_again(self, dataset: Dataset) -> None:
        first = Layouts(dataset).get("pca")
        dataset.path(".review/map/pca.parquet").write_bytes(b"no parquet")
        again = Layouts(dataset).get("pca")
        assert first is not None
        assert again is not None
        assert (again.x == first.x).all()

    def test_without_embeddings_the_hint_names_the_command(self, tmp_path: Path) -> None:
        with pytest.raises(StageMissing) as caught:
            Layouts(Dataset(tmp_path / "none")).get("pca")
        assert "shroomcurate clean" in caught.value.hint

    def test_there_is_no_third_method(self, dataset: Dataset) -> None:
        with pytest.raises(BadOption, match="tsne"):
            Layouts(dataset).get("../../tsne")


# -- UMAP ------------------------------------------------------------------------------------------------------


def finished(layouts: Layouts, method: str = "umap") -> Layout:
    """Ask until it is computed."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = layouts.get(method)
        if found is not None:
            return found
        time.sleep(0.05)
    raise AssertionError("never finished")


Stand = Callable[[str], None]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """Put a package `umap` in place whose method does what the lines say; `vectors` is what it is given."""

    def install(lines: str) -> None:
        folder = tmp_path / "packages"
        folder.mkdir()
        body = textwrap.indent(textwrap.dedent(lines).strip(), " " * 8)
        (folder / "umap.py").write_text(
            "import os, time\nclass UMAP:\n    def __init__(self, **options): pass\n"
            f"    def fit_transform(self, vectors):\n{body}\n"
        )
        monkeypatch.syspath_prepend(str(folder))

    yield install
    sys.modules.pop("umap", None)


class TestUmapProcess:
    def test_it_answers_later_and_is_kept(self, dataset: Dataset, stand_in: Stand) -> None:
        stand_in("return vectors[:, :2]")
        layouts = Layouts(dataset)
        assert layouts.get("umap") is None
        found = finished(layouts)
        layouts.close()
        assert found.share is None
        assert "means nothing" in found.note
        kept = Layouts(dataset).get("umap")
        assert kept is not None
        assert (kept.x == found.x).all()

    def test_meanwhile_pca_answers(self, dataset: Dataset, stand_in: Stand) -> None:
        stand_in("time.sleep(600)")
        layouts = Layouts(dataset)
        assert layouts.get("umap") is None
        assert layouts.get("pca") is not None
        assert layouts.get("umap") is None
        began = time.monotonic()
        layouts.close()
        assert time.monotonic() - began < 2

    def test_what_fails_in_the_process_is_told(self, dataset: Dataset, stand_in: Stand) -> None:
        stand_in("raise ZeroDivisionError('a bug')")
        with pytest.raises(RuntimeError, match="a bug"):
            finished(Layouts(dataset))

    def test_a_process_that_is_killed_is_told_and_may_be_tried_again(self, dataset: Dataset, stand_in: Stand) -> None:
        stand_in(
            f"""
            import pathlib
            once = pathlib.Path({str(dataset.root / "once")!r})
            if not once.exists():
                once.touch()
                os.kill(os.getpid(), 9)
            return vectors[:, :2]
            """
        )
        layouts = Layouts(dataset)
        with pytest.raises(ShroomError, match="-9") as caught:
            finished(layouts)
        assert "memory" in caught.value.hint
        assert finished(layouts).method == "umap"

    def test_other_embeddings_end_it_and_start_another(self, dataset: Dataset, stand_in: Stand) -> None:
        stand_in(
            """
            if len(vectors) == 60:
                time.sleep(600)
            return vectors[:, :2]
            """
        )
        layouts = Layouts(dataset)
        assert layouts.get("umap") is None
        write_embeddings(dataset, clumps(20))
        assert len(finished(layouts).paths) == 20

    def test_it_ends_with_the_server_however_that_ends(self, dataset: Dataset, stand_in: Stand) -> None:
        stand_in(f"open({str(dataset.root / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)")
        code = (
            "import time; from shroomcurate.dataset import Dataset; from shroomcurate.review.layouts import Layouts\n"
            f"Layouts(Dataset({str(dataset.root)!r})).get('umap'); time.sleep(600)"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        server = subprocess.Popen([sys.executable, "-c", code], env=environment)
        pid_file = dataset.root / "pid"
        wait_for(lambda: pid_file.exists() and pid_file.read_text() != "")
        worker = int(pid_file.read_text())
        server.send_signal(signal.SIGKILL)
        server.wait()
        wait_for(lambda: not alive(worker))


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


class TestUmap:
    def test_its_absence_is_said_with_what_to_type(self, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(layout, "find_spec", lambda _: None)
        for ask in (lambda: Layouts(dataset).get("umap"), lambda: umap(clumps())):
            with pytest.raises(StageMissing, match="umap-learn") as caught:
                ask()
            assert "pip install" in caught.value.hint
            assert "PCA" in caught.value.hint

    def test_too_few_photos_are_refused(self, dataset: Dataset, stand_in: Stand) -> None:
        stand_in("return vectors[:, :2]")
        write_embeddings(dataset, clumps(15))
        with pytest.raises(TooLittleData, match="15"):
            Layouts(dataset).get("umap")

    def test_clumps_come_apart_the_same_way_every_time(self) -> None:
        pytest.importorskip("umap")
        points = umap(clumps(120))
        assert apart(points)
        assert (umap(clumps(120)) == points).all()

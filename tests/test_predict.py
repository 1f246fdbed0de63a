from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shroomcurate import runs
from shroomcurate.cli import app
from shroomcurate.dataset import Dataset, read_table
from shroomcurate.errors import BadOption, DamagedFile, SourceMissing, StageMissing
from shroomcurate.predict import predict
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.split import split
from shroomcurate.training import phone, train_baseline
from shroomcurate.training.comparison import compare_runs, list_runs
from tests.test_finetune import HEAD_ALONE, files_for_phones, no_files_for_phones
from tests.training import tiny_network

__all__ = ["files_for_phones", "no_files_for_phones", "tiny_network"]  # the fixtures

DEADLY, EDIBLE = "Amanita_phalloides", "Boletus_edulis"


@pytest.fixture
def trained(
    photographed: Callable[..., Dataset],
    tiny_network: Path,
    files_for_phones: None,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Dataset:
    """Two classes, red and yellow, one of them deadly; and two runs, trained once for all tests here."""
    once = tmp_path_factory.getbasetemp() / "trained"
    if not once.exists():
        dataset = photographed([DEADLY, EDIBLE], wanted=12)
        split(dataset)
        for epochs in (1, 2):
            train_baseline(dataset, replace(HEAD_ALONE, head_epochs=epochs, weights=tiny_network))
        shutil.copytree(dataset.root, once)
    return Dataset(shutil.copytree(once, tmp_path / "trained"))


class TestPredict:
    def test_it_says_what_the_run_said_of_its_test_photos(self, trained: Dataset) -> None:
        run = runs.latest_run(trained)
        assert run is not None
        rows = read_table(run / "predictions.parquet").to_pylist()
        found = predict(trained, [trained.locate(row["path"], None) for row in rows])
        assert found.run == f"runs/{run.name}"
        for row, each in zip(rows, found.photos, strict=True):
            assert each.guesses[0].name == row["predicted"].replace("_", " ")
            assert each.guesses[0].certainty == pytest.approx(row["calibrated"], abs=1e-3)
            assert sum(guess.certainty for guess in each.guesses) == pytest.approx(1)

    def test_every_guess_has_its_word_on_edibility_and_the_answer_the_notice(self, trained: Dataset) -> None:
        found = predict(trained, [next(iter(trained.photos().values()))])
        words = {guess.name: guess.edibility for guess in found.photos[0].guesses}
        assert words == {"Amanita phalloides": "deadly", "Boletus edulis": "edible"}
        assert found.safety == SAFETY_NOTICE

    def test_at_and_below_the_threshold_it_does_not_know(
        self, trained: Dataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        photo = next(iter(trained.photos().values()))
        sure = predict(trained, [photo]).photos[0].guesses[0].certainty
        module = import_module("shroomcurate.predict")
        read = module._facts
        for threshold, knows in ((sure, False), (sure - 1e-9, True)):
            monkeypatch.setattr(module, "_facts", lambda folder, at=threshold: read(folder) | {"threshold": at})
            assert predict(trained, [photo]).photos[0].knows is knows

    def test_no_deadly_test_photo_is_called_edible_above_the_runs_threshold(self, trained: Dataset) -> None:
        for folder in runs.run_folders(trained):
            threshold = json.loads((folder / "metrics.json").read_text())["threshold"]
            assert threshold >= 0.5
            for row in read_table(folder / "predictions.parquet").to_pylist():
                assert not (row["class"] == DEADLY and row["predicted"] == EDIBLE and row["calibrated"] > threshold)

    def test_a_photo_that_cannot_be_read_is_told_and_costs_only_itself(self, trained: Dataset, tmp_path: Path) -> None:
        (tmp_path / "no.jpg").write_text("<html>")
        broken, good = predict(trained, [tmp_path / "no.jpg", next(iter(trained.photos().values()))]).photos
        assert (broken.guesses, broken.knows) == ((), False)
        assert "HTML" in str(broken.problem)
        assert good.guesses

    def test_a_photo_loads_the_network_once(self, trained: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded: list[int] = []
        run = phone._run
        monkeypatch.setattr(phone, "_run", lambda file, part: loaded.append(len(part)) or run(file, part))
        predict(trained, [next(iter(trained.photos().values()))])
        assert loaded == [1]

    def test_each_file_has_a_threshold_that_holds_for_it(self, trained: Dataset) -> None:
        for folder in runs.run_folders(trained):
            rows = read_table(folder / "predictions.parquet").to_pylist()
            facts = json.loads((folder / "phone" / "model.json").read_text())
            own = facts["files"][0]["figures"]["threshold"]
            assert own == json.loads((folder / "metrics.json").read_text())["threshold"] == facts["threshold"]
            found = predict(trained, [trained.locate(row["path"], None) for row in rows], folder.name)
            assert found.threshold == own
            for row, each in zip(rows, found.photos, strict=True):
                assert not (row["class"] == DEADLY and each.knows and each.guesses[0].edibility == "edible")

    def test_what_is_not_there_is_named(self, trained: Dataset, tmp_path: Path) -> None:
        photo = next(iter(trained.photos().values()))
        answers = predict(trained, [tmp_path / "none.jpg", tmp_path, photo]).photos
        assert [each.problem for each in answers] == ["No such file or directory", "Is a directory", None]
        ended = CliRunner().invoke(app, ["predict", str(tmp_path / "none.jpg"), "--dataset", str(trained.root)])
        assert ended.exit_code == SourceMissing.exit_code
        with pytest.raises(BadOption, match="2 runs"):
            predict(trained, [photo], run="finetune")
        with pytest.raises(StageMissing, match="network"):
            predict(Dataset(tmp_path), [photo])
        for facts in trained.path("runs").glob("*/phone/model.json"):
            facts.write_text("{}")
        with pytest.raises(DamagedFile, match=r"model\.json"):
            predict(trained, [photo])

    def test_a_photo_smaller_than_what_the_network_sees_is_answered_with_a_remark(
        self, trained: Dataset, tmp_path: Path
    ) -> None:
        from PIL import Image

        for size in ((20, 20), (224, 223), (224, 224)):
            Image.new("RGB", size, "red").save(tmp_path / f"{size[1]}.png")
        tiny, narrow, enough = predict(trained, [tmp_path / f"{height}.png" for height in (20, 223, 224)]).photos
        assert "20 x 20 pixels" in str(tiny.remark)
        assert "224 x 224" in str(tiny.remark)
        assert tiny.guesses
        assert narrow.remark is not None
        assert enough.remark is None
        shown = CliRunner().invoke(app, ["predict", str(tmp_path / "20.png"), "--dataset", str(trained.root)]).output
        assert "20 x 20 pixels" in shown

    def test_quiet_still_answers(self, trained: Dataset) -> None:
        words = ["predict", str(next(iter(trained.photos().values()))), "--dataset", str(trained.root)]
        assert CliRunner().invoke(app, [*words, "--quiet"]).stdout == CliRunner().invoke(app, words).stdout

    def test_the_command_shows_guesses_edibility_and_notice_in_words_and_as_json(self, trained: Dataset) -> None:
        photo = str(next(iter(trained.photos().values())))
        words = ["predict", photo, "--dataset", str(trained.root)]
        shown = " ".join(CliRunner().invoke(app, words).output.split())
        assert "Amanita phalloides" in shown
        assert "deadly" in shown
        assert SAFETY_NOTICE in shown
        facts = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
        assert facts["safety"] == SAFETY_NOTICE
        assert facts["photos"][0]["guesses"]


class TestRuns:
    def test_the_latest_is_the_latest_in_a_copy_too_whose_times_are_others(self, trained: Dataset) -> None:
        latest = runs.latest_run(trained)
        for folder in runs.run_folders(trained):
            os.utime(folder, (0, 0) if folder == latest else None)
        assert runs.latest_run(trained) == latest
        assert list_runs(trained)[0].latest

    def test_what_was_broken_off_is_named_until_a_later_run(self, trained: Dataset) -> None:
        left = trained.path("runs") / "finetune-9.partial"
        (left / "trials" / "search-0").mkdir(parents=True)
        assert runs.broken_off_runs(trained) == []  # nothing to go on from
        (left / "trials" / "search-0" / "record.json").write_text("{}")
        assert runs.broken_off_runs(trained) == [left]
        assert runs.waiting_run(trained) == left
        (left / "photos.uint8").write_bytes(b"large")
        with runs.new_run(trained, "probe-9") as partial:
            (partial / "metrics.json").write_text("{}")
        assert runs.waiting_run(trained) is None
        assert [file.name for file in left.iterdir()] == ["trials"]

    def test_all_are_listed_the_newest_first(self, trained: Dataset) -> None:
        found = list_runs(trained)
        assert [run.latest for run in found] == [True, False]
        assert found[0].when >= found[1].when
        assert {run.architecture for run in found} == {"mobilenet_v3_small"}
        shown = CliRunner().invoke(app, ["runs", "--dataset", str(trained.root)]).output
        assert all(run.name[:20] in shown for run in found)

    def test_two_are_compared_on_their_common_photos(self, trained: Dataset) -> None:
        second, first = (run.name for run in list_runs(trained))
        found = compare_runs(trained, first, second)
        assert found.test_photos == len(read_table(trained.path("runs") / first / "predictions.parquet"))
        gain = found.difference["top1"]
        assert gain["difference"] == pytest.approx(
            (found.only_second_right - found.only_first_right) / found.test_photos
        )
        assert gain["low"] <= gain["difference"] <= gain["high"]
        alone = compare_runs(trained, first, first)
        assert alone.difference["top1"] == {"difference": 0, "low": 0, "high": 0}

    def test_an_unknown_or_ambiguous_name_is_refused(self, trained: Dataset) -> None:
        (name, *_) = (run.name for run in list_runs(trained))
        with pytest.raises(BadOption, match="0 runs"):
            compare_runs(trained, name, "nothing")
        assert CliRunner().invoke(app, ["runs", name, "--dataset", str(trained.root)]).exit_code == 2

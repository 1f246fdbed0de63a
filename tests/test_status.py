"""Where a dataset stands, at every point between nothing and everything."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from shroomcurate.catalogue.ledger import TableReport, new_report
from shroomcurate.catalogue.load import LoadOptions, load_csvs
from shroomcurate.catalogue.note import embedded_holds_tables, read_note, write_note
from shroomcurate.catalogue.server import connect
from shroomcurate.clean import SCHEMA as JUDGEMENTS
from shroomcurate.clean import CleanOptions
from shroomcurate.cli import app
from shroomcurate.dataset import (
    WRITTEN_BY,
    Column,
    Dataset,
    Receipt,
    file_hash,
    make_table,
    read_receipt,
    read_table,
    write_table,
)
from shroomcurate.download import SCHEMA as DOWNLOADS
from shroomcurate.download import DownloadOptions
from shroomcurate.embed import EmbedOptions
from shroomcurate.errors import StageMissing
from shroomcurate.progress import silent
from shroomcurate.receipts import Change, changed_inputs
from shroomcurate.report import ReportOptions, report
from shroomcurate.select import QueryOptions
from shroomcurate.split import shares, split
from shroomcurate.status import STATES, DatasetStatus, StageStatus, status
from shroomcurate.status.again import TOLD, options_of
from shroomcurate.status.look import Look
from shroomcurate.training import TrainOptions
from shroomcurate.verdicts import Verdict, append_verdicts
from tests.conftest import jpeg
from tests.dumps import MUSCARIA, Dump
from tests.reported import CLASSES, add_clean, add_downloads, add_run, copied, make_whole, metrics_of

REMOVED = "of the removed: 2 drawing, 1 outlier"
ORDER = ["query", "download", "clean", "train-baseline", "report"]


def states(found: DatasetStatus) -> list[str]:
    assert [stage.stage for stage in found.stages] == ORDER
    assert {stage.state for stage in found.stages} <= STATES.keys()
    return [stage.state for stage in found.stages]


def stage(found: DatasetStatus, name: str) -> StageStatus:
    return found.stages[ORDER.index(name)]


def rewrite(dataset: Dataset, name: str, schema: tuple[Column, ...], change: dict[str, object]) -> None:
    """Change the first row of a table, keeping its receipt's inputs out of it."""
    rows = read_table(dataset.path(name)).to_pylist()
    rows[0] |= change
    write_table(dataset.path(name), make_table(schema, rows), Receipt("test", {}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset on which every stage has run, made once."""
    dataset = make_whole(tmp_path_factory.mktemp("made") / "dataset")
    report(dataset)
    return dataset


@pytest.fixture
def finished(made: Dataset, tmp_path: Path) -> Dataset:
    return copied(made, tmp_path / "dataset")


@pytest.fixture(autouse=True)
def loaded(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own in which a catalogue has been loaded, for all but the first steps."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("SHROOMCURATE_HOME", str(home))
    monkeypatch.delenv("SHROOMCURATE_DATABASE_URL", raising=False)
    note_a_load("0" * 64)
    return home


def note_a_load(fingerprint: str, database_url: str | None = None) -> None:
    tables = {"photos": TableReport(9, 9)}
    report = new_report(source="dump", taxa=None, quality="research", asked=None, files=[], tables=tables, facts={})
    write_note(database_url, replace(report, fingerprint=fingerprint))


def test_an_empty_or_absent_folder_lacks_everything_and_starts_with_query(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "not there"):
        found = status(Dataset(root))
        assert states(found) == ["missing"] * 5
        assert found.next_command
        assert found.next_command.startswith("shroomcurate query --dataset ")
    assert f"'{tmp_path}/not there'" in found.next_command
    assert list(tmp_path.iterdir()) == []


class TestAMachineWithoutACatalogue:
    @pytest.fixture(autouse=True)
    def empty(self, loaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (loaded / "catalogue.json").unlink()
        monkeypatch.chdir(tmp_path)

    def test_it_begins_with_loading_one_and_no_server_is_started(self, loaded: Path, tmp_path: Path) -> None:
        found = status(Dataset(tmp_path / "dataset"))
        assert found.next_command == "shroomcurate fetch-dumps"
        assert {command.split()[1] for command in found.also} == {"load-csvs", "load-api", "demo"}
        assert list(loaded.iterdir()) == []

    def test_a_dump_that_is_here_is_loaded_first(self, tmp_path: Path) -> None:
        (tmp_path / "inaturalist-open-data").mkdir()
        assert status(Dataset(tmp_path / "dataset")).next_command == "shroomcurate load-csvs"

    def test_a_server_of_the_users_own_may_hold_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SHROOMCURATE_DATABASE_URL", "postgresql://somewhere/fungi")
        assert str(status(Dataset(tmp_path)).next_command).startswith("shroomcurate query")

    def test_tables_of_an_embedded_server_that_nobody_noted_are_seen(self, loaded: Path, tmp_path: Path) -> None:
        base = loaded / "postgres" / "base" / "5"
        base.mkdir(parents=True)
        (base / "1259").write_bytes(b"the server's own")
        assert status(Dataset(tmp_path)).next_command == "shroomcurate fetch-dumps"
        (base / "16385").write_bytes(b"somebody's")
        assert str(status(Dataset(tmp_path)).next_command).startswith("shroomcurate query")

    def test_a_dataset_needs_none(self, finished: Dataset) -> None:
        finished.path("report.html").unlink()
        assert status(finished).next_command == f"shroomcurate report --dataset {finished.root}"


def test_an_embedded_server_without_a_load_holds_no_tables_and_one_with_a_load_does(
    loaded: Path, tmp_path: Path
) -> None:
    (loaded / "catalogue.json").unlink()
    with connect(None, "test"):
        pass
    assert not embedded_holds_tables()
    made = Dump()
    made.photographed(MUSCARIA, 3, first=1)
    load_csvs(LoadOptions(source=str(made.write(tmp_path / "dump", packed=False))))
    assert embedded_holds_tables()
    note = read_note(None)
    assert note is not None
    assert note.photos == 3


def test_a_note_holds_no_password_and_is_no_more_than_a_hint(loaded: Path) -> None:
    note_a_load("1" * 64, "postgresql://ann:secret@host/db?password=secret")
    note_a_load("1" * 64, "postgresql://ann:a?secret@host/db")
    assert "secret" not in (loaded / "catalogue.json").read_text()
    assert read_note("postgresql://ann:other@host/db") is not None
    for content in ("", "[]", '{"embedded": {"unheard": "of"}}', "\0"):
        (loaded / "catalogue.json").write_text(content)
        assert read_note(None) is None


def test_notes_of_the_newest_databases_are_kept(loaded: Path) -> None:
    for number in range(30):
        note_a_load("1" * 64, f"postgresql://host/db{number}")
    assert len(json.loads((loaded / "catalogue.json").read_text())) == 20
    assert read_note("postgresql://host/db29") is not None
    assert read_note("postgresql://host/db3") is None


def test_each_stage_leads_to_the_next_one(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(CLASSES, wanted=12)
    dataset.path("selection.csv").write_text("photo_id\n")
    steps: list[tuple[str, Callable[[], object]]] = [
        ("download", lambda: add_downloads(dataset)),
        ("clean", lambda: add_clean(dataset, {"1001": "drawing"})),
        ("train-baseline", lambda: (split(dataset), add_run(dataset, metrics_of(CLASSES)))),
        ("report", lambda: report(dataset)),
    ]
    for number, (command, run) in enumerate(steps, start=1):
        found = status(dataset)
        assert states(found) == ["current"] * number + ["missing"] * (5 - number)
        assert found.next_command == f"shroomcurate {command} --dataset {dataset.root}"
        run()
    found = status(dataset)
    assert states(found) == ["current"] * 5
    assert found.next_command is None


def test_status_is_plain_facts_and_changes_nothing(finished: Dataset) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.root.rglob("*")}
    found = status(finished)
    assert {path: path.stat().st_mtime_ns for path in finished.root.rglob("*")} == before
    assert json.loads(json.dumps(asdict(found)))["stages"][0]["counts"] == {
        "classes": 2,
        "wanted": 24,
        "reserve": 6,
    }
    assert stage(found, "clean").counts == {"kept": 21, "removed": 3}
    assert stage(found, "clean").details == (REMOVED,)


def test_a_copied_dataset_stands_where_the_original_stood(finished: Dataset, tmp_path: Path) -> None:
    copy = Dataset(shutil.copytree(finished.root, tmp_path / "copy"))
    assert states(status(copy)) == ["current"] * 5


def test_a_changed_selection_makes_everything_after_it_stale_and_says_why(finished: Dataset) -> None:
    from shroomcurate.select import SCHEMA

    rewrite(finished, "selection.parquet", SCHEMA, {"license": "CC0"})
    found = status(finished)
    assert states(found) == ["current", "stale", "stale", "stale", "stale"]
    assert stage(found, "download").details == ("the selection is newer",)
    assert found.next_command == f"shroomcurate download --dataset {finished.root}"


def test_what_comes_after_a_stale_stage_is_stale_even_if_its_own_inputs_are_as_they_were(finished: Dataset) -> None:
    inputs = {"embeddings.parquet": "0" * 64, "selection.parquet": file_hash(finished.path("selection.parquet"))}
    receipt = Receipt("clean", {"verdicts": None}, inputs)
    write_table(finished.path("clean.parquet"), read_table(finished.path("clean.parquet")), receipt)
    split(finished)
    shutil.rmtree(finished.path("runs"))
    add_run(finished, metrics_of(CLASSES))
    report(finished)
    finished.path("embeddings.parquet").write_bytes(b"others than were judged")
    found = status(finished)
    assert states(found) == ["current", "current", "stale", "stale", "stale"]
    assert stage(found, "clean").details == ("the embeddings are newer", REMOVED)
    assert stage(found, "report").details == ("clean has to run again before it",)


def test_a_selection_that_came_after_the_cleaning_makes_it_stale_as_for_every_stage(finished: Dataset) -> None:
    receipt = Receipt("clean", {"verdicts": None}, {"embeddings.parquet": "0" * 64})
    write_table(finished.path("clean.parquet"), read_table(finished.path("clean.parquet")), receipt)
    assert "the selection is newer" in stage(status(finished), "clean").details
    with pytest.raises(StageMissing):
        finished.refuse_stale("clean.parquet")


def test_a_new_verdict_makes_the_cleaning_stale(finished: Dataset) -> None:
    append_verdicts(finished, {"images/Boletus_edulis/2001.jpg": Verdict(False, "blurred")})
    found = status(finished)
    assert states(found)[:3] == ["current", "current", "stale"]
    assert "verdicts.csv" in stage(found, "clean").details[0]


def test_a_newer_run_makes_only_the_report_stale(finished: Dataset) -> None:
    add_run(finished, metrics_of(CLASSES), "probe-2")
    found = status(finished)
    assert states(found) == ["current", "current", "current", "current", "stale"]
    assert stage(found, "report").details == ("probe-2 is not in it yet",)


def test_a_table_that_came_after_the_report_makes_it_stale(selected: Callable[..., Dataset]) -> None:
    dataset = selected(CLASSES, wanted=2)
    report(dataset)
    assert states(status(dataset))[4] == "current"
    add_downloads(dataset)
    assert stage(status(dataset), "report").details == ("the downloads are newer",)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"status": "pending", "path": None}, "photos not fetched yet: 1"),
        ({"status": "failed", "path": None}, "photos that failed and are missing: 1"),
        ({"path": "images/Amanita_muscaria/7.jpg"}, "fetched photos that are not on disk: 1"),
    ],
)
def test_a_download_with_open_ends_is_unfinished(finished: Dataset, change: dict[str, object], detail: str) -> None:
    rewrite(finished, "downloads.parquet", DOWNLOADS, change)
    found = stage(status(finished), "download")
    assert (found.state, found.details) == ("unfinished", (detail,))


def test_a_failed_photo_whose_place_the_reserve_took_does_not_hold_anybody_up(finished: Dataset) -> None:
    rewrite(finished, "downloads.parquet", DOWNLOADS, {"status": "failed", "path": None})
    rows = read_table(finished.path("downloads.parquet")).to_pylist()
    rows[-1] |= {"status": "ok", "path": rows[1]["path"]}
    write_table(finished.path("downloads.parquet"), make_table(DOWNLOADS, rows), Receipt("test", {}))
    assert stage(status(finished), "download").state == "current"


def test_a_download_that_was_killed_is_unfinished_with_and_without_its_table(
    selected: Callable[..., Dataset], finished: Dataset
) -> None:
    finished.path(".downloads.journal").write_text("{}\n")
    assert stage(status(finished), "download").state == "unfinished"
    finished.path("downloads.parquet").unlink()
    found = status(finished)
    assert stage(found, "download").state == "unfinished"
    assert found.next_command == f"shroomcurate download --dataset {finished.root}"


def test_a_cleaning_whose_moves_were_cut_short_is_unfinished(finished: Dataset) -> None:
    place = finished.locate("images/Amanita_muscaria/1001.jpg", "drawing")
    place.rename(finished.root / "images/Amanita_muscaria/1001.jpg")
    found = stage(status(finished), "clean")
    assert (found.state, found.details) == ("unfinished", ("photos not where the table says: 1", REMOVED))


def test_photos_that_came_or_went_after_the_cleaning_make_it_unfinished(finished: Dataset) -> None:
    (finished.images / "Boletus_edulis" / "77.jpg").write_bytes(jpeg(77))
    (finished.images / "Boletus_edulis" / "2001.jpg").unlink()
    found = stage(status(finished), "clean")
    assert found.details == ("photos on disk not judged yet: 1", "judged photos that are not on disk: 1", REMOVED)


def test_a_photo_that_cannot_be_judged_does_not_hold_the_cleaning_up(finished: Dataset) -> None:
    (finished.images / "Boletus_edulis" / "77.jpg").write_bytes(jpeg(77)[:500])
    assert stage(status(finished), "clean").state == "current"


@pytest.mark.parametrize("left", ["embeddings.parquet", ".embeddings/0.parquet"])
def test_embeddings_without_a_judgement_are_an_unfinished_cleaning(finished: Dataset, left: str) -> None:
    table = read_table(finished.path("clean.parquet"))
    finished.path("clean.parquet").unlink()
    write_table(finished.path(left), table, Receipt("embed", {}))
    assert stage(status(finished), "clean").state == "unfinished"


def test_a_training_that_was_killed_is_unfinished(finished: Dataset) -> None:
    left = finished.path("runs") / "finetune-9.partial"
    left.mkdir()
    assert stage(status(finished), "train-baseline").state == "current"  # it left nothing to go on from
    (left / "record.json").write_text("{}")
    (left / "config.json").write_text('{"options": {"mode": "finetune", "head_epochs": 7}}')
    found = stage(status(finished), "train-baseline")
    assert (found.state, found.details) == ("unfinished", ("finetune-9.partial was broken off, and goes on",))
    with Look(finished, silent) as look:
        assert "--head-epochs 7" in options_of(look, "train-baseline")
    shutil.rmtree(finished.path("runs"))
    assert stage(status(finished), "train-baseline").details == ("the photos are split, but nothing is trained yet",)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("selection.parquet", 0),
        ("downloads.parquet", 1),
        ("clean.parquet", 2),
        ("verdicts.csv", 2),
        ("splits.parquet", 3),
        ("runs/probe-1/metrics.json", 3),
        ("report.html", 4),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_raised(finished: Dataset, name: str, number: int) -> None:
    for content in (b"", b"PAR1 not", b"\xff\xfe\x00"):
        if (name, content) == ("verdicts.csv", b""):
            continue  # a list of no verdicts
        finished.path(name).write_bytes(content)
        found = status(finished)
        assert states(found)[number] == "damaged", content
        assert finished.path(name).name in found.stages[number].details[0]
        assert states(found)[:number] == ["current"] * number
        assert found.next_command == f"shroomcurate {ORDER[number]} --dataset {finished.root}"


def test_a_damaged_file_is_to_be_mended_before_the_next_command(finished: Dataset) -> None:
    finished.path("verdicts.csv").write_text("keep all\n")
    found = status(finished)
    assert stage(found, "clean").state == "damaged"
    assert "Put this line above all others" in found.because


def test_the_next_command_has_the_options_of_before(finished: Dataset) -> None:
    def tell(name: str, **options: object) -> None:
        table, receipt = read_table(finished.path(name)), read_receipt(finished.path(name))
        assert receipt
        write_table(finished.path(name), table, replace(receipt, options={**receipt.options, **options}))

    def next_of(name: str) -> str:
        with Look(finished, silent) as look:
            return options_of(look, name)

    assert [next_of(name) for name in ("download", "clean", "train-baseline", "report")] == ["", "", "", ""]
    tell("downloads.parquet", size="small")
    tell("clean.parquet", eps=0.25, learn=False, auto_eps=True, min_samples=10)
    append_verdicts(finished, {next(iter(finished.photos())): Verdict(keep=False, reason="drawing")})
    report(finished, ReportOptions(note="It's a draft."))
    assert next_of("download") == " --size small"
    assert next_of("clean") == " --auto-eps --no-learn"
    assert shlex.split(next_of("report")) == ["--note", "It's a draft."]
    assert status(finished).next_command == f"shroomcurate clean --dataset {finished.root}{next_of('clean')}"
    box = {"west": -10.5, "south": 35.0, "east": 30.0, "north": 60.0}
    tell("selection.parquet", per_class=30, reserve=15, seed="3", taxa=[47169], licenses=["CC0", "CC-BY"], **box)
    asked = "--per-class 30 --licenses CC0,CC-BY --seed 3 --taxon 47169 --region=-10.5,35.0,30.0,60.0"
    assert next_of("query") == f" {asked}"
    finished.path("selection.parquet").write_bytes(b"damaged")
    assert next_of("query") == ""


def test_the_next_training_has_the_split_the_seed_and_the_trackers_of_before(finished: Dataset) -> None:
    def tell(name: str, **options: object) -> None:
        there = finished.path(name).exists()
        table = read_table(finished.path(name)) if there else make_table((Column("path", "string", "a photo"),), [])
        write_table(finished.path(name), table, Receipt("train-baseline", options))

    train, val, test = shares("2:1")
    tell("splits.parquet", train=train, val=val, test=test, seed=3)
    (run,) = finished.path("runs").iterdir()
    tell(f"runs/{run.name}/predictions.parquet", seed=3, track=["mlflow", "wandb"])
    with Look(finished, silent) as look:
        words = shlex.split(options_of(look, "train-baseline"))
    assert shares(words[words.index("--split") + 1]) == (train, val, test)
    assert words[2:] == ["--track", "mlflow,wandb", "--seed", "3"]
    shutil.copy(finished.path("splits.parquet"), run)  # its own counts, whatever an attempt made of the dataset's since
    tell("splits.parquet", train=0.5, val=0.25, test=0.25, seed=4)
    with Look(finished, silent) as look:
        assert shlex.split(options_of(look, "train-baseline")) == words
    shutil.copy(run / "splits.parquet", finished.root)
    shutil.rmtree(run)  # as after a training that was killed
    with Look(finished, silent) as look:
        assert shlex.split(options_of(look, "train-baseline"))[2:] == ["--seed", "3"]


def test_who_has_no_weights_is_sent_to_the_training_that_needs_none(finished: Dataset) -> None:
    embeddings = make_table((Column("path", "string", "a photo"),), [])
    write_table(finished.path("embeddings.parquet"), embeddings, Receipt("clean", {"embedder": "classic"}))
    shutil.rmtree(finished.path("runs"))
    with Look(finished, silent) as look:
        assert options_of(look, "train-baseline") == " --mode probe"


def test_the_embedder_is_known_when_the_embeddings_are_lost(finished: Dataset) -> None:
    table, receipt = read_table(finished.path("clean.parquet")), read_receipt(finished.path("clean.parquet"))
    assert receipt is not None
    options = {**receipt.options, "embedder": "classic"}
    write_table(finished.path("clean.parquet"), table, Receipt("clean", options))
    finished.path("embeddings.parquet").unlink(missing_ok=True)
    with Look(finished, silent) as look:
        assert "--embedder classic" in options_of(look, "clean")


def test_options_are_left_away_where_they_are_the_defaults() -> None:
    def defaults(table: str) -> dict[str, object]:
        return {told.name: told.default for told in TOLD[table] if told.name != "licenses"}

    for table, options in (
        ("selection.parquet", QueryOptions()),
        ("downloads.parquet", DownloadOptions()),
        ("embeddings.parquet", EmbedOptions()),
        ("clean.parquet", CleanOptions()),
        ("predictions.parquet", TrainOptions()),
        ("report.html", ReportOptions()),
    ):
        assert defaults(table).items() <= asdict(options).items()


def test_every_option_that_is_told_is_one_of_the_command() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    of_table = {**WRITTEN_BY, "predictions.parquet": "train-baseline", "report.html": "report"}
    for table, options in TOLD.items():
        there = {word for each in commands[of_table[table]].params for word in each.opts}
        assert {told.option for told in options} <= there


def test_a_receipt_of_another_shape_is_damage_too(finished: Dataset) -> None:
    table = read_table(finished.path("clean.parquet"))
    import pyarrow.parquet as pq

    pq.write_table(
        table.replace_schema_metadata({b"shroomcurate": b'{"unheard": "of"}'}), finished.path("clean.parquet")
    )
    found = status(finished)
    assert states(found)[2] == "damaged"
    assert "clean.parquet" in stage(found, "clean").details[0]


def test_shortages_count_what_is_left_after_the_last_stage_that_ran(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(CLASSES, wanted=12)
    assert status(dataset).shortages == {}
    add_downloads(dataset)
    assert status(dataset).shortages == {}
    add_clean(dataset, {"1001": "drawing", "1002": "drawing"})
    assert status(dataset).shortages == {"Amanita_muscaria": 2}


def test_a_download_that_brought_nothing_lacks_everything(selected: Callable[..., Dataset]) -> None:
    dataset = selected(CLASSES, wanted=3)
    rows = [{"photo_id": 1001, "class": CLASSES[0], "role": "wanted", "status": "gone", "attempts": 1}]
    write_table(dataset.path("downloads.parquet"), make_table(DOWNLOADS, rows), Receipt("download", {}))
    assert status(dataset).shortages == {"Amanita_muscaria": 3, "Boletus_edulis": 3}


def test_a_class_that_never_had_enough_is_short_from_the_start(selected: Callable[..., Dataset]) -> None:
    dataset = selected(CLASSES, wanted=3)
    table = read_table(dataset.path("selection.parquet"))
    write_table(dataset.path("selection.parquet"), table.slice(1), Receipt("query", {"per_class": 5}))
    assert status(dataset).shortages == {"Amanita_muscaria": 3, "Boletus_edulis": 2}


def test_somebody_elses_class_folders_need_neither_query_nor_download(tmp_path: Path) -> None:
    (tmp_path / "my tree" / "Morel").mkdir(parents=True)
    (tmp_path / "my tree" / "Morel" / "a.jpg").write_bytes(jpeg(1))
    dataset = Dataset(images=tmp_path / "my tree")
    found = status(dataset)
    assert states(found) == ["not needed", "not needed", "missing", "missing", "missing"]
    assert found.next_command == f"shroomcurate clean --images '{tmp_path}/my tree'"
    rows = [{"path": "my tree/Morel/a.jpg", "class": "Morel", "kept": True}]
    write_table(dataset.path("clean.parquet"), make_table(JUDGEMENTS, rows), Receipt("clean", {}))
    assert states(status(dataset))[2] == "current"


# -- while another command is at work -----------------------------------------------------------------------------

HOLD = """
import sys
from shroomcurate.dataset import Dataset
with Dataset(sys.argv[1]).lock("download"):
    print(flush=True)
    sys.stdin.read()
"""


class TestAtWork:
    @pytest.fixture
    def held(self, photographed: Callable[..., Dataset]) -> Iterator[tuple[Dataset, subprocess.Popen[bytes]]]:
        """A dataset that another process writes to: photos 1001 to 1003 came since the table was written."""
        dataset = photographed(CLASSES, wanted=12, reserve=3)
        dataset.path("selection.csv").write_text("photo_id\n")
        add_downloads(dataset)
        dataset.path(".downloads.journal").touch()
        copies = [dataset.images / CLASSES[0] / f"{number}.jpg" for number in (1013, 1014)]
        for copy in copies:
            copy.write_bytes((dataset.images / CLASSES[0] / "1001.jpg").read_bytes())
        command = [sys.executable, "-c", HOLD, str(dataset.root)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            yield dataset, process
            process.kill()

    def test_it_is_named_and_nothing_is_to_be_typed(self, held: tuple[Dataset, subprocess.Popen[bytes]]) -> None:
        dataset, process = held
        found = status(dataset)
        assert (found.next_command, found.also) == (None, {})
        who = f"'shroomcurate download' (process {process.pid})"
        assert found.because == f"{who} is at work here. Look again when it has ended."
        details = next(stage.details for stage in found.stages if stage.stage == "download")
        assert details[:2] == ("it is going on now", "photos that have come since this table was written: 2")
        shown = CliRunner().invoke(app, ["status", "--dataset", str(dataset.root)]).output
        assert f"(process {process.pid}) is at work" in shown
        assert "All of it is current" not in shown

    def test_a_download_is_not_going_on_because_another_command_is(
        self, held: tuple[Dataset, subprocess.Popen[bytes]]
    ) -> None:
        dataset, process = held
        process.communicate()
        with subprocess.Popen(
            [sys.executable, "-c", HOLD.replace("download", "report"), str(dataset.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            found = status(dataset)
            other.communicate()
        assert found.because.startswith(f"'shroomcurate report' (process {other.pid})")
        details = next(stage.details for stage in found.stages if stage.stage == "download")
        assert details[0] == "it was broken off; it goes on where it stopped"

    @pytest.mark.parametrize("ends", ["well", "killed"])
    def test_afterwards_the_next_command_is_named(
        self, held: tuple[Dataset, subprocess.Popen[bytes]], ends: str
    ) -> None:
        dataset, process = held
        if ends == "killed":
            process.kill()
        process.communicate()
        found = status(dataset)
        assert found.next_command == f"shroomcurate download --dataset {dataset.root}"
        details = next(stage.details for stage in found.stages if stage.stage == "download")
        assert details[0] == "it was broken off; it goes on where it stopped"


# -- what cleaning has left --------------------------------------------------------------------------------------


class TestPlacesToFill:
    @pytest.fixture
    def cleaned(self, photographed: Callable[..., Dataset]) -> Dataset:
        dataset = photographed(CLASSES, wanted=12, reserve=3)
        dataset.path("selection.csv").write_text("photo_id\n")
        add_downloads(dataset)
        add_clean(dataset, {"1001": "drawing", "1002": "drawing"})
        return dataset

    def test_they_come_before_the_first_training(self, cleaned: Dataset) -> None:
        found = status(cleaned)
        assert found.next_command == f"shroomcurate download --dataset {cleaned.root}"
        assert "the reserve can fill 2 places" in found.because
        assert found.also == {f"shroomcurate train-baseline --dataset {cleaned.root}": "to go on without them"}

    def test_judgements_whose_paths_are_damaged_are_named(self, cleaned: Dataset) -> None:
        table = cleaned.path("clean.parquet")
        content = table.read_bytes()
        first = pq.read_metadata(table).row_group(0).column(0)
        start, length = first.dictionary_page_offset or first.data_page_offset, first.total_compressed_size
        table.write_bytes(content[:start] + bytes(length) + content[start + length :])
        found = status(cleaned)
        assert {stage.stage: stage.state for stage in found.stages}["clean"] == "damaged"

    def test_photos_that_have_come_since_are_no_shortage(self, cleaned: Dataset) -> None:
        before = status(cleaned).shortages
        assert before[CLASSES[0]] == 2
        for number in (1013, 1014):
            copy = cleaned.images / CLASSES[0] / f"{number}.jpg"
            copy.write_bytes((cleaned.images / CLASSES[0] / "1003.jpg").read_bytes())
        assert CLASSES[0] not in status(cleaned).shortages

    def test_who_has_trained_without_them_is_only_reminded(self, cleaned: Dataset) -> None:
        split(cleaned)
        add_run(cleaned, metrics_of(CLASSES))
        found = status(cleaned)
        assert found.next_command == f"shroomcurate report --dataset {cleaned.root}"
        assert f"shroomcurate download --dataset {cleaned.root}" in found.also

    def test_no_more_are_named_than_the_reserve_has(self, cleaned: Dataset) -> None:
        add = {f"10{number:02}": "scenery" for number in range(3, 10)}
        add_clean(cleaned, {"1001": "drawing", "1002": "drawing", **add})
        # Of the three in reserve, the row that `add_downloads` writes as gone is one.
        assert "fill 2 places" in status(cleaned).because

    def test_an_open_judgement_comes_first(self, cleaned: Dataset) -> None:
        append_verdicts(cleaned, {"images/Boletus_edulis/2001.jpg": Verdict(False, "blurred")})
        assert str(status(cleaned).next_command).startswith("shroomcurate clean")


# -- the disk ----------------------------------------------------------------------------------------------------


def test_a_photo_that_is_shorter_than_what_came_makes_the_download_unfinished(finished: Dataset) -> None:
    photo = finished.images / "Boletus_edulis" / "2001.jpg"
    photo.write_bytes(photo.read_bytes()[:-1])
    found = stage(status(finished), "download")
    assert (found.state, found.details) == ("unfinished", ("photos whose files are not as long as what came: 1",))


def test_status_sees_the_photos_that_every_stage_sees(finished: Dataset) -> None:
    (finished.images / ".hidden").mkdir()
    (finished.images / ".hidden" / "1.jpg").touch()
    (finished.images / "Boletus_edulis" / "1.jpg.partial").touch()
    (finished.images / "Boletus_edulis" / "nowhere.jpg").symlink_to("nothing")
    (finished.images / "Boletus_edulis" / "linked.jpg").symlink_to(finished.images / "Boletus_edulis" / "2002.jpg")
    (finished.root / "removed" / "unheard_of" / "Boletus_edulis").mkdir(parents=True)
    (finished.root / "removed" / "unheard_of" / "Boletus_edulis" / "5.jpg").touch()
    both = finished.root / "removed" / "outlier" / "Boletus_edulis" / "2003.jpg"
    both.parent.mkdir(parents=True, exist_ok=True)
    both.touch()
    with Look(finished, silent) as look:
        places = {path: finished.locate(path, reason) for path, reason in look.photos.items()}
        assert places == finished.photos()
        assert look.bytes == {path: place.stat().st_size for path, place in finished.photos().items()}


def test_a_name_that_is_not_utf8_is_left_alone_as_by_clean(finished: Dataset) -> None:
    (finished.images / "Boletus_edulis" / os.fsdecode(b"\xff.jpg")).write_bytes(jpeg(5))
    assert stage(status(finished), "clean").state == "current"


# -- the catalogue and the verdicts ------------------------------------------------------------------------------


def test_a_dump_that_was_loaded_later_is_pointed_at_with_recheck(selected: Callable[..., Dataset]) -> None:
    dataset = selected(CLASSES, wanted=1)
    table = read_table(dataset.path("selection.parquet"))
    write_table(dataset.path("selection.parquet"), table, Receipt("query", {"per_class": 1, "catalogue": "0" * 64}))
    add_downloads(dataset)
    os.utime(dataset.path("downloads.parquet"), (1e9, 1e9))
    assert stage(status(dataset), "download").details == ()
    note_a_load("1" * 64)
    assert "download --recheck" in stage(status(dataset), "download").details[-1]
    os.utime(dataset.path("downloads.parquet"), (4e9, 4e9))
    assert stage(status(dataset), "download").details == ()


def test_verdicts_are_counted_with_those_that_clean_has_not_heard(finished: Dataset) -> None:
    assert not any("verdicts" in detail for detail in stage(status(finished), "clean").details)
    append_verdicts(finished, {"images/Boletus_edulis/2001.jpg": Verdict(False, "blurred")})
    append_verdicts(finished, {"images/Boletus_edulis/2002.jpg": Verdict(True, None)})
    details = stage(status(finished), "clean").details
    assert "verdicts.csv: 2 photos, 2 since this" in details
    rows = read_table(finished.path("clean.parquet")).to_pylist()
    for row in rows:
        if row["path"].endswith("2002.jpg"):
            row["decided_by"] = "person"
    write_table(finished.path("clean.parquet"), make_table(JUDGEMENTS, rows), Receipt("clean", {}))
    assert "verdicts.csv: 2 photos, 1 since this" in stage(status(finished), "clean").details


def test_many_photos_in_doubt_are_worth_a_look_by_eye(finished: Dataset) -> None:
    assert not [command for command in status(finished).also if command.startswith("shroomcurate review")]
    rows = read_table(finished.path("clean.parquet")).to_pylist()
    for row in rows[5:9]:
        row["score"] = 0.52
    receipt = read_receipt(finished.path("clean.parquet"))
    assert receipt
    write_table(finished.path("clean.parquet"), make_table(JUDGEMENTS, rows), receipt)
    also = status(finished).also[f"shroomcurate review --dataset {finished.root}"]
    assert "in doubt about 4 photos" in also


# -- receipts ----------------------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "1", "2"])),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("12")),
)
def test_an_input_counts_as_changed_when_its_bytes_are_others(inputs: dict[str, str], now: dict[str, str]) -> None:
    changed = {each.name: each.gone for each in changed_inputs(inputs, now.get)}
    for name, then in inputs.items():
        assert (name in changed) == ((then or None) != now.get(name))
        if name in changed:
            assert changed[name] == (name not in now)
    assert set(changed) <= set(inputs)


def test_a_file_that_is_new_counts_when_it_is_asked_for_and_lost_embeddings_never_do() -> None:
    assert changed_inputs({}, {"selection.parquet": "1"}.get, also=("selection.parquet",)) == [
        Change("selection.parquet", gone=False)
    ]
    assert changed_inputs({"embeddings.parquet": "1"}, {}.get) == []
    assert changed_inputs({"embeddings.parquet": "1"}, {"embeddings.parquet": "2"}.get) != []

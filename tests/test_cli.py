"""The command line: its help, its JSON, and every wrong input with its exit code, message and hint."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from shroomcurate import __version__, errors
from shroomcurate.cli import MODULES, app
from shroomcurate.dataset import Dataset
from shroomcurate.demo.server import serve_photos
from tests.conftest import jpeg
from tests.dumps import EDULIS, MUSCARIA, Dump

Run = Callable[..., Any]


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty dataset and database: `run("query", "--species", "2")`."""
    monkeypatch.setenv("SHROOMCURATE_DATABASE_URL", database_url)
    monkeypatch.setenv("SHROOMCURATE_DATASET", str(tmp_path / "dataset"))
    monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path / "home"))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_the_module_of_each_command_is_known_and_registers_these_commands_alone() -> None:
    """So that the one that is typed does not load the others."""
    found: dict[str, list[str]] = {}
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        found.setdefault(command.callback.__module__.rpartition(".")[2], []).append(name)
    assert {module: tuple(names) for module, names in found.items()} == MODULES
    code = "import sys; sys.argv = ['shroomcurate', 'review', '--help']\nfrom shroomcurate.cli import main\n"
    code += "try:\n    main()\nfinally:\n    assert 'shroomcurate.cli.look' in sys.modules\n"
    code += "    assert 'shroomcurate.cli.catalogue' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    made = Dump()
    made.photographed(MUSCARIA, 6, first=1)
    made.photographed(EDULIS, 4, first=11)
    return made.write(tmp_path / "dump", packed=False)


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[str]:
    for photo in [*range(1, 7), *range(11, 15)]:
        target = tmp_path / "bucket" / "photos" / str(photo) / "medium.jpg"
        target.parent.mkdir(parents=True)
        target.write_bytes(jpeg(photo))
    with serve_photos(tmp_path / "bucket") as url:
        yield url


def refused(result: Any, code: int, *words: str) -> None:
    """The command ended with this code, and its message (standard error) holds these words and a hint."""
    assert result.exit_code == code, result.output
    for word in words:
        assert word in result.stderr.replace("\n", " ")
    assert "→ " in result.stderr
    assert "Traceback" not in result.output


def test_the_first_commands_of_a_user_run_in_a_row(run: Run, dump: Path, bucket: str, tmp_path: Path) -> None:
    assert run("load-csvs", dump).exit_code == 0
    selected = run("query", "--species", 2, "--per-class", 3)
    assert selected.exit_code == 0
    assert "2 classes, 6 photos, 3 in reserve" in selected.stdout
    fetched = run("download", "--base-url", bucket)
    assert fetched.exit_code == 0
    assert "6 fetched now" in fetched.stdout
    classes = {folder.name: len(list(folder.iterdir())) for folder in (tmp_path / "dataset" / "images").iterdir()}
    assert classes == {"Amanita_muscaria": 3, "Boletus_edulis": 3}
    assert run("clean", "--embedder", "classic").exit_code == 0
    assert "Next: shroomcurate" in run("status").stdout
    assert run("report").exit_code == 0
    assert "6 classes, 0 photos" not in run("status").stdout


def test_json_is_all_that_standard_output_holds(run: Run, dump: Path, bucket: str) -> None:
    assert json.loads(run("load-csvs", dump, "--json").stdout)["tables"]["photos"]["kept"] == 10
    assert json.loads(run("query", "--species", 2, "--per-class", 3, "--json").stdout)["wanted"] == 6
    assert json.loads(run("download", "--base-url", bucket, "--json").stdout)["statuses"]["ok"] == 6
    assert json.loads(run("clean", "--embedder", "classic", "--json").stdout)["kept"] == 6
    assert {stage["stage"] for stage in json.loads(run("status", "--json").stdout)["stages"]} >= {"query", "clean"}


def test_every_command_ends_with_the_next_one_as_status_says_it(run: Run, dump: Path, bucket: str) -> None:
    def following(output: str) -> list[str]:
        return [line for line in output.splitlines() if line.startswith(("Next: ", "Also: "))]

    assert run("load-csvs", dump).exit_code == 0
    for words in (
        ["query", "--species", 2, "--per-class", 3],
        ["download", "--base-url", bucket],
        ["clean", "--embedder", "classic"],
        ["report"],
    ):
        said = following(run(*words).stdout)
        assert said
        assert said == following(run("status").stdout), words


@pytest.mark.parametrize("name", typer.main.get_command(app).commands)  # type: ignore[attr-defined]
def test_every_command_can_be_quiet_and_answer_in_json(name: str) -> None:
    options = {option for parameter in typer.main.get_command(app).commands[name].params for option in parameter.opts}  # type: ignore[attr-defined]
    assert {"--json", "--quiet"} <= options


def test_templates_are_json_too(run: Run) -> None:
    found = json.loads(run("query", "--list-templates", "--json").stdout)
    assert {"balanced", "species_list"} == {template["name"] for template in found}


@pytest.mark.parametrize("name", ["clean", "restore", "train-baseline", "report", "status"])
def test_two_places_for_the_photos_are_refused_in_any_order(run: Run, tmp_path: Path, name: str) -> None:
    both = ["--images", tmp_path / "mine", "--dataset", tmp_path / "ours"]
    for words in (both, [*both[2:], *both[:2]]):
        result = run(name, *words)
        assert result.exit_code == 2
        assert "not both" in result.stderr
    # The environment's dataset, which every command here has, is no contradiction.
    assert "not both" not in run(name, *both[:2]).output


def test_an_error_is_json_too_when_that_was_asked_for(run: Run) -> None:
    result = run("download", "--json")
    facts = json.loads(result.stderr)
    assert facts["exit_code"] == result.exit_code == 6
    assert facts["error"] == "StageMissing"
    assert facts["hint"].startswith("Type this first: shroomcurate query")


def test_quiet_prints_nothing(run: Run, dump: Path) -> None:
    assert run("load-csvs", dump, "--quiet").output == ""


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"shroomcurate {__version__}"


class TestWrongInput:
    def test_no_such_source(self, run: Run, tmp_path: Path) -> None:
        refused(run("load-csvs", tmp_path / "none"), 3, "There is no", "shroomcurate load-csvs FOLDER")

    def test_a_csv_without_a_needed_column(self, run: Run, dump: Path) -> None:
        text = (dump / "photos.csv").read_text().replace("license", "licence", 1)
        (dump / "photos.csv").write_text(text)
        refused(run("load-csvs", dump), 4, "photos.csv, line 1", "'license'")

    def test_a_row_with_too_few_fields(self, run: Run, dump: Path) -> None:
        lines = (dump / "photos.csv").read_text().splitlines()
        lines[3] = lines[3].rsplit("\t", 1)[0]
        (dump / "photos.csv").write_text("\n".join(lines) + "\n")
        refused(run("load-csvs", dump), 4, "photos.csv, line 4: 8 fields where the header has 9")

    def test_a_truncated_gzip(self, run: Run, dump: Path) -> None:
        packed = gzip.compress((dump / "photos.csv").read_bytes())
        (dump / "photos.csv").unlink()
        (dump / "photos.csv.gz").write_bytes(packed[:-20])
        refused(run("load-csvs", dump), 4, "photos.csv.gz ends in the middle of its gzip stream")

    def test_a_database_that_cannot_be_reached(self, run: Run, dump: Path) -> None:
        url = "postgresql://someone:secret@127.0.0.1:1/nothing"
        result = run("load-csvs", dump, "--database-url", url)
        refused(result, 5, "127.0.0.1:1", "docker compose up -d")
        assert "secret" not in result.output

    def test_query_before_load_csvs(self, run: Run) -> None:
        refused(run("query"), 6, "shroomcurate load-csvs")

    def test_download_before_query(self, run: Run) -> None:
        refused(run("download"), 6, "selection.parquet", "shroomcurate query")

    def test_train_baseline_before_clean(self, run: Run) -> None:
        refused(run("train-baseline"), 6, "clean.parquet", "shroomcurate clean")

    def test_no_matching_species(self, run: Run, dump: Path) -> None:
        run("load-csvs", dump)
        refused(run("query", "--min-per-class", 1000), 7, "No class fulfils the options", "--min-per-class")

    def test_a_negative_eps(self, run: Run) -> None:
        refused(run("clean", "--eps", -1), 2, "--eps -1", "such as 0.3")

    def test_an_unknown_licence(self, run: Run) -> None:
        refused(run("query", "--licenses", "CC-BY-4"), 2, "'CC-BY-4'", "CC-BY-NC-ND")

    def test_no_weights_and_no_network(
        self, run: Run, dump: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("SHROOMCURATE_WEIGHTS", raising=False)
        for words in (["load-csvs", dump], ["query", "--per-class", 3], ["download", "--base-url", bucket]):
            assert run(*words).exit_code == 0
        refused(run("clean", "--weights", "nowhere.h5"), 8, "nowhere.h5", "--embedder classic", "--weights PATH")

    def test_a_server_that_is_not_there(self, run: Run, dump: Path) -> None:
        run("load-csvs", dump)
        run("query", "--per-class", 3)
        refused(run("download", "--base-url", "http://127.0.0.1:1", "--attempts", 1), 10, "127.0.0.1:1", "--base-url")

    def test_two_commands_on_one_dataset(self, run: Run, dump: Path, tmp_path: Path) -> None:
        run("load-csvs", dump)
        with Dataset(tmp_path / "dataset").lock("clean"):
            refused(run("query"), 11, f"'shroomcurate clean' (process {os.getpid()})")

    def test_a_damaged_table(self, run: Run, dump: Path, tmp_path: Path) -> None:
        run("load-csvs", dump)
        run("query", "--per-class", 3)
        (tmp_path / "dataset" / "selection.parquet").write_bytes(b"PAR1 but not really")
        refused(run("download"), 13, "selection.parquet cannot be read", "shroomcurate query")


def test_every_error_has_an_exit_code_of_its_own() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ShroomError)]
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert errors.INTERRUPTED not in codes


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "shroomcurate", *map(str, words)]


def test_a_full_disk_is_named_and_nothing_is_lost(run: Run, dump: Path, tmp_path: Path) -> None:
    run("load-csvs", dump)
    run("query", "--species", 1, "--per-class", 3)
    before = {name: (tmp_path / "dataset" / name).read_bytes() for name in ("selection.parquet", "selection.csv")}

    def no_file_larger_than_1_kb() -> None:  # to a program it is what a full disk is: a write that fails
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    ended = subprocess.run(
        command("query", "--seed", 9), preexec_fn=no_file_larger_than_1_kb, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 9, ended.stderr
    assert "The disk is full while writing" in ended.stderr
    assert {name: (tmp_path / "dataset" / name).read_bytes() for name in before} == before
    assert not list((tmp_path / "dataset").glob("*.partial"))


@pytest.mark.parametrize("wait", [0.4, 0.9, 1.4])
def test_a_query_killed_at_any_moment_and_run_again_gives_the_same_bytes(
    run: Run, dump: Path, tmp_path: Path, wait: float
) -> None:
    files = [tmp_path / "dataset" / name for name in ("selection.parquet", "selection.csv")]
    run("load-csvs", dump)
    run("query", "--seed", 3)
    undisturbed = [file.read_bytes() for file in files]
    run("query", "--seed", 4)
    process = subprocess.Popen(command("query", "--seed", 3, "--quiet"))
    time.sleep(wait)
    process.kill()
    process.wait()
    run("query", "--seed", 3)
    assert [file.read_bytes() for file in files] == undisturbed


def test_colours_are_off_where_there_is_no_terminal(run: Run, dump: Path) -> None:
    assert "\x1b[" not in run("load-csvs", dump).output

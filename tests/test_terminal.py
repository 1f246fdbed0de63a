"""What a person sees in a terminal, and what a program gets from a pipe. Real terminals are made by ``pty``."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from shroomcurate import show, show_state, show_training
from shroomcurate.catalogue.api import ApiOptions, ApiReport, SpeciesFetched
from shroomcurate.catalogue.dump_lock import LockedFile
from shroomcurate.catalogue.fetch import FetchReport
from shroomcurate.catalogue.ledger import LoadReport, TableReport
from shroomcurate.clean import CleanSummary
from shroomcurate.cli import app
from shroomcurate.dataset import Dataset
from shroomcurate.demo.score import CleaningScore, Tally
from shroomcurate.doctor import Check, Diagnosis
from shroomcurate.download import DownloadSummary
from shroomcurate.embed import EmbedSummary
from shroomcurate.predict import Guess, Prediction, Predictions
from shroomcurate.report import ReportSummary
from shroomcurate.restore import RestoreSummary
from shroomcurate.select import ClassCount, QueryOptions, QuerySummary, list_templates
from shroomcurate.split import SplitSummary
from shroomcurate.status import DatasetStatus, StageStatus
from shroomcurate.terminal import Terminal, _instead, _plain, reported, shown
from shroomcurate.training import BaselineSummary
from shroomcurate.training.comparison import Comparison, Run
from shroomcurate.training.estimate import Estimate
from tests.test_architecture import HEAVY

ESCAPE = "\x1b["
LONG = "Pseudohydnum_gelatinosum_var_brunnescens"  # 40 letters, as long as real ones get
assert len(LONG) == 40


def in_terminal(code: str, columns: int = 80, **environment: str) -> str:
    """Run Python code in a real terminal of so many columns; return everything that it wrote there."""
    chief, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    told = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "FORCE_COLOR"}}
    command = [sys.executable, "-c", f"from shroomcurate.terminal import *\n{code}"]
    running = subprocess.Popen(
        command, stdin=end, stdout=end, stderr=end, env={**told, "TERM": "xterm-256color", **environment}
    )
    os.close(end)
    written = b""
    while True:
        try:
            some = os.read(chief, 1 << 16)
        except OSError:  # EIO: the other end is closed
            break
        if not some:
            break
        written += some
    os.close(chief)
    assert running.wait() == 0, written.decode(errors="replace")
    return written.decode()


class TestColours:
    CODE = "t = Terminal(); t.warn('look'); t.table('Title', ('class', 'photos'), [('Amanita', 5)])"

    def test_a_terminal_has_them(self) -> None:
        assert ESCAPE in in_terminal(self.CODE)

    @pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
    def test_they_are_off_when_asked(self, environment: dict[str, str]) -> None:
        written = in_terminal(self.CODE, **environment)
        assert ESCAPE not in written
        assert "Amanita" in written

    def test_an_empty_no_color_asks_for_nothing(self) -> None:
        assert ESCAPE in in_terminal(self.CODE, NO_COLOR="")

    @pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
    def test_they_are_off_in_help_too(self, environment: dict[str, str]) -> None:
        code = "import sys; sys.argv = ['shroomcurate', '--help']\nfrom shroomcurate.cli import main\nmain()"
        assert ESCAPE in in_terminal(code)
        assert ESCAPE not in in_terminal(code, **environment)

    def test_a_pipe_gets_none(self) -> None:
        code = f"from shroomcurate.terminal import *\n{self.CODE}"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ESCAPE not in ran.stdout + ran.stderr


class TestBars:
    WORK = (
        "import time\n"
        "with Terminal().progress() as progress:\n"
        "    for done in range(9):\n"
        "        progress(done, 8, 'embed'); time.sleep(0.2)\n"
    )

    def test_work_that_takes_long_shows_how_far_it_is_and_the_time_left(self) -> None:
        written = in_terminal(self.WORK)
        assert "embed" in written
        assert re.search(r"\d+%", written)
        assert re.search(r"0:00:0\d", written)

    def test_work_of_which_nobody_knows_the_end_shows_that_it_goes_on(self) -> None:
        written = in_terminal("import time\nwith Terminal().progress(): time.sleep(1.2)")
        assert "working, 0:00:0" in written

    def test_work_that_takes_longer_than_anybody_knew_claims_no_end(self) -> None:
        code = "time.sleep(2); progress(4, 5, 'sort'); time.sleep(0.7); progress(6, 0, 'sort'); time.sleep(1)"
        written = in_terminal(f"import time\nwith Terminal().progress() as progress:\n    {code}")
        assert "sort, 0:00:01" in written
        assert "%" not in written.partition("sort, 0:00:01")[2]
        assert "sort, 0:00:02" not in written, "its own time, not that of all"

    def test_work_that_is_done_at_once_draws_none(self) -> None:
        written = in_terminal("with Terminal().progress() as progress: progress(1, 2, 'embed')")
        assert "embed" not in written

    def test_a_dumb_terminal_gets_no_bar(self) -> None:
        assert ESCAPE not in in_terminal(self.WORK, TERM="dumb")

    def test_quiet_means_quiet(self) -> None:
        assert in_terminal(self.WORK.replace("Terminal()", "Terminal(quiet=True)")) == ""


class TestEncodings:
    CODE = (
        "import sys; own_this_process()\n"
        "t = Terminal(); t.say('→ Next … 5 × 5 © Éva \\udcff'); t.table('Größe', ('a', 'b'), [('Ĝ…', 1)])\n"
        "t.error(ShroomError('Ĝ', 'type → this'))"
    )

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp437"])
    def test_no_letter_ends_the_program_whatever_the_encoding(self, encoding: str) -> None:
        code = f"from shroomcurate.terminal import *\n{self.CODE}"
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
        assert ran.returncode == 0, ran.stderr.decode(encoding)
        assert b"Next" in ran.stdout

    def test_an_ascii_terminal_gets_signs_that_it_has(self) -> None:
        written = in_terminal(self.CODE, PYTHONIOENCODING="ascii")
        assert "-> Next ... 5 x 5 (c) \\xc9va \\udcff" in written

    def test_a_command_runs_in_the_c_locale(self, tmp_path: Path) -> None:
        for encoding in ("", "ascii"):
            environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
            environment |= {"PYTHONIOENCODING": encoding} if encoding else {}
            command = [sys.executable, "-m", "shroomcurate", "query", "--list-templates"]
            ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=False)
            assert ran.returncode == 0, ran.stderr

    @given(st.text(st.characters(exclude_categories=())))
    def test_every_text_has_a_spelling_in_ascii(self, text: str) -> None:
        import codecs

        codecs.register_error("shroomcurate", _instead)
        assert text.encode("ascii", "shroomcurate").isascii()


class TestErrorsOfTheSystem:
    @pytest.mark.parametrize(
        ("number", "code", "hint"),
        [
            (errno.ENAMETOOLONG, 14, "shorter path"),
            (errno.EROFS, 14, "can only be read"),
            (errno.ELOOP, 14, "leads back to itself"),
            (errno.EMFILE, 14, "ulimit -n"),
            (errno.EIO, 14, "dmesg"),
            (errno.ENOSPC, 9, "Make room"),
            (errno.EACCES, 14, "permissions"),
        ],
    )
    def test_each_is_an_error_with_a_remedy(
        self, number: int, code: int, hint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(typer.Exit) as ended, reported(Terminal()):
            raise OSError(number, os.strerror(number), "/some/where")
        assert ended.value.exit_code == code
        said = capsys.readouterr().err
        assert "/some/where" in said
        assert hint in said

    def test_a_name_that_is_too_long_is_an_error_of_every_command(self, tmp_path: Path) -> None:
        long, nowhere = str(tmp_path / ("x" * 300)), "postgresql://127.0.0.1:1/none"
        for words in (["status"], ["download"], ["query"], ["clean"], ["report"], ["restore"], ["train-baseline"]):
            ran = CliRunner().invoke(app, [*words, "--dataset", long], env={"SHROOMCURATE_DATABASE_URL": nowhere})
            assert isinstance(ran.exception, SystemExit | None), words

    def test_links_in_a_circle_are_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to(tmp_path / "b")
        (tmp_path / "b").symlink_to(tmp_path / "a")
        for words in (["status"], ["download"], ["clean"]):
            ran = CliRunner().invoke(app, [*words, "--dataset", str(tmp_path / "a")])
            assert isinstance(ran.exception, SystemExit | None), words

    def test_ctrl_c_ends_within_two_seconds_what_does_not_hear_it(self) -> None:
        code = (
            "import hashlib, sys\n"
            "from shroomcurate.terminal import Terminal, ended_soon, own_this_process, reported\n"
            "own_this_process()\n"
            "terminal = Terminal()\n"
            "with reported(terminal), ended_soon(terminal):\n"
            "    print('begun', flush=True)\n"
            "    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            time.sleep(0.2)
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert time.monotonic() - began < 4  # of which two on a busy machine
            assert process.stderr is not None
            assert process.stderr.read().count("Stopped.") == 1

    def test_a_bug_stays_a_traceback(self) -> None:
        with pytest.raises(OSError, match="no name"), reported(Terminal()):
            raise OSError(errno.EIO, "no name")

    def test_a_reader_that_has_enough_ends_it_quietly(self, tmp_path: Path) -> None:
        command = f"{sys.executable} -m shroomcurate status --dataset {tmp_path} | head -1"
        ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert ran.stderr == ""


# -- tables ----------------------------------------------------------------------------------------------------


def drawn(draw: Callable[[Terminal], None], columns: int) -> list[str]:
    """The lines that something draws in a terminal of so many columns."""
    terminal = Terminal()
    written = io.StringIO()
    terminal.out = Console(file=written, width=columns, highlight=False, force_terminal=True, color_system=None)
    draw(terminal)
    return written.getvalue().splitlines()


MANY = {f"{LONG[:38]}{number:02}": 10**6 + number for number in range(30)}
QUERY = QuerySummary(
    classes=[ClassCount(name, name, count, count) for name, count in MANY.items()],
    wanted=1,
    reserve=1,
    short=MANY,
    without_photos=list(MANY),
    licenses={"CC-BY-NC-SA": 10**9},
    left_out={"also_in_an_observation_outside_the_catalogue": 123_456_789},
    photos_in_catalogue=123_456_789,
)
DOWNLOAD = DownloadSummary(30, {"ok": 10**7}, 5, 5, 5, 5, 5, 5, 5, 5, 10**12, MANY, 3.0)
CLEAN = CleanSummary(
    kept=1,
    removed=1,
    reasons={"microscopy": 123_456},
    classes={name: {"kept": count, "removed": count} for name, count in MANY.items()},
    left_alone=dict.fromkeys(MANY, "more than half of it would go: 12,345 of 23,456"),
    eps=dict.fromkeys(MANY, 0.123456),
    decided_by={},
    moved_out=1,
    moved_back=0,
    conflicts=3,
    dry_run=False,
    without_photo=[f"images/{LONG}/123456789.jpg"],
    unjudged=[],
    trust=None,
    suggestions=(),
)
UNREADABLE = {f"images/{LONG}/123456789.jpg": "broken data stream when reading"}
EMBED = EmbedSummary("mobilenet_v3_small", 1, 1, 0, undecodable=UNREADABLE)
STATUS = DatasetStatus(
    tuple(
        StageStatus(stage, "unfinished", ("photos whose files are not as long as what came: 123,456",), dict(MANY))
        for stage in ("query", "download", "clean", "train-baseline", "report")[:4]
    ),
    MANY,
    f"shroomcurate download --dataset /somewhere/{LONG}",
    "the reserve can fill 123,456 places",
    {"shroomcurate review": "to judge by eye"},
)
DOCTOR = Diagnosis(
    (
        Check(
            "GPU 0 memory", "problem", f"10 GiB held by process 1: {LONG} " * 3, "It is dead. " * 9, (f"kill 1 {LONG}",)
        ),
    )
)

LOAD = LoadReport(
    source="/somewhere",
    fingerprint="0",
    taxa=None,
    quality="research",
    asked=None,
    schema="0",
    files=[],
    tables={
        name: TableReport(123_456_789, 12_345_678, {"of_another_quality_grade": 98_765_432, "no_taxon": 1_234_567})
        for name in ("taxa", "observations", "photos", "observers")
    },
    facts={"observations_without_a_position_that_can_be_used": 12_345_678},
    changes={"photo_relicensed": 123_456},
)
API = ApiReport(
    dump="/somewhere",
    requests=12_345,
    pages_there=5,
    oldest_page="2026-01-01",
    species=[SpeciesFetched(1, name, count, count, "the last page") for name, count in MANY.items()],
    left_out={"license_is_not_open": 123_456},
    load=LOAD,
)
LOCKED = LockedFile("http://somewhere/observations.csv.gz", 10**10, None, "2026-07-27T03:11:22Z", "0" * 64)
FETCHED = FetchReport("/somewhere", {"observations.csv.gz": LOCKED}, ("observations.csv.gz",), 10**10, 10**9, True)
BASELINE = BaselineSummary(
    run="runs/probe-1",
    already_done=False,
    mode="finetune",
    architecture="mobilenet_v3_small",
    classes=30,
    left_out=dict.fromkeys(MANY, "fewer than three groups: they cannot be evaluated"),
    photos={"test": 12_345},
    top1=0.123456,
    top5=0.5,
    macro_f1=0.5,
    ece=0.05,
    ece_calibrated=0.01,
    raw_vs_clean={
        "model": "probe",
        "seeds": [0, 1],
        "test_photos": 12_345,
        "train_photos": {"raw": 123_456, "clean": 112_345},
        "raw": {"top1": 0.5, "macro_f1": 0.5},
        "clean": {"top1": 0.6, "macro_f1": 0.6},
        "difference": {name: {"difference": 0.1, "low": 0.05, "high": 0.15} for name in ("top1", "macro_f1")},
    },
    learning_curve={
        "model": "probe",
        "points": [{"per_class": 12.5, "top1": {"mean": 0.5}, "macro_f1": {"mean": 0.4}}],
        "more": {"top1": {"twice": {"photos": 1000.0, "answer": "cannot be said", "because": "its interval " * 9}}},
    },
    cross_validation=None,
    search=None,
    dragging=[
        {
            "class": "Amanita_" + "x" * 40,
            "f1": 0.5,
            "gain": 0.01,
            "taken_for": [{"class": "Boletus_" + "x" * 40, "photos": 3}],
        }
    ],
    danger={
        "recall_poisonous": {"share": 0.9, "photos": 100},
        "deadly_taken_for_edible": {"share": 0.0, "photos": 10},
        "notes": ["no class of the dataset is deadly"],
    },
    threshold=0.75,
    phone=[
        {
            "variant": "int8",
            "passed": False,
            "refused_because": "top1 fell by 3.00 points, more than the 1.5 allowed",
            "figures": {"top1": 0.5, "ece_calibrated": 0.01},
            "speed": {"size_mb": 1.2, "one_thread": {"median_ms": 1.4}},
        }
    ],
    certificate={},
    notes=["a note that is as long as such notes are, and goes on beyond the end of a line of a terminal"],
)
LEFT = [Path("dataset/runs/finetune-9.partial")]
RUN = Run("finetune-" + "x" * 40, "2026-07-27T03:11:22+00:00", True, "finetune", None, 445, 33_000, 0.9, 0.8, 0.02)
COMPARED = Comparison(
    RUN, RUN, 33_000, 12, 34, {name: {"difference": 0.1, "low": 0.05, "high": 0.15} for name in ("top1", "macro_f1")}
)
PREDICTED = Predictions(
    "runs/finetune-1",
    0.9,
    445,
    (
        Prediction("a/photo.jpg", (Guess("Amanita phalloides", 0.85, "deadly", "confused with " * 9),), False, None),
        Prediction("b/none.jpg", (), False, "HTML or XML"),
    ),
)
SPLIT = SplitSummary(123_456, 1, {"train": 123_456}, {}, [], {"near_duplicates_kept_together": 12_345}, 4, 99, {"A": 3})
REPORT = ReportSummary("/somewhere/report.html", ("asked",), {"baseline": "shroomcurate train-baseline"}, 5, 10**7)
SCORE = CleaningScore(1, 1, 1, 0.5, 0.5, 0.5, 0.5, {"microscopy": Tally(12_345, 1, 1)}, {})

DRAWINGS: Mapping[str, Callable[[Terminal], None]] = {
    "query": lambda terminal: show.query(terminal, QUERY, QueryOptions()),
    "templates": lambda terminal: show.templates(terminal, list_templates()),
    "download": lambda terminal: show.download(terminal, DOWNLOAD),
    "clean": lambda terminal: show.clean(terminal, CLEAN, EMBED, Dataset("dataset")),
    "fetch-dumps": lambda terminal: show.fetch_dumps(terminal, FETCHED),
    "load-csvs": lambda terminal: show.load_csvs(terminal, LOAD, diff=True),
    "load-api": lambda terminal: show.load_api(terminal, API, ApiOptions(taxa=("Amanita",))),
    "train-baseline": lambda terminal: show_training.train_baseline(terminal, [BASELINE], SPLIT, Dataset("dataset")),
    "compare": lambda terminal: show_training.train_baseline(terminal, [BASELINE, BASELINE], SPLIT, Dataset("dataset")),
    "expected": lambda terminal: show_training.expected(terminal, Estimate(12_345.0, 123_456, 15, 11.0, long=True)),
    "runs": lambda terminal: show_training.runs(terminal, [RUN, RUN], LEFT, Dataset("dataset")),
    "runs compared": lambda terminal: show_training.compared(terminal, COMPARED),
    "predict": lambda terminal: show_training.predictions(terminal, PREDICTED),
    "report": lambda terminal: show.report(terminal, REPORT),
    "demo": lambda terminal: show.demo(terminal, SCORE, {"train-baseline": 123.4}, "/somewhere/report.html"),
    "restore": lambda terminal: show.restore(terminal, RestoreSummary(1, {}, MANY, [], 5)),
    "status": lambda terminal: show_state.status(terminal, STATUS, "dataset"),
    "doctor": lambda terminal: show_state.doctor(terminal, DOCTOR),
}


@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("columns", [80, 60])
class TestTables:
    def test_it_fits(self, name: str, columns: int) -> None:
        for line in drawn(DRAWINGS[name], columns):
            # Commands and paths are left whole, to be copied.
            assert cell_len(line) <= columns or "shroomcurate" in line or "/" in line, line

    def test_no_letter_of_a_name_and_no_digit_is_lost(self, name: str, columns: int) -> None:
        wide = "\n".join(drawn(DRAWINGS[name], 400))
        narrow = drawn(DRAWINGS[name], columns)
        assert sorted("".join("".join(narrow).split())) == sorted("".join(wide.split()))
        numbers = set(re.findall(r"\d[\d,]+,\d{3}", wide))
        assert all(number in " ".join(narrow) for number in numbers)


class TestValues:
    @pytest.mark.parametrize(
        ("value", "text"), [(1234567, "1,234,567"), (True, "yes"), (None, "–"), (0.12345, "0.123"), ("a", "a")]
    )
    def test_a_value_reads_as_a_person_says_it(self, value: object, text: str) -> None:
        assert shown(value) == text

    def test_json_has_no_number_that_json_does_not_know(self, capsys: pytest.CaptureFixture[str]) -> None:
        Terminal(as_json=True).result({"ece": float("nan"), "parts": [float("inf"), 1.5], "path": Path("a")})

        def refuse(constant: str) -> None:
            raise AssertionError(constant)

        found = json.loads(capsys.readouterr().out, parse_constant=refuse)
        assert found == {"ece": None, "parts": [None, 1.5], "path": "a"}

    @given(
        st.recursive(
            st.none() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )
    def test_everything_plain_is_json(self, facts: Any) -> None:
        json.loads(json.dumps(_plain(facts), allow_nan=False))


def test_a_command_that_somebody_will_copy_is_never_broken() -> None:
    command = "shroomcurate download --dataset " + "/a/very/long/folder" * 9
    written = in_terminal(f"Terminal().say({command!r}, whole=True)", columns=40)
    assert command in written


# -- completion ------------------------------------------------------------------------------------------------


def completed(line: str, **environment: str) -> list[str]:
    """What bash offers at the end of a line, by the protocol that the installed script speaks."""
    words = line.split(" ")
    told = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), **environment}
    told["_SHROOMCURATE_COMPLETE"] = "complete_bash"
    ran = CliRunner().invoke(app, env=told, prog_name="shroomcurate")
    assert isinstance(ran.exception, SystemExit | None), line
    assert ran.stderr == ""
    return ran.stdout.split()


class TestCompletion:
    @pytest.mark.parametrize(
        ("line", "offered"),
        [
            ("shroomcurate clean --embedder m", ["mobilenet_v3_small", "mobilenet_v3_large"]),
            ("shroomcurate train-baseline --mode ", ["finetune", "probe", "scratch"]),
            ("shroomcurate query --rank g", ["genus"]),
            ("shroomcurate query --quality n", ["needs_id"]),
            ("shroomcurate query --licenses s", ["share"]),
            ("shroomcurate query --licenses CC0,CC-BY-S", ["CC0,CC-BY-SA"]),
            ("shroomcurate query --template s", ["species_list"]),
            ("shroomcurate download --size sq", ["square"]),
            ("shroomcurate restore --reason sce", ["scenery"]),
            ("shroomcurate doc", ["doctor"]),
        ],
    )
    def test_values_are_offered(self, line: str, offered: list[str], tmp_path: Path) -> None:
        assert completed(line, SHROOMCURATE_DATASET=str(tmp_path)) == offered

    def test_classes_are_those_that_the_dataset_has_removed(self, tmp_path: Path) -> None:
        for name in (
            "scenery/Amanita_muscaria",
            "outlier/Boletus_edulis",
            "outlier/Amanita_muscaria",
            "withdrawn/Morel",
        ):
            (tmp_path / "removed" / name).mkdir(parents=True)
        line = f"shroomcurate restore --dataset {tmp_path} --class "
        assert completed(line) == ["Amanita_muscaria", "Boletus_edulis"]
        assert completed("shroomcurate restore --class B", SHROOMCURATE_DATASET=str(tmp_path)) == ["Boletus_edulis"]
        assert completed(f"shroomcurate restore --dataset {tmp_path} --reason ") == ["scenery", "outlier"]

    def test_runs_are_those_that_are_finished_and_to_be_asked_those_with_a_network(self, tmp_path: Path) -> None:
        for name in ("probe-1", "finetune-2/phone", "finetune-3.partial/phone"):
            (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / "finetune-2" / "phone" / "model.json").touch()
        there = {"SHROOMCURATE_DATASET": str(tmp_path)}
        assert completed("shroomcurate runs ", **there) == ["finetune-2", "probe-1"]
        assert completed("shroomcurate runs probe-1 ", **there) == ["finetune-2"]
        assert completed("shroomcurate predict --run ", **there) == ["finetune-2"]
        assert completed(f"shroomcurate runs --dataset {tmp_path} p") == ["probe-1"]

    @pytest.mark.parametrize("dataset", ["/nowhere/at/all", "/proc/1/root/secret", "x" * 300, "--class"])
    def test_a_dataset_that_cannot_be_read_is_no_error(self, dataset: str) -> None:
        completed(f"shroomcurate restore --dataset {dataset} --class ")

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_each_shell_gets_values_and_a_script(self, shell: str) -> None:
        program = [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['shroomcurate']\nfrom shroomcurate.cli import main\nmain()",
        ]
        asked = {
            "_SHROOMCURATE_COMPLETE": f"complete_{shell}",
            "_TYPER_COMPLETE_ARGS": "shroomcurate clean --embedder conv",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "COMP_WORDS": "shroomcurate clean --embedder conv",
            "COMP_CWORD": "3",
        }
        ran = subprocess.run(program, env={**os.environ, **asked}, capture_output=True, text=True, check=True)
        assert "convnext_tiny" in ran.stdout
        script = subprocess.run(
            program,
            env={**os.environ, "_SHROOMCURATE_COMPLETE": f"source_{shell}"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "_SHROOMCURATE_COMPLETE" in script.stdout

    @pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
    def test_the_script_works_in_a_real_bash(self, tmp_path: Path) -> None:
        program = tmp_path / "shroomcurate"
        program.write_text(f"#!{sys.executable}\nfrom shroomcurate.cli import main\nmain()\n")
        program.chmod(0o755)
        script = (
            'eval "$(_SHROOMCURATE_COMPLETE=source_bash shroomcurate)"\n'
            "COMP_WORDS=(shroomcurate clean --embedder cl); COMP_CWORD=3\n"
            '_shroomcurate_completion shroomcurate; echo "offered: ${COMPREPLY[*]}"'
        )
        told = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        ran = subprocess.run(["bash", "-c", script], env=told, capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines()[-1] == "offered: classic"

    def test_none_of_the_heavy_libraries_is_loaded_for_it(self, tmp_path: Path) -> None:
        """Half a second is what a person waits for: with any of them it takes longer."""
        (tmp_path / "removed" / "outlier" / "Morel").mkdir(parents=True)
        line = "shroomcurate restore --class M"
        told = {**os.environ, "COMP_WORDS": line, "COMP_CWORD": "3", "SHROOMCURATE_DATASET": str(tmp_path)}
        told["_SHROOMCURATE_COMPLETE"] = "complete_bash"
        program = (
            "import sys; sys.argv = ['shroomcurate']\nfrom shroomcurate.cli import main\n"
            "try: main()\nexcept SystemExit: print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
        )
        ran = subprocess.run([sys.executable, "-c", program], env=told, capture_output=True, text=True, check=True)
        assert ran.stdout.split() == ["Morel"]
        assert "typer" in ran.stderr.split()
        assert not set(ran.stderr.split()) & HEAVY

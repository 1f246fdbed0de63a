"""What the machine lacks: on this machine, and on others that are made up of files and a program called nvidia-smi."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from shroomcurate import doctor as package
from shroomcurate.architectures import BACKBONES
from shroomcurate.cli import app
from shroomcurate.dataset import Dataset
from shroomcurate.doctor import STATES, Check, doctor, gpu, limits, machine
from shroomcurate.doctor.database import database
from shroomcurate.doctor.leftovers import leftovers
from shroomcurate.doctor.processes import is_ours, process
from shroomcurate.doctor.weights import weights
from shroomcurate.errors import UNFIT
from tests.dumps import MUSCARIA, Dump

UUID = "GPU-8d8f9a4e-5c1d-3a40-5e4f-2f0d8a4b9c11"
OTHER = "GPU-11111111-2222-3333-4444-555555555555"
CARD = f"0, {UUID}, NVIDIA GeForce RTX 3060, 550.54.15, 12288, {{used}}"

FAILED = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running."
)
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.54"


class Driver(NamedTuple):
    """A made-up driver: its device files, and what nvidia-smi prints."""

    devices: Path
    programs: Path

    def says(self, cards: str, apps: str = "", code: int = 0) -> None:
        """Let nvidia-smi print these rows, as ``--format=csv,noheader,nounits`` does."""
        (self.programs / "cards").write_text(cards + "\n" if cards else "")
        (self.programs / "apps").write_text(apps + "\n" if apps else "")
        script = f'case "$1" in --query-gpu*) cat "$0.cards";; *) cat "$0.apps";; esac; exit {code}'
        self.script(script.replace("$0.", f"{self.programs}/"))

    def script(self, body: str) -> None:
        program = self.programs / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)

    def device(self, number: int = 0) -> Path:
        self.devices.mkdir(exist_ok=True)
        device = self.devices / f"nvidia{number}"
        device.touch()
        return device


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A machine whose driver can be made up; TensorFlow is not asked in earnest, for it needs seconds."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(gpu, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(gpu, "_ASK_TENSORFLOW", "print('[true, [\"/physical_device:GPU:0\"]]')")
    return Driver(tmp_path / "dev", tmp_path / "bin")


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python processes that are ended with the test: `start("import time; time.sleep(60)", "more", …)`."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *words]
        begun = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        started.append(begun)
        assert begun.stdout
        begun.stdout.readline()  # it prints a line when it is ready
        return begun

    yield run
    for each in started:
        each.kill()
        each.wait()


HOLD = "import sys, time; held = open(sys.argv[1]); print('ready', flush=True); time.sleep(60)"


def named(checks: Iterator[Check] | tuple[Check, ...], name: str) -> list[Check]:
    return [check for check in checks if check.name == name]


def only(checks: Any, name: str) -> Check:
    (found,) = named(checks, name)
    assert found.state in STATES
    return found


class TestTheWhole:
    @pytest.mark.usefixtures("driver")
    def test_every_check_is_one_of_the_states_and_can_be_json(self, tmp_path: Path) -> None:
        found = doctor(Dataset(tmp_path / "dataset"))
        assert {check.state for check in found.checks} <= STATES.keys()
        assert json.loads(json.dumps(asdict(found)))["checks"][0]["name"] == "Python"
        assert {"Python", "libraries", "disk: dataset", "memory", "processors", "database", "weights", "GPU"} <= {
            check.name for check in found.checks
        }

    @pytest.mark.usefixtures("driver")
    def test_it_changes_nothing_and_makes_no_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path / "home"))
        before = sorted(tmp_path.rglob("*"))
        doctor(Dataset(tmp_path / "dataset"))
        assert sorted(tmp_path.rglob("*")) == before

    def test_whatever_has_a_problem_or_a_warning_says_what_to_do(self, tmp_path: Path, driver: Driver) -> None:
        driver.device()
        driver.script(f'echo "{FAILED}"; exit 9')
        for check in doctor(Dataset(tmp_path / "dataset")).checks:
            assert check.state == "ok" or check.todo, check

    def test_one_check_that_fails_costs_no_other(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> Iterator[Check]:
            raise ZeroDivisionError("a strange machine")

        monkeypatch.setattr(package, "memory", fail)
        found = doctor(Dataset(tmp_path / "dataset")).checks
        assert only(found, "memory").state == "warning"
        assert "a strange machine" in only(found, "memory").found
        assert only(found, "Python").state == "ok"

    def test_the_exit_code_tells_a_problem_from_a_warning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: Driver
    ) -> None:
        monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path / "home"))
        monkeypatch.delenv("SHROOMCURATE_DATABASE_URL", raising=False)
        monkeypatch.delenv("SHROOMCURATE_WEIGHTS", raising=False)
        asked = ["doctor", "--dataset", str(tmp_path / "dataset")]
        well = CliRunner().invoke(app, asked)
        assert well.exit_code == 0, well.output
        driver.device()
        driver.script(f'echo "{FAILED}"; exit 9')
        ill = CliRunner().invoke(app, [*asked, "--json"])
        assert ill.exit_code == UNFIT == 17
        assert json.loads(ill.stdout)["problems"] == 1

    def test_it_answers_soon_and_without_tensorflow(self, tmp_path: Path) -> None:
        code = (
            "import sys; from shroomcurate.cli import app\n"
            f"code = app(['doctor', '--dataset', {str(tmp_path)!r}], standalone_mode=False)\n"
            "assert not {'tensorflow', 'keras'} & sys.modules.keys(), 'TensorFlow is loaded'\n"
        )
        began = time.monotonic()
        environment = {**os.environ, "SHROOMCURATE_HOME": str(tmp_path / "home")}
        ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert time.monotonic() - began < 15  # three on a machine that has nothing else to do


class TestTheGpu:
    @pytest.mark.usefixtures("driver")
    def test_a_machine_without_one_is_well(self) -> None:
        check = only(gpu.gpus(), "GPU")
        assert check.state == "ok"
        assert "Everything runs without one" in check.means

    def test_a_free_card_is_named_with_its_memory_and_tensorflow_is_asked(self, driver: Driver) -> None:
        driver.device()
        driver.says(CARD.format(used=3))
        found = list(gpu.gpus())
        assert only(found, "GPU 0").found == "NVIDIA GeForce RTX 3060, 12.0 GiB free of 12.0 GiB, driver 550.54.15"
        assert only(found, "TensorFlow's GPU").state == "ok"
        assert not named(tuple(found), "GPU 0 memory")

    def test_a_program_that_holds_memory_is_named_with_what_ends_it(self, driver: Driver, start: Any) -> None:
        holder = start(HOLD, str(driver.device()))
        driver.says(CARD.format(used=11000), f"{holder.pid}, {UUID}, 10750, {sys.executable}")
        found = list(gpu.gpus())
        check = only(found, "GPU 0 memory")
        assert check.found.startswith(f"10.5 GiB held by process {holder.pid} of ")
        assert "time.sleep(60)" in check.found
        assert f"kill {holder.pid}" in check.todo[0]
        assert only(found, "GPU 0").state == "warning"  # little is left

    def test_a_dead_process_that_keeps_the_memory_is_a_problem_and_its_parent_is_to_be_ended(
        self, driver: Driver, start: Any
    ) -> None:
        leave = "import subprocess, time; dead = subprocess.Popen(['true']); time.sleep(0.5)\n"
        parent = start(leave + "print(dead.pid, flush=True); time.sleep(60)")
        (dead,) = process_children(parent.pid)
        driver.device()
        driver.says(CARD.format(used=9000), f"{dead}, {UUID}, 8800, [Not Found]")
        check = only(gpu.gpus(), "GPU 0 memory")
        assert check.state == "problem"
        assert "It is dead" in check.means
        assert check.todo == (f"kill {parent.pid}",)

    def test_a_number_that_is_no_process_here_is_a_problem_and_nothing_is_to_be_killed(self, driver: Driver) -> None:
        driver.device()
        gone = subprocess.Popen(["true"])
        gone.wait()
        driver.says(CARD.format(used=9000), f"{gone.pid}, {UUID}, 8800, [Not Found]")
        check = only(gpu.gpus(), "GPU 0 memory")
        assert check.state == "problem"
        assert not any(line.startswith("kill") for line in check.todo)

    def test_a_process_that_does_not_have_the_card_open_is_never_named_as_one_to_end(
        self, driver: Driver, start: Any
    ) -> None:
        """Inside a container the driver gives the host's numbers, and here another process may have that number."""
        innocent = start("import time; print('ready', flush=True); time.sleep(60)")
        driver.device()
        driver.says(CARD.format(used=9000), f"{innocent.pid}, {UUID}, 8800, python3")
        check = only(gpu.gpus(), "GPU 0 memory")
        assert "another container" in check.means
        assert not any(f"kill {innocent.pid}" in line for line in check.todo)

    def test_memory_that_the_driver_gives_nobody_for_is_looked_for_among_all_processes(
        self, driver: Driver, start: Any
    ) -> None:
        holder = start(HOLD, str(driver.device()))
        driver.says(CARD.format(used=9000))
        found = list(gpu.gpus())
        assert only(found, "GPU 0 memory").found == "8.8 GiB held by nobody"
        assert f"process {holder.pid} of" in only(found, "GPU memory").found

    def test_a_name_with_commas_and_an_amount_that_is_not_told_are_read(self, driver: Driver, start: Any) -> None:
        holder = start(HOLD, str(driver.device()))
        driver.says(CARD.format(used="[N/A]"), f"{holder.pid}, {UUID}, [N/A], python a, b, c.py")
        check = only(gpu.gpus(), "GPU 0 memory")
        assert check.facts["name"] == "python a, b, c.py"
        assert check.found.startswith("an unknown amount held by")

    def test_two_cards_keep_their_holders_apart(self, driver: Driver, start: Any) -> None:
        holder = start(HOLD, str(driver.device(1)))
        second = CARD.format(used=5000).replace("0, GPU", "1, GPU", 1).replace(UUID, OTHER)
        driver.says(f"{CARD.format(used=3)}\n{second}", f"{holder.pid}, {OTHER}, 4900, python")
        found = list(gpu.gpus())
        assert not named(tuple(found), "GPU 0 memory")
        assert only(found, "GPU 1 memory").facts["pid"] == holder.pid

    def test_a_slice_of_a_card_has_its_holder_named_too(self, driver: Driver, start: Any) -> None:
        holder = start(HOLD, str(driver.device()))
        driver.says(CARD.format(used=5000), f"{holder.pid}, MIG-0f8a3b, 4900, python")
        assert any(check.facts.get("pid") == holder.pid for check in gpu.gpus())

    def test_what_a_slice_holds_is_not_called_nobody_s_and_a_slice_is_not_reset(self, driver: Driver) -> None:
        driver.device()
        driver.says(CARD.format(used=5000), "4194303, MIG-0f8a3b, 4900, python")
        found = list(gpu.gpus())
        assert not named(tuple(found), "GPU 0 memory")
        assert not any("reset" in line for check in found for line in check.todo)

    def test_a_card_that_is_lost_is_a_problem(self, driver: Driver) -> None:
        driver.device()
        lost = "1, [GPU is lost], [GPU is lost], [GPU is lost], [GPU is lost], [GPU is lost]"
        driver.says(f"{CARD.format(used=3)}\n{lost}")
        found = tuple(gpu.gpus())
        assert only(found, "GPU 0").state == "ok"
        assert only(found, "GPU 1").state == "problem"
        assert not named(found, "GPU 1 memory")

    @pytest.mark.parametrize("code", [0, 15])
    @pytest.mark.parametrize("why", ["GPU is lost.  Reboot the system to recover this GPU", "Unknown Error"])
    @pytest.mark.parametrize("gpu_at", ["GPU 0000:0B:00.0", "GPU0000:0B:00.0"])
    def test_a_card_that_has_fallen_off_the_bus_does_not_hide_the_others(
        self, driver: Driver, code: int, why: str, gpu_at: str
    ) -> None:
        driver.device()
        driver.says(f"{CARD.format(used=3)}\nUnable to determine the device handle for {gpu_at}: {why}", code=code)
        found = tuple(gpu.gpus())
        assert only(found, "GPU 0").state == "ok"
        lost = only(found, "GPU 0000:0B:00.0")
        assert lost.state == "problem"
        assert "Restart the machine." in lost.todo

    def test_a_sliced_card_in_a_container_may_not_tell_its_memory_and_is_well(self, driver: Driver) -> None:
        """As nvidia-smi 535 writes it there: https://github.com/Stability-AI/StableSwarmUI/issues/388"""
        driver.device()
        refused = "[Insufficient Permissions]"
        driver.says(f"0, {UUID}, NVIDIA A100-SXM4-80GB, 535.161.08, {refused}, {refused}")
        found = tuple(gpu.gpus())
        assert only(found, "GPU 0").found == "NVIDIA A100-SXM4-80GB, driver 535.161.08"
        assert {check.state for check in found} == {"ok"}

    def test_where_the_driver_does_not_tell_who_holds_memory_the_cards_are_named_all_the_same(
        self, driver: Driver, start: Any
    ) -> None:
        holder = start(HOLD, str(driver.device()))
        (driver.programs / "cards").write_text(CARD.format(used=5000))
        refusal = 'echo "Insufficient Permissions"; exit 4'
        driver.script(f'case "$1" in --query-gpu*) cat "{driver.programs}/cards";; *) {refusal};; esac')
        found = tuple(gpu.gpus())
        assert only(found, "GPU 0").state == "ok"
        told, opened = named(found, "GPU memory")
        assert told.found == "who holds it is not told: Insufficient Permissions"
        assert f"process {holder.pid} of" in opened.found

    def test_a_shroomcurate_is_told_apart_from_other_programs(self, driver: Driver, start: Any) -> None:
        holder = start(f"import shroomcurate; {HOLD}", str(driver.device()))
        driver.says(CARD.format(used=5000), f"{holder.pid}, {UUID}, 4900, python")
        assert "It is a shroomcurate" in only(gpu.gpus(), "GPU 0 memory").means

    def test_a_program_that_hangs_is_given_up(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gpu, "SMI_SECONDS", 0.3)
        driver.device()
        driver.script("exec sleep 60")
        began = time.monotonic()
        check = only(gpu.gpus(), "GPU")
        assert time.monotonic() - began < 3
        assert (check.state, check.found) == ("problem", "nvidia-smi does not answer within 0.3 s")
        assert "restart the machine" in check.todo[-1]

    @pytest.mark.parametrize(
        ("says", "todo"),
        [
            (FAILED, "lsmod"),
            (MISMATCH, "restart the machine"),
            ("Unknown Error", "dmesg"),
            ("Failed to initialize NVML: Unknown Error", "In a container: restart it"),
        ],
    )
    def test_a_driver_that_fails_says_why_and_what_to_do(self, driver: Driver, says: str, todo: str) -> None:
        driver.device()
        driver.script(f"cat <<'END'\n{says}\nEND\nexit 9")
        check = only(gpu.gpus(), "GPU")
        assert check.state == "problem"
        assert says.splitlines()[0] in check.found
        assert todo in " ".join(check.todo)

    def test_the_program_without_a_card_is_no_problem(self, driver: Driver) -> None:
        driver.script("echo 'No devices were found'; exit 6")
        assert only(gpu.gpus(), "GPU").state == "warning"
        driver.script(f'echo "{FAILED}"; exit 9')
        assert only(gpu.gpus(), "GPU").state == "warning"

    def test_a_card_without_the_program_is_named_with_whoever_has_it_open(self, driver: Driver, start: Any) -> None:
        holder = start(HOLD, str(driver.device()))
        found = list(gpu.gpus())
        assert only(found, "GPU").state == "warning"
        assert f"process {holder.pid} of" in only(found, "GPU memory").found

    @pytest.mark.parametrize(
        ("answer", "hidden", "todo"),
        [
            ("print('[false, []]')", None, "tensorflow[and-cuda]"),
            ("print('[true, []]')", None, "tensorflow[and-cuda]"),
            ("print('[true, []]')", "-1", "unset CUDA_VISIBLE_DEVICES"),
            ("raise ImportError('libcuda is broken')", None, "tensorflow[and-cuda]"),
        ],
    )
    def test_tensorflow_that_does_not_see_the_card_is_named(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch, answer: str, hidden: str | None, todo: str
    ) -> None:
        monkeypatch.setattr(gpu, "_ASK_TENSORFLOW", answer)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if hidden is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        driver.device()
        driver.says(CARD.format(used=3))
        check = only(gpu.gpus(), "TensorFlow's GPU")
        assert check.state != "ok"
        assert todo in check.todo[0]


@pytest.mark.slow
def test_tensorflow_itself_answers_as_it_is_asked() -> None:
    ran = subprocess.run([sys.executable, "-c", gpu._ASK_TENSORFLOW], capture_output=True, text=True, check=True)
    with_cuda, seen = json.loads(ran.stdout.splitlines()[-1])
    assert isinstance(with_cuda, bool)
    assert isinstance(seen, list)


def process_children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class TestLimits:
    """Control groups made of files, as the kernel writes them."""

    def make(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            file = tmp_path / "groups" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")
        monkeypatch.setattr(limits, "OWN", tmp_path / "own")
        monkeypatch.setattr(limits, "GROUPS", tmp_path / "groups")

    def test_a_container_of_version_2_has_its_limits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        files = {
            "memory.max": "2147483648",
            "memory.current": "1073741824",
            "memory.stat": "anon 5\ninactive_file 536870912",
            "cpu.max": "150000 100000",
        }
        self.make(tmp_path, monkeypatch, "0::/\n", files)
        assert limits.memory_limit() == (2 << 30, 3 << 29)  # what it has read can be had back
        assert limits.cpu_limit() == 1.5

    def test_the_tightest_limit_on_the_way_up_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        files = {
            "a/memory.max": "1000000",
            "a/b/memory.max": "max",
            "a/cpu.max": "50000 100000",
            "a/b/cpu.max": "max 100000",
        }
        self.make(tmp_path, monkeypatch, "0::/a/b\n", files)
        assert limits.memory_limit() == (1_000_000, 1_000_000)
        assert limits.cpu_limit() == 0.5

    def test_version_1_is_read_and_its_largest_number_is_no_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = "4:memory:/docker/x\n1:cpu,cpuacct:/docker/x\n"
        files = {
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "memory/docker/x/memory.limit_in_bytes": "3000000",
            "memory/docker/x/memory.usage_in_bytes": "1000000",
            "cpu,cpuacct/docker/x/cpu.cfs_quota_us": "200000",
            "cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000",
        }
        self.make(tmp_path, monkeypatch, own, files)
        assert limits.memory_limit() == (3_000_000, 2_000_000)
        assert limits.cpu_limit() == 2.0

    def test_no_groups_are_no_limits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.make(tmp_path, monkeypatch, "0::/\n", {"memory.max": "max", "cpu.max": "max 100000"})
        assert (limits.memory_limit(), limits.cpu_limit()) == (None, None)
        monkeypatch.setattr(limits, "OWN", tmp_path / "nowhere")
        assert (limits.memory_limit(), limits.cpu_limit()) == (None, None)

    def test_a_container_with_too_little_memory_is_told_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for size, state in ((512 << 20, "problem"), (1500 << 20, "warning"), (3 << 30, "ok")):
            monkeypatch.setattr(machine, "memory_limit", lambda size=size: limits.MemoryLimit(size, size))
            check = only(machine.memory(), "memory")
            assert check.state == state
            assert "container" in check.found


class TestTheMachine:
    def test_a_full_disk_is_a_problem_and_a_small_one_a_warning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for free, state in ((10**8, "problem"), (3 * 10**9, "warning"), (10**12, "ok")):
            monkeypatch.setattr(
                machine.shutil, "disk_usage", lambda _, free=free: shutil._ntuple_diskusage(10**12, 0, free)
            )
            check = only(machine.disks(Dataset(tmp_path / "not" / "yet")), "disk: dataset")
            assert check.state == state, free
            assert str(tmp_path / "not" / "yet") in check.found

    def test_a_folder_that_may_not_be_written_to_is_a_problem(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(machine.os, "access", lambda *_: False)
        check = only(machine.disks(Dataset(tmp_path)), "disk: dataset")
        assert (check.state, check.facts["writable"]) == ("problem", False)

    def test_few_open_files_are_a_warning_with_what_to_type(self) -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        try:
            check = only(machine.descriptors(), "open files")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert check.state == "warning"
        assert check.todo[0].startswith("ulimit -n ")

    def test_a_missing_library_is_a_problem_and_its_install_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        there = machine._version
        monkeypatch.setattr(machine, "_version", lambda name: None if name == "tensorflow" else there(name))
        check = only(machine.python(), "libraries")
        assert check.state == "problem"
        assert check.todo[0].endswith("-m pip install tensorflow")

    @pytest.mark.parametrize("package", ["tensorflow-cpu", None])
    def test_a_library_counts_whatever_package_brings_it(
        self, package: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "tensorflow").mkdir()
        (tmp_path / "tensorflow" / "__init__.py").write_text("raise ImportError('nobody is to import it')")
        if package:
            facts = tmp_path / "tensorflow_cpu-2.19.1.dist-info"
            facts.mkdir()
            (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 2.19.1\n")
            (facts / "top_level.txt").write_text("tensorflow\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
        assert machine._version("tensorflow") == ("2.19.1" if package else "of unknown version")

    def test_a_folder_without_code_is_no_library(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "tensorflow").mkdir()
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
        assert machine._version("tensorflow") is None


class TestTheDatabase:
    def test_an_empty_machine_is_well_and_no_server_is_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path))
        found = list(database(None))
        assert only(found, "database").state == "ok"
        assert "load-csvs" in only(found, "catalogue").todo[0]
        assert list(tmp_path.iterdir()) == []

    def test_what_is_loaded_is_told(self, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path / "home"))
        assert only(database(database_url), "catalogue").found == "none yet"
        made = Dump()
        made.photographed(MUSCARIA, 6, first=1)
        folder = made.write(tmp_path / "dump", packed=False)
        assert CliRunner().invoke(app, ["load-csvs", str(folder), "--database-url", database_url]).exit_code == 0
        check = only(database(database_url), "catalogue")
        assert check.facts["photos"] == 6
        assert str(folder) in check.found
        assert "loaded on " in check.found

    def test_a_server_that_is_not_there_is_a_problem_and_no_password_is_shown(self) -> None:
        check = only(database("postgresql://someone:secret@127.0.0.1:1/nothing"), "database")
        assert check.state == "problem"
        assert "secret" not in json.dumps(asdict(check))

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://someone:not@secret@127.0.0.1:1/nothing",
            "postgresql://someone:not@so/secret@127.0.0.1:1/nothing",
            "postgresql://someone:not?secret@127.0.0.1:1/nothing",
            "postgresql://127.0.0.1:1/nothing?user=someone&password=secret",
            "host=127.0.0.1 port=1 user=someone password=secret",
            "host=127.0.0.1 password = 'my secret'",
            "someone:secret@127.0.0.1",
            "mysql://someone:secret@127.0.0.1/nothing",
        ],
    )
    def test_a_password_is_not_shown_wherever_it_stands(self, url: str) -> None:
        check = only(database(url), "database")
        assert check.state == "problem"
        assert "secret" not in json.dumps(asdict(check))

    def test_an_empty_url_names_the_embedded_server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SHROOMCURATE_HOME", str(tmp_path))
        assert "embedded" in only(database(""), "database").found
        assert not any(tmp_path.iterdir())


class TestWeights:
    def test_none_are_no_problem_and_nothing_is_fetched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.delenv("SHROOMCURATE_WEIGHTS", raising=False)
        check = only(weights(), "weights")
        assert (check.state, check.found) == ("ok", "not here yet")
        assert "--embedder classic" in " ".join(check.todo)
        assert list(tmp_path.iterdir()) == []

    def test_a_broken_file_that_is_named_is_a_problem(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "broken.h5").write_bytes(b"\x89HDF no more")
        monkeypatch.setenv("SHROOMCURATE_WEIGHTS", str(tmp_path / "broken.h5"))
        check = only(weights(), "weights")
        assert check.state == "problem"
        assert "broken.h5" in check.found

    @pytest.mark.shared
    def test_a_file_that_is_not_keras_own_is_called_so_and_a_missing_head_is_a_warning(
        self, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHROOMCURATE_WEIGHTS", str(shared / "weights"))
        found = list(weights())
        assert "not a file of Keras' own" in only(found, "weights").found
        assert only(found, "ImageNet's head").state == "ok"
        alone = BACKBONES["mobilenet_v3_small"].known_files[0]
        shutil.copy(shared / "weights" / alone, tmp_path / alone)
        monkeypatch.setenv("SHROOMCURATE_WEIGHTS", str(tmp_path))
        assert only(weights(), "ImageNet's head").state == "warning"


class TestLeftovers:
    def test_one_that_lost_its_terminal_is_called_left_behind(self, tmp_path: Path) -> None:
        leave = (
            "import subprocess, sys\n"
            "left = subprocess.Popen([sys.executable, '-c', 'import shroomcurate, time; time.sleep(60)'], "
            "start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
            "print(left.pid, flush=True)"
        )
        ended = subprocess.run([sys.executable, "-c", leave], capture_output=True, text=True, check=True)
        left = int(ended.stdout)
        try:
            (check,) = [each for each in leftovers(Dataset(tmp_path)) if each.facts.get("pid") == left]
        finally:
            os.kill(left, 9)
        assert (check.state, check.means) == ("warning", "Its terminal is gone.")

    def test_another_command_that_runs_is_named_with_what_ends_it(self, tmp_path: Path, start: Any) -> None:
        running = start("import shroomcurate, time; print('ready', flush=True); time.sleep(60)")
        found = [check for check in leftovers(Dataset(tmp_path)) if check.facts.get("pid") == running.pid]
        assert len(found) == 1
        assert f"kill {running.pid}" in found[0].todo[0]

    def test_a_dataset_in_use_is_told_and_the_lock_of_a_dead_one_is_not(self, tmp_path: Path, start: Any) -> None:
        dataset = Dataset(tmp_path / "dataset")
        code = (
            "import sys, time; from shroomcurate.dataset import Dataset\n"
            "with Dataset(sys.argv[1]).lock('clean'): print('ready', flush=True); time.sleep(60)"
        )
        holder = start(code, str(dataset.root))
        (check,) = named(tuple(leftovers(dataset)), "dataset")
        assert f"'shroomcurate clean' (process {holder.pid})" in check.found
        holder.kill()
        holder.wait()
        assert named(tuple(leftovers(dataset)), "dataset") == []

    def test_what_a_killed_command_left_half_written_is_counted(self, tmp_path: Path) -> None:
        (tmp_path / "runs" / "probe-1.partial").mkdir(parents=True)
        (tmp_path / "clean.parquet.partial").touch()
        assert only(leftovers(Dataset(tmp_path)), "leftovers").found.startswith("2 half written")

    def test_a_password_in_a_command_line_is_not_shown(self, start: Any) -> None:
        url = "postgresql://someone:secret@host/database"
        running = start("print('begun', flush=True); import time; time.sleep(60)", f"--database-url={url}", url)
        found = process(running.pid)
        assert found
        assert "secret" not in found.command
        assert found.command.count("someone:***@host") == 2

    def test_a_command_line_is_known_as_ours_by_its_program_only(self) -> None:
        assert is_ours(["/venv/bin/python", "/venv/bin/shroomcurate", "clean"])
        assert is_ours(["python", "-m", "shroomcurate", "clean"])
        assert not is_ours(["vim", "/home/ann/shroomcurate/notes.txt"])
        assert not is_ours([])

    def test_a_process_that_is_gone_is_none(self) -> None:
        ended = subprocess.Popen(["true"])
        ended.wait()
        assert process(ended.pid) is None
        own = process(os.getpid())
        assert own is not None
        assert own.parent == os.getppid()

"""GPUs: seen or not, by the driver and by TensorFlow, and which processes hold their memory.

``nvidia-smi`` and its fields: https://docs.nvidia.com/deploy/nvidia-smi/ and ``nvidia-smi --help-query-compute-apps``.
The driver knows nothing of containers: inside of one its process numbers are those of the host
(https://github.com/NVIDIA/nvidia-docker/issues/1483), so that a number may be that of quite another process here. None
is named as one to end before it was seen to have the GPU open.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from shroomcurate.doctor.answer import Check
from shroomcurate.doctor.processes import Process, all_processes, holds_open, process

#: Where the driver's device files are.
DEVICES = Path("/dev")
_MIB = 1 << 20

#: A driver that has gone to sleep takes some seconds to wake; one that takes longer hangs.
SMI_SECONDS = 10.0
#: Importing TensorFlow and asking the driver takes 5 to 20 seconds.
TENSORFLOW_SECONDS = 60.0

#: With the number of a GPU; only when nothing uses it.
_RESET = "sudo nvidia-smi --gpu-reset -i"

#: The driver itself holds some hundred MiB; more than this that nobody accounts for is somebody's.
_UNACCOUNTED = 600 * _MIB
#: What fine-tuning needs at its default batch size, roughly.
_NEEDED = 3 << 30


class Gpu(NamedTuple):
    """A GPU as the driver describes it; bytes are None where it does not say."""

    number: str
    uuid: str
    name: str
    driver: str
    total: int | None
    used: int | None


class Holder(NamedTuple):
    """A process that the driver names as a holder of a GPU's memory."""

    pid: int
    uuid: str
    used: int | None
    name: str


class _Failed(Exception):
    """``nvidia-smi`` says why it cannot answer."""


def gpus() -> Iterator[Check]:
    """Say which GPUs there are, and who holds their memory."""
    devices = _devices()
    program = shutil.which("nvidia-smi")
    if program is None and not devices:
        yield Check("GPU", "ok", "none", "Everything runs without one; train-baseline --mode finetune is slow then.")
        return
    if program is None:
        means = "The driver is there, but not its nvidia-smi, so nobody says who holds its memory."
        todo = ("apt install nvidia-utils-…, of the driver's version: cat /proc/driver/nvidia/version",)
        yield Check("GPU", "warning", ", ".join(map(str, devices)), means, todo)
        yield from _unnamed_holders(devices, [])
        return
    try:
        found = _gpus(program)
    except _Failed as failure:
        yield _driver_trouble(str(failure), devices)
        return
    if not found:
        yield Check("GPU", "warning", "nvidia-smi is here and sees no GPU", todo=_NO_DEVICE)
        return
    try:
        holders = _holders(program)
    except _Failed as failure:
        yield from map(_gpu, found)
        yield Check("GPU memory", "warning", f"who holds it is not told: {failure}", todo=_ASK_THE_SYSTEM)
        yield from _unnamed_holders(devices, [])
        yield _tensorflow()
        return
    # A slice of a GPU has an identity of its own, and nobody says of which GPU it is one.
    of_slices = [holder for holder in holders if holder.uuid not in {gpu.uuid for gpu in found}]
    for gpu in found:
        held = [holder for holder in holders if holder.uuid == gpu.uuid]
        yield _gpu(gpu)
        yield from (_holder(gpu, holder) for holder in held)
        yield from _unaccounted(gpu, [*held, *of_slices], devices)
    yield from (_holder(Gpu(holder.uuid[:8], holder.uuid, "", "", None, None), holder) for holder in of_slices)
    yield _tensorflow()


_NO_DEVICE = (
    "In a container: docker run --gpus all …",
    "Else look whether the card is there: lspci | grep -i nvidia",
)


_ASK_THE_SYSTEM = ("Another user's, or another container's: sudo fuser -v /dev/nvidia*",)


def _devices() -> list[Path]:
    return sorted(device for device in DEVICES.glob("nvidia[0-9]*") if device.name[len("nvidia") :].isdecimal())


# -- nvidia-smi ------------------------------------------------------------------------------------------------


def _gpus(program: str) -> list[Gpu]:
    fields = "index,uuid,name,driver_version,memory.total,memory.used"
    found = []
    for row in _ask(program, f"--query-gpu={fields}", 6):
        if len(row) == 6:
            index, uuid, name, driver, total, used = row
            found.append(Gpu(index, uuid, name, driver, _mib(total), _mib(used)))
        elif gone := _NO_HANDLE.match(row[0]):
            found.append(Gpu(gone[1], _LOST, "", "", None, None))
    return found


def _holders(program: str) -> list[Holder]:
    # The name comes last, for it may hold commas.
    asked = _ask(program, "--query-compute-apps=pid,gpu_uuid,used_gpu_memory,process_name", 4)
    rows = [row for row in asked if len(row) == 4]
    return [Holder(int(pid), uuid, _mib(used), name) for pid, uuid, used, name in rows if pid.isdecimal()]


def _ask(program: str, query: str, fields: int) -> list[list[str]]:
    """Return the rows that nvidia-smi answers with; one of another length holds its words, cut at commas.

    Raises
    ------
    _Failed
        It says why not, or nothing in time.
    """
    command = [program, query, "--format=csv,noheader,nounits"]
    asked = subprocess.Popen(  # noqa: S603 - the driver's own program, fixed words
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    try:
        said, _ = asked.communicate(timeout=SMI_SECONDS)
    except subprocess.TimeoutExpired:
        asked.kill()
        with suppress(subprocess.TimeoutExpired):  # one that hangs in the driver does not even die
            asked.communicate(timeout=0.5)
        raise _Failed(f"nvidia-smi does not answer within {SMI_SECONDS:g} s") from None
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # One GPU that has fallen off the bus makes it fail, though it answers about the others.
    if asked.returncode and not any(_NO_HANDLE.match(line) for line in lines):
        if any("No devices were found" in line for line in lines):
            return []
        raise _Failed(" ".join(lines[:3]) or f"nvidia-smi ends with code {asked.returncode}")
    return [[value.strip() for value in line.split(",", fields - 1)] for line in lines]


def _mib(text: str) -> int | None:
    """Return bytes of a number of MiB; None for what the driver writes where it does not know, such as ``[N/A]``."""
    return int(text) * _MIB if text.isdecimal() else None


def _driver_trouble(said: str, devices: Sequence[Path]) -> Check:
    means = "TensorFlow will work on the processor instead."
    if "does not answer" in said:
        todo: tuple[str, ...] = (
            "Look for processes that hang in the driver (state D): ps -eo pid,stat,user,etime,args | grep ' D'",
            "They cannot be killed: save your work and restart the machine.",
        )
    elif "Driver/library version mismatch" in said:
        todo = ("The driver was updated while it was in use: restart the machine.",)
    elif "couldn't communicate" in said:
        todo = (
            "Look whether the driver is loaded: lsmod | grep nvidia",
            "If not: sudo modprobe nvidia; after an update of the kernel, install the driver again and restart.",
            *_NO_DEVICE[:1],
        )
    elif "Failed to initialize NVML: Unknown Error" in said:
        # https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html
        todo = (
            "In a container: restart it. The host's systemd has taken the GPU away from it.",
            "Else: sudo dmesg | grep -i -E 'nvrm|xid' | tail",
        )
    else:
        todo = ("What the driver says: sudo dmesg | grep -i -E 'nvrm|xid' | tail",)
    return Check("GPU", "problem" if devices else "warning", said, means, todo)


#: What nvidia-smi writes into a field of a GPU that does not answer any more.
_LOST = "[GPU is lost]"
#: What it writes instead of its row, with the bus id.
_NO_HANDLE = re.compile(r"Unable to determine the device handle for (?:[Gg]pu )?(?:GPU ?)?([0-9A-Fa-f:.]+[0-9A-Fa-f])")


def _gpu(gpu: Gpu) -> Check:
    facts = {"index": gpu.number, "name": gpu.name, "driver": gpu.driver, "bytes": gpu.total, "used_bytes": gpu.used}
    free = gpu.total - gpu.used if gpu.total is not None and gpu.used is not None else None
    if _LOST in (gpu.uuid, gpu.name, gpu.driver):
        means = "The driver has lost it: it has fallen off the bus, or it has broken down."
        todo = ("What the driver says: sudo dmesg | grep -i -E 'nvrm|xid' | tail", "Restart the machine.")
        return Check(f"GPU {gpu.number}", "problem", "lost", means, todo, facts)
    room = f", {_gib(free)} free of {_gib(gpu.total)}" if free is not None else ""
    found = f"{gpu.name}{room}, driver {gpu.driver}"
    if free is not None and free < _NEEDED:
        means = "Training a network may not fit beside what is there."
        return Check(
            f"GPU {gpu.number}", "warning", found, means, ("shroomcurate train-baseline --batch-size 8",), facts
        )
    return Check(f"GPU {gpu.number}", "ok", found, facts=facts)


def _gib(size: int | None) -> str:
    return "an unknown amount" if size is None else f"{size / (1 << 30):.1f} GiB"


# -- who holds the memory ----------------------------------------------------------------------------------------


def _holder(gpu: Gpu, holder: Holder) -> Check:
    found = process(holder.pid)
    name = f"GPU {gpu.number} memory"
    facts: dict[str, object] = {"pid": holder.pid, "used_bytes": holder.used, "name": holder.name}
    # A zombie has nothing open any more, yet its threads may live on in the driver.
    dead = found is not None and found.state == "zombie"
    if found is None or (not dead and holds_open(holder.pid, str(DEVICES / "nvidia")) is False):
        return _not_here(gpu, holder, facts)
    facts |= {"owner": found.owner, "seconds": round(found.seconds), "state": found.state, "command": found.command}
    what = f"{_gib(holder.used)} held by process {found.pid} of {found.owner}, since {found.age}: {found.command}"
    if dead:
        means = f"It is dead, but process {found.parent}, which has started it, has not taken note of that."
        end = "Restart this container, or the machine." if found.parent == 1 else f"kill {found.parent}"
        return Check(name, "problem", what, means, (end,), facts)
    if found.state == "disk-sleep":
        means = "It waits in the kernel, for a disk or the driver, and cannot be ended before that answers."
        return Check(name, "warning", what, means, ("If it stays so: restart the machine.",), facts)
    end = _how_to_end(found)
    if found.ours:
        means = "It is a shroomcurate." + (
            " Its terminal is gone: it was probably left behind." if found.orphan else ""
        )
        return Check(name, "warning" if found.orphan else "ok", what, means, (f"To end it: {end}",), facts)
    if found.orphan:
        means = "What had started it is gone, and its terminal too: a service, or one that was left behind."
        return Check(name, "warning", what, means, (f"If it was left behind: {end}",), facts)
    return Check(name, "ok", what, todo=(f"If it is not needed: {end}",), facts=facts)


def _how_to_end(found: Process) -> str:
    import getpass

    own = found.owner == getpass.getuser() or os.geteuid() == 0
    return f"kill {found.pid}" + ("" if own else f", as {found.owner} or with sudo")


def _not_here(gpu: Gpu, holder: Holder, facts: dict[str, object]) -> Check:
    """Return the word on a holder that is no process here: of another container, or of one that has died."""
    means = "No process here with this number has the GPU open: it belongs to another container, or it is dead."
    todo = (
        f"On the host itself, not in a container: ps -fp {holder.pid}; sudo fuser -v /dev/nvidia*",
        # A slice cannot be reset alone, and others may be at work beside it.
        *([f"If nothing is left there and the memory stays: {_RESET} {gpu.number}"] if gpu.name else []),
    )
    what = f"{_gib(holder.used)} held by process {holder.pid} ({holder.name})"
    return Check(f"GPU {gpu.number} memory", "problem", what, means, todo, facts)


def _unaccounted(gpu: Gpu, held: Sequence[Holder], devices: Sequence[Path]) -> Iterator[Check]:
    """Say who may hold memory that the driver gives no process for."""
    known = sum(holder.used or 0 for holder in held)
    if gpu.used is None or any(holder.used is None for holder in held) or gpu.used - known < _UNACCOUNTED:
        return
    lost = gpu.used - known
    means = f"The driver names no process for {_gib(lost)} of GPU {gpu.number}."
    todo = (
        *_ASK_THE_SYSTEM,
        f"If nobody is left: {_RESET} {gpu.number}",
    )
    yield Check(f"GPU {gpu.number} memory", "problem", f"{_gib(lost)} held by nobody", means, todo, {"bytes": lost})
    yield from _unnamed_holders(devices, [holder.pid for holder in held])


def _unnamed_holders(devices: Sequence[Path], named: Sequence[int]) -> Iterator[Check]:
    """Name the processes that have a GPU open, by the books of the system."""
    for found in all_processes():
        which = [device.name for device in devices if holds_open(found.pid, str(device))]
        if which and found.pid not in named:
            what = (
                f"{', '.join(which)} open in process {found.pid} of {found.owner}, since {found.age}: {found.command}"
            )
            facts = {"pid": found.pid, "owner": found.owner, "command": found.command}
            yield Check(
                "GPU memory", "warning", what, todo=(f"If it is not needed: {_how_to_end(found)}",), facts=facts
            )


# -- TensorFlow --------------------------------------------------------------------------------------------------

_ASK_TENSORFLOW = (
    "import json, tensorflow as tf; "
    "print(json.dumps([tf.test.is_built_with_cuda(), [each.name for each in tf.config.list_physical_devices('GPU')]]))"
)


def _tensorflow() -> Check:
    """Ask TensorFlow, in a process of its own: a driver that hangs must not hang this one."""
    name, cannot = "TensorFlow's GPU", "train-baseline --mode finetune will work on the processor."
    install = f"{sys.executable} -m pip install 'tensorflow[and-cuda]'"
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", _ASK_TENSORFLOW]
    try:
        asked = subprocess.run(  # noqa: S603 - this Python, fixed words
            command, capture_output=True, text=True, timeout=TENSORFLOW_SECONDS, check=False, env=quiet
        )
        with_cuda, seen = json.loads(asked.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Check(name, "problem", f"no answer within {TENSORFLOW_SECONDS:g} s", cannot, ("nvidia-smi",))
    except (IndexError, ValueError):
        said = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Check(name, "problem", f"TensorFlow cannot be imported: {said}", cannot, (install,))
    facts = {"built_with_cuda": with_cuda, "seen": seen}
    if seen:
        return Check(name, "ok", f"{len(seen)} seen", facts=facts)
    why = "TensorFlow sees none" if with_cuda else "this TensorFlow is made without CUDA"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if with_cuda and hidden is not None and hidden.strip() in {"", "-1"}:
        return Check(
            name, "warning", f"CUDA_VISIBLE_DEVICES is {hidden!r}", cannot, ("unset CUDA_VISIBLE_DEVICES",), facts
        )
    return Check(name, "warning", why, cannot, (install,), facts)

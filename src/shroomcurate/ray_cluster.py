"""A Ray cluster as an engine: functions of ours run on its nodes, and what they return comes back here.

Only this machine reads and writes the dataset, so the nodes need no file system in common. What a node that dies had at
hand is done by another one: Ray sees to that.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from shroomcurate.errors import BadOption, NetworkDown, Refused

#: A cluster of this machine alone, started and ended with the run.
LOCAL = "local"

#: What a node must have in the same version, or it may see another photo, or another vector in it, than this machine.
SAME = ("shroomcurate", "ray", "ai-edge-litert", "cykooz-resizer", "numpy", "pillow", "pycurl")

_CONNECT = 10.0  # seconds until the head answers
_START = 120.0  # seconds until a node has started a process of ours: a busy one takes long to import
_RETRIES = 3  # other nodes that a task is given to when one dies
_STORE = 500_000_000  # bytes of shared memory of a local cluster, at most; a block of photos is a few million
_AGAIN = "Type the same command again: what is finished is kept."


class Lost(Exception):
    """The cluster could not do a piece of work: it ended one process after the other, or took too long."""


class Started(NamedTuple):
    """A task under way."""

    ref: Any
    at: float


class Cluster:
    """A cluster that this process is connected to; from :func:`open_cluster`.

    Attributes
    ----------
    nodes
        Ray's ids of the nodes that are alive.
    cores
        Processor cores of all of them, as far as Ray may use them.
    fewest_cores
        Of the smallest node that has any.
    """

    def __init__(self) -> None:
        import ray

        alive = [node for node in ray.nodes() if node["Alive"]]
        numbers = [int(node["Resources"].get("CPU", 0)) for node in alive]
        self.nodes: list[str] = [node["NodeID"] for node in alive]
        self.places = [f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})" for node in alive]
        self.cores = sum(numbers)
        self.fewest_cores = min(filter(None, numbers), default=0)

    def share(self, value: object) -> Any:
        """Put something into the cluster's memory, once for all tasks that are given it."""
        import ray

        return ray.put(value)

    def start(self, function: Callable[..., Any], *arguments: object, cores: int = 1) -> Started:
        """Start a task on any node that has so many cores to spare."""
        import ray

        task = ray.remote(function).options(num_cpus=cores, max_retries=_RETRIES, scheduling_strategy="SPREAD")
        return Started(task.remote(*arguments), time.monotonic())

    def result(self, started: Started, patience: float) -> Any:
        """Wait for a task's result, until so many seconds after its start.

        Raises
        ------
        Lost
            It has none.
        NetworkDown
            The cluster has no processor left.
        Exception
            What the function raised.
        """
        import ray

        try:
            return ray.get(started.ref, timeout=max(1.0, started.at + patience - time.monotonic()))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            with suppress(ray.exceptions.RayError):
                ray.cancel(started.ref, force=True)
            if not ray.cluster_resources().get("CPU"):
                raise NetworkDown("The Ray cluster has no node left that computes.", _AGAIN) from error
            raise Lost(str(error)) from error

    def settle(self, kind: type, *arguments: object) -> list[Any]:
        """Return an object of a class on each node, whose asynchronous methods :func:`asked` calls.

        One whose node dies goes on, new, on another.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = ray.remote(num_cpus=0, max_concurrency=1000, max_restarts=-1, max_task_retries=-1)(kind)
        return [
            there.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True)).remote(*arguments)
            for node in self.nodes
        ]

    def dismiss(self, there: Any) -> None:
        """End such an object, whatever it is at."""
        import ray

        ray.kill(there)

    def refuse_others(self) -> None:
        """Raise Refused where a node has other versions than this machine."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        def versions(names: tuple[str, ...]) -> dict[str, str | None]:  # inside, so that a node without us can run it
            import importlib.metadata
            import sys

            found: dict[str, str | None] = {}
            for name in names:
                try:
                    found[name] = importlib.metadata.version(name)
                except importlib.metadata.PackageNotFoundError:
                    found[name] = None
            with suppress(ImportError):
                import shroomcurate

                found["shroomcurate"] = shroomcurate.__version__
            return found | {"Python": sys.version.split()[0]}

        task = ray.remote(num_cpus=0, max_retries=1)(versions)
        here = versions(SAME)
        refs = [
            task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(SAME)
            for node in self.nodes
        ]
        for place, ref in zip(self.places, refs, strict=True):
            try:
                there = ray.get(ref, timeout=_START)
            except ray.exceptions.RayError as error:
                raise Refused(
                    f"The node {place} does not start a process: {_first_line(error)}",
                    "Take it out of the cluster (on it: ray stop), then type the same command again.",
                ) from error
            for name, version in here.items():
                if there[name] != version:
                    raise Refused(
                        f"The node {place} has {name} {there[name] or 'not installed'}, this machine {version}.",
                        f"Install the same there: pip install {name}=={version}; then start Ray on it again."
                        if name != "Python"
                        else "Use the same Python on all nodes.",
                    )


async def asked(call: Any, patience: float) -> Any:
    """Wait for what a method of an object on a node answers.

    Raises
    ------
    Lost
        There is no answer, or none in so many seconds.
    Exception
        What the method raised.
    """
    import asyncio

    import ray

    try:
        async with asyncio.timeout(patience):
            return await call
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except (ray.exceptions.RayError, TimeoutError) as error:
        raise Lost(_first_line(error)) from error


def address_of(engine: str, ray_address: str | None) -> str | None:
    """Return which cluster ``--engine`` and ``--ray-address`` mean; None when it is this machine without Ray.

    Raises
    ------
    BadOption
        No such engine, or an address without the engine that it is for.
    """
    if engine not in {"local", "ray"}:
        raise BadOption(f"--engine {engine!r} is not known.", "Choose local or ray.")
    if engine == "local":
        if ray_address is not None:
            raise BadOption("--ray-address counts with --engine ray only.", "Add: --engine ray")
        return None
    return ray_address or os.environ.get("RAY_ADDRESS") or LOCAL


@contextmanager
def open_cluster(address: str) -> Iterator[Cluster]:
    """Connect to a cluster, or start one on this machine that ends with the block.

    A process that is connected already stays so.

    Parameters
    ----------
    address
        The head's ``HOST:PORT`` (this machine must be a node of that cluster), ``auto`` for the cluster that this
        machine is in, or :data:`LOCAL`.

    Raises
    ------
    BadOption
        Ray is not installed.
    NetworkDown
        No cluster answers there.
    Refused
        A node has other versions than this machine.
    """
    ray = _load_ray(address)
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    try:
        cluster = Cluster()
        if address != LOCAL:
            cluster.refuse_others()
        yield cluster
    finally:
        if ours:
            ray.shutdown()


def _load_ray(address: str) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would tell its makers about each cluster
    if address == LOCAL and "ray" not in sys.modules:
        # Despite its name it counts on Linux, too: what is for this machine alone listens on loopback only.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise BadOption(
            f"--engine ray needs the package ray, which is not installed ({error}).",
            "Type: pip install 'shroomcurate[ray]'",
        ) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    _refuse_silent(address)
    _silence()
    # An older Python and other systems than Linux do not tell which are ours.
    mine = getattr(os, "sched_getaffinity", None)
    cores = len(mine(0)) if mine else os.cpu_count() or 1
    local = {"num_cpus": cores, "object_store_memory": _STORE, "include_dashboard": False}
    hint = "Look with ray status, on this machine, which must be a node of that cluster; docs/cluster.md says how."
    try:
        ray.init(address=address, log_to_driver=False, logging_level="critical", **(local if address == LOCAL else {}))
    except (ConnectionError, TimeoutError) as error:
        raise NetworkDown(f"No Ray cluster at {address}: {_first_line(error)}", hint) from error
    except RuntimeError as error:
        if "mismatch" in str(error).lower():
            raise Refused(
                f"The Ray cluster at {address} is of another kind: {' '.join(str(error).split())}",
                f"Use Ray {ray.__version__} and Python {sys.version.split()[0]} on all nodes.",
            ) from error
        raise NetworkDown(f"No Ray cluster at {address}: {_first_line(error)}", hint) from error
    except ValueError as error:
        raise BadOption(
            f"--ray-address {address!r} is no address: {_first_line(error)}", "It looks like 10.0.0.1:6379."
        ) from error


def _silence() -> None:
    """Keep off standard output, where results go, what Ray prints there about a node that dies: no option does."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


def _refuse_silent(address: str) -> None:
    """Raise NetworkDown where nobody listens; Ray itself would try for a minute."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT).close()
    except (OSError, OverflowError) as error:
        raise NetworkDown(
            f"No Ray cluster at {address}: {getattr(error, 'strerror', None) or error}.",
            f"Start its head there (ray start --head --port {port}), or leave --ray-address away.",
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

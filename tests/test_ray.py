"""``--engine ray`` on a cluster of two nodes: the same tables as without it, also when a node dies in mid-run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import shroomcurate
from shroomcurate.cli import app
from shroomcurate.dataset import Dataset
from shroomcurate.download import DownloadOptions, download
from shroomcurate.download.far import Nodes
from shroomcurate.download.server import Server
from shroomcurate.embed import EmbedOptions, embed
from shroomcurate.embed import far as far_module
from shroomcurate.errors import BadOption, NetworkDown, Refused
from shroomcurate.ray_cluster import Cluster, address_of, open_cluster
from shroomcurate.transport import Answer, run_to_end
from tests.conftest import jpeg
from tests.fault_server import THEN_OK, FaultServer, running
from tests.test_download_kills import CLASSES, copy_of, images, lasting

Selected = Callable[..., Dataset]
NOBODY = "127.0.0.1:9"  # no cluster

# Before Ray is loaded: it listens on loopback only, tells nobody, and leaves no token in anybody's home.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head with one processor; this process is connected to it while the tests of this file last."""
    ray = pytest.importorskip("ray")
    from ray import cluster_utils

    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 2}
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
    nodes = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes.add_node(num_cpus=1)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture
def mortal(cluster: Any) -> Callable[[], None]:
    """What kills the second node; the next test finds another one."""
    if not cluster.worker_nodes:
        cluster.add_node(num_cpus=1)
    [second] = cluster.worker_nodes

    def kill() -> None:
        if second in cluster.worker_nodes:
            cluster.remove_node(second, allow_graceful=False)

    return kill


# -- embeddings ----------------------------------------------------------------------------------------------------


def tree(root: Path, count: int) -> Dataset:
    """Class folders with so many photos, some of them the same, and two that are none."""
    contents = [jpeg(number, hue=number * 7, size=(400, 300)) for number in range(20)]
    for number in range(count):
        file = root / "pictures" / f"Class_{number % 2}" / f"p{number:03}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents[number % 20])
    (root / "pictures" / "Class_0" / "p050.jpg").write_bytes(b"<html>")
    (root / "pictures" / "Class_1" / "p051.jpg").unlink()
    (root / "pictures" / "Class_1" / "p051.jpg").mkdir()
    (root / "pictures" / "Class_1" / "p053.jpg").write_bytes(contents[0][:900])
    return Dataset(images=root / "pictures")


def test_embeddings_are_the_same_bytes_though_a_node_dies(
    cluster: Any, mortal: Callable[[], None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset = tree(tmp_path, 420)
    here = embed(dataset, EmbedOptions("classic"))
    table = dataset.path("embeddings.parquet")
    expected = table.read_bytes()
    table.unlink()
    seen: list[int] = []

    def progress(done: int, _total: int, _label: str) -> None:
        seen.append(done)
        if done > 60:
            mortal()

    there = embed(dataset, EmbedOptions("classic", ray=cluster.address), progress)
    assert not cluster.worker_nodes, "the node did not die"
    assert seen[0] < 300, "it died too late to show anything"
    assert table.read_bytes() == expected
    assert there == here
    assert not capfd.readouterr().out, "Ray speaks where results are printed"


def test_a_block_that_the_cluster_cannot_do_is_done_here_and_a_photo_costs_itself_only(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tree(tmp_path, 60)
    here = embed(dataset, EmbedOptions("classic"))
    expected = dataset.path("embeddings.parquet").read_bytes()
    dataset.path("embeddings.parquet").unlink()

    def ends(*_: object) -> None:
        os._exit(7)

    monkeypatch.setattr(far_module, "_look", ends)
    monkeypatch.setattr("shroomcurate.ray_cluster._RETRIES", 0)
    assert embed(dataset, EmbedOptions("classic", ray=cluster.address)) == here
    assert dataset.path("embeddings.parquet").read_bytes() == expected


def test_clean_prints_one_json_document_the_same_as_without_a_cluster(cluster: Any, tmp_path: Path) -> None:
    said = []
    for name, words in (("here", []), ("there", ["--engine", "ray", "--ray-address", cluster.address])):
        images = tree(tmp_path / name, 60).images
        options = ["--images", str(images), "--embedder", "classic", "--json"]
        call = [sys.executable, "-m", "shroomcurate", "clean", *options, *words]
        said.append(subprocess.run(call, capture_output=True, text=True, check=True, timeout=120).stdout)
    here, there = (json.loads(each) for each in said)  # anything beside the document is an error
    assert here == there
    assert here["kept"]


# -- downloads -----------------------------------------------------------------------------------------------------

FAULTS = {
    1002: "404", 1005: "html", 1007: "500" + THEN_OK, 1011: "truncated" + THEN_OK, 1013: "truncated", 2002: "png",
    2004: "503" + THEN_OK, 2009: "reset" + THEN_OK, 2012: "418", 2020: "on-host", 2021: "410", 3003: "empty",
}  # fmt: skip


def test_downloads_are_the_same_though_a_node_dies(
    cluster: Any, mortal: Callable[[], None], selected: Selected
) -> None:
    dataset = selected(CLASSES, wanted=60, reserve=10)
    with running(FaultServer(FAULTS, delay=0.02)) as server:
        smooth = copy_of(dataset, "smooth")
        here = download(smooth, DownloadOptions(server.url, backoff=0.01))
        server.seen.clear()

        def progress(done: int, _total: int, _label: str) -> None:
            if done > 50:
                mortal()

        options = DownloadOptions(server.url, backoff=0.01, ray=cluster.address, concurrency=8)
        there = download(dataset, options, progress)
        assert not cluster.worker_nodes, "the node did not die"
        assert there.statuses == here.statuses
        assert images(dataset) == images(smooth)
        assert lasting(dataset) == lasting(smooth)
        assert {file.name for file in dataset.root.iterdir()} == {file.name for file in smooth.root.iterdir()}


class Lineless:
    """A node from which no connection stands."""

    class ask:  # noqa: N801  # called as Ray's are: there.ask.remote(…)
        @staticmethod
        async def remote(_url: str, _method: str) -> Answer:
            return Answer("unreachable", error="no connection")


@pytest.fixture
def two_nodes(cluster: Any) -> Iterator[Cluster]:
    if not cluster.worker_nodes:
        cluster.add_node(num_cpus=1)
    with open_cluster(cluster.address) as known:
        yield known


def test_a_rate_holds_for_all_nodes_together_each_asks_and_one_without_a_line_costs_nothing(two_nodes: Cluster) -> None:
    came: list[float] = []
    answers: dict[str, list[Answer]] = {}
    counts: list[list[int]] = []

    def content(photo_id: int, _: str) -> bytes:
        came.append(time.monotonic())
        return jpeg(photo_id)

    async def ask(server: Server, photos: int) -> list[Answer]:
        import asyncio

        urls = [server.address(photo_id, "jpg") for photo_id in range(1, photos + 1)]
        return await asyncio.gather(*(server.ask_once(url) for url in urls))

    async def ask_all(server: Server) -> None:
        async with server:
            assert isinstance(server.client, Nodes)
            nodes = server.client.nodes
            await ask(server, 4)  # processes start
            came.clear()
            answers["rate"] = await ask(server, 60)
            counts.append([node.answers for node in nodes])
            one, nodes[0].there = nodes[0].there, Lineless()
            answers["line"] = await ask(server, 10)
            nodes[0].there = one
            counts.append([node.lost for node in nodes])

    with running(FaultServer(content=content)) as photos:
        run_to_end(ask_all(Server(DownloadOptions(photos.url, max_rate=("40",)), two_nodes)))
    assert {answer.kind for answer in answers["rate"] + answers["line"]} == {"ok"}
    assert len(counts[0]) == 2
    assert min(counts[0]) > 10
    assert counts[1][0] > 0 == counts[1][1]
    asked = came[:60]
    assert asked[-1] - asked[0] > 59 / 40 - 0.3
    assert min(later - earlier for earlier, later in pairwise(asked[::10])) > 10 / 40 - 0.15


def test_an_interrupted_command_ends_soon_and_the_next_one_goes_on_without_the_cluster(
    cluster: Any, selected: Selected
) -> None:
    dataset = selected(CLASSES[:1], wanted=30)
    faults = dict.fromkeys(range(1012, 1031), "silent")
    call = [sys.executable, "-m", "shroomcurate", "download", "--dataset", str(dataset.root), "--engine", "ray"]
    with running(FaultServer(faults)) as server:
        words = ["--ray-address", cluster.address, "--base-url", server.url]
        process = subprocess.Popen([*call, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while len(list(dataset.images.glob("*/*.jpg"))) < 11 and process.poll() is None:
            time.sleep(0.01)
        pressed = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130, errors
        assert time.monotonic() - pressed < 5  # idle: one; the machine may be busy with other tests
        assert "type the same command again" in errors
        assert "Traceback" not in errors
        server.faults.clear()
        server.requests.clear()
        assert download(dataset, DownloadOptions(server.url)).statuses == {"ok": 30}
        assert "/photos/1001/medium.jpg" not in server.requests, "what was finished is kept"
    assert download(dataset, DownloadOptions(ray=NOBODY)).fetched == 0, "with nothing to ask for, no cluster is needed"


# -- what is refused -----------------------------------------------------------------------------------------------


def test_a_node_with_another_version_is_named(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shroomcurate, "__version__", "9.9.9")
    named = r"The node .* has shroomcurate .*, this machine 9\.9\.9"
    with pytest.raises(Refused, match=named) as raised, open_cluster(cluster.address):
        pass
    assert "pip install shroomcurate==9.9.9" in raised.value.hint


def test_a_cluster_that_is_not_there_is_named_soon(selected: Selected) -> None:
    pytest.importorskip("ray")
    dataset = selected(CLASSES[:1], wanted=2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(NetworkDown, match=f"No Ray cluster at {nobody}") as raised:
        download(dataset, DownloadOptions(ray=nobody))
    assert time.monotonic() - started < 5
    assert "ray start --head" in raised.value.hint


def test_without_ray_the_extra_is_named(selected: Selected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    dataset = selected(CLASSES[:1], wanted=2)
    result = CliRunner().invoke(app, ["download", "--dataset", str(dataset.root), "--engine", "ray"])
    assert result.exit_code == BadOption.exit_code
    assert "pip install 'shroomcurate[ray]'" in " ".join(result.output.split())


def test_an_address_is_for_ray_only_and_comes_from_the_environment_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert address_of("local", None) is None
    assert address_of("ray", None) == "10.0.0.1:6379"
    assert address_of("ray", "local") == "local"
    monkeypatch.delenv("RAY_ADDRESS")
    assert address_of("ray", None) == "local"
    with pytest.raises(BadOption, match="counts with --engine ray only"):
        address_of("local", "10.0.0.1:6379")
    with pytest.raises(BadOption, match="--engine 'dask' is not known"):
        address_of("dask", None)

"""What `download` can be asked for: a rate, a size, a plan; and how it tells how far it is."""

from __future__ import annotations

import io
import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from shroomcurate import terminal
from shroomcurate.cli import app
from shroomcurate.dataset import Dataset
from shroomcurate.download import SIZES, DownloadOptions, download, plan, recheck
from shroomcurate.download.pace import Line, Rate, read_rates
from shroomcurate.download.server import TYPICAL_BYTES
from shroomcurate.errors import BadOption, StageMissing
from shroomcurate.progress import Noted, Progress, tqdm_progress
from shroomcurate.transport import Answer
from tests.conftest import jpeg, selection_rows
from tests.fault_server import FaultServer, running
from tests.test_download import A, B, Selected, options, select, tree


@pytest.fixture(autouse=True)
def one_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process judges photos: to start more takes longer than these few photos."""
    monkeypatch.setattr("os.cpu_count", lambda: 0)


# -- the pace ----------------------------------------------------------------------------------------------------

RATE = re.compile(r"(\d+|\d+\.\d*|\.\d+)\s*([kmg]?b|[kmg])?(\s*/\s*s)?", re.IGNORECASE | re.ASCII)
UNITS = {"": 1, "B": 1, "k": 1e3, "M": 1e6, "kB": 1e3, "KB": 1e3, "mb": 1e6, "MB": 1e6, "GB": 1e9}


@given(st.integers(1, 10**7), st.integers(0, 3), st.sampled_from([*UNITS]), st.sampled_from(["", " "]), st.booleans())
def test_a_rate_is_requests_or_with_a_unit_bytes(digits: int, places: int, unit: str, gap: str, spelt: bool) -> None:
    rate = read_rates([f" {digits / 10**places:.{places}f}{gap}{unit}{'/s' * spelt} "])
    expected = pytest.approx(digits / 10**places * UNITS[unit])
    assert rate == ((math.inf, expected) if unit else (expected, math.inf))
    assert read_rates(["7", "2 MB"]) == read_rates(["2MB/s", "7/s"]) == (7, 2e6)
    assert read_rates([]) == (math.inf, math.inf)


@given(st.text("0123456789.,-+eE kKMGBbs/", max_size=8) | st.text(st.characters(codec="ascii"), max_size=8))
def test_any_other_rate_is_refused_by_name(text: str) -> None:
    if not RATE.fullmatch(text.strip()) or not re.search("[1-9]", text):
        with pytest.raises(BadOption, match="--max-rate") as caught:
            read_rates([text])
        assert repr(text) in caught.value.what
    else:
        assert math.inf in read_rates([text])
        assert min(read_rates([text])) > 0


@pytest.mark.parametrize(
    "wrong",
    [
        *[[text] for text in ("", "0", "0.0MB", "-1", "MB", "1e3", "nan", "inf", "1,5", "2TB", "2MB/h", "20 a second")],
        *[["1", "2"], ["1kB", "2MB"], ["3", "1kB", "3/s"]],
        ["2\u212aB"],
    ],
)
def test_no_rate_and_two_of_a_kind_are_refused(wrong: list[str]) -> None:
    with pytest.raises(BadOption, match="--max-rate"):
        DownloadOptions(max_rate=tuple(wrong))


STEPS = st.lists(st.tuples(st.sampled_from([0.0, 0.0, 0.1, 5.0]) | st.floats(0, 3), st.floats(0, 3)), max_size=40)


@given(st.floats(0.1, 1e6), STEPS)
def test_no_second_passes_more_than_the_rate_and_one_amount(most: float, steps: list[tuple[float, float]]) -> None:
    """Amounts are in seconds of the rate; each becomes half as much once it is known."""
    rate, now, passed = Rate(most), 0.0, []
    for gap, amount in steps:
        now += gap
        passed.append((now + rate.book(2 * amount * most, now), amount * most))
        rate.correct(-amount * most)
    for first, (begin, _) in enumerate(passed):
        within = [amount for at, amount in passed[first:] if at < begin + 1 - 1e-6]
        assert sum(within[:-1]) <= most * (1 + 1e-6)
    assert all(later > earlier - 1e-6 for (earlier, _), (later, _) in pairwise(passed))


@given(st.floats(0.1, 1e6), STEPS, st.randoms())
def test_what_is_known_late_counts_all_the_same(most: float, steps: list[tuple[float, float]], chance: Any) -> None:
    rate, now, late = Rate(most), 0.0, []
    for gap, amount in steps:
        now += gap
        rate.book(most, now)
        late.append((amount - 1) * most)
        while late and chance.random() < 0.5:
            rate.correct(late.pop(chance.randrange(len(late))))
    for each in late:
        rate.correct(each)
    if steps:
        assert rate.free_at >= steps[0][0] + sum(amount for _, amount in steps) - 1e-6


def test_idle_time_saves_nothing_up() -> None:
    rate = Rate(10)
    rate.book(5, 0)
    assert [rate.book(5, 1000) for _ in range(4)] == [0, 0.5, 1, 1.5]


HEARD = st.sampled_from(
    [
        Answer("ok", 200, body=bytes(1000)),
        Answer("gone", 404),
        Answer("retry", 500),
        Answer("unreachable"),
        *[Answer("retry", 503, overloaded=True, retry_after=wish) for wish in (None, 0.0, 0.4, 7.0, 1e9)],
    ]
)


@given(st.integers(1, 64), st.lists(st.tuples(st.floats(0, 2), HEARD), max_size=60))
def test_the_line_halves_once_a_second_and_holds_as_long_as_one_is_asked_to(
    most: int, heard: list[tuple[float, Answer]]
) -> None:
    line, now, held, halved = Line(most), 0.0, 0.0, []
    for gap, answer in heard:
        now += gap
        before = line.allowed
        line.hear(answer, now)
        assert 1 <= line.allowed <= most
        if line.allowed < before:
            assert (answer.overloaded, line.allowed) == (True, max(1, before / 2))
            halved.append(now)
        held = max(held, now + min(answer.retry_after or 0, 60))
        assert line.turn(now) == pytest.approx(held - now)
    assert all(later - earlier > 1 for earlier, later in pairwise(halved))


class Clocked(FaultServer):
    """Notes when each request came."""

    async def answer(self, path: str, writer: Any) -> bool:
        self.__dict__.setdefault("came", []).append(time.monotonic())
        return await super().answer(path, writer)

    def longest_gap(self) -> float:
        return max(later - earlier for earlier, later in pairwise(self.__dict__["came"]))


@pytest.mark.parametrize(
    "max_rate",
    [
        (),
        ("5",),
    ],
)
def test_what_a_server_asks_of_one_all_heed(selected: Selected, max_rate: tuple[str, ...]) -> None:
    with running(Clocked({1001: "503-retry-after-then-ok"})) as server:
        assert download(selected([A], wanted=4), options(server, max_rate=max_rate)).statuses == {"ok": 4}
    assert server.longest_gap() > 0.9


def invoked(dataset: Dataset, *words: str) -> Any:
    return CliRunner().invoke(app, ["download", "--dataset", str(dataset.root), *words])


@pytest.mark.parametrize(("rate", "seconds"), [("20", 29 / 20), ("200kB", 1.3)])
def test_a_run_takes_as_long_as_the_rate_says(selected: Selected, rate: str, seconds: float) -> None:
    photo = jpeg(1, size=(400, 300)) + bytes(1)
    photo += bytes(10_000 - len(photo))
    with running(FaultServer(content=lambda photo_id, _: photo + b"%d" % photo_id)) as server:
        words = ("--base-url", server.url, "--max-rate", rate, "--json", "--size", "thumb", "--concurrency", "2")
        result = invoked(selected([A], wanted=30), *words)
    summary = json.loads(result.stdout)
    assert summary["statuses"] == {"ok": 30}
    assert summary["bytes"] == 30 * 10_004
    assert summary["seconds"] >= seconds


# -- the size ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_every_size_reaches_the_address_and_keeps_the_others_out(selected: Selected, size: str) -> None:
    dataset = selected([A], wanted=1)
    with running(FaultServer()) as server:
        assert invoked(dataset, "--base-url", server.url, "--size", size).exit_code == 0
        before = tree(dataset)
        assert server.requests == [f"/photos/1001/{size}.jpg"]
        for other in set(SIZES) - {size}:
            for command in (plan, download, recheck):
                with pytest.raises(BadOption, match=f"photos of size {size}, not {other}"):
                    command(dataset, options(server, size=other))
        refused = invoked(dataset, "--base-url", server.url, "--size", other, "--recheck")
        assert refused.exit_code == BadOption.exit_code
        assert len(server.requests) == 1
    assert tree(dataset) == before


# -- the plan ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("here", [99, 100])
def test_a_plan_reckons_with_the_photos_that_are_here(selected: Selected, here: int) -> None:
    dataset = selected([A], wanted=here, reserve=1)
    with running(FaultServer({1001: "404"}, content=lambda photo_id, _: jpeg(photo_id, size=(40, 30)))) as server:
        first = plan(dataset, options(server, size="thumb"))
        assert (first.classes, first.photos, first.already_there) == (1, here, 0)
        assert first.expected_bytes == here * TYPICAL_BYTES["thumb"]
        bytes_here = download(dataset, options(server, size="thumb")).bytes
        select(dataset, selection_rows([A], here + 25, 5) + selection_rows([A, B], 4)[4:])
        before, asked = tree(dataset), len(server.requests)
        then = plan(dataset, options(server, size="thumb"))
        assert (then.classes, then.already_there) == (2, here)
        assert then.photos == 25 + 4, "of the wanted and of what stands in for 1001 one more is here"
        each = bytes_here / here if here >= 100 else TYPICAL_BYTES["thumb"]
        assert then.expected_bytes == round(then.photos * each)
        assert then.free_bytes > 0
        assert len(server.requests) == asked
        assert tree(dataset) == before
        assert download(dataset, options(server, size="thumb")).requests == then.photos
        assert plan(dataset, options(server, size="thumb")).photos == 0


def shortened(dataset: Dataset) -> None:
    (dataset.images / A / "1002.jpg").write_bytes(b"short")


def removed(dataset: Dataset) -> None:
    target = dataset.locate(f"images/{A}/1002.jpg", "outlier")
    target.parent.mkdir(parents=True)
    (dataset.images / A / "1002.jpg").rename(target)


def unselected(dataset: Dataset) -> None:
    select(dataset, selection_rows([A], 2, 3))


@pytest.mark.parametrize("change", [removed, shortened, unselected])
def test_a_plan_tells_what_the_next_run_does(selected: Selected, change: Callable[[Dataset], None]) -> None:
    dataset = selected([A], wanted=4, reserve=2)
    with running(FaultServer()) as server:
        download(dataset, options(server))
        change(dataset)
        expected = plan(dataset, options(server))
        summary = download(dataset, options(server))
    assert (expected.photos, expected.already_there) == (summary.fetched, summary.already_there)


@pytest.mark.parametrize("free", [10, 10**15])
def test_a_dry_run_asks_for_nothing_and_says_whether_it_fits(
    selected: Selected, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    dataset = selected([A, B], wanted=10, reserve=4)
    before = tree(dataset)
    with running(FaultServer()) as server:
        said = " ".join(invoked(dataset, "--base-url", server.url, "--dry-run").output.split())
        assert "20 photos to ask for in 2 classes, about 800.0 kB; 0 are here." in said
        assert "Nothing was asked for" in said
        assert ("the disk will probably be full" in said) == (free == 10)
        result = invoked(dataset, "--base-url", server.url, "--dry-run", "--json")
        assert json.loads(result.stdout) == asdict(plan(dataset, options(server)))
        assert json.loads(result.stdout)["free_bytes"] == free
        assert server.requests == []
        assert tree(dataset) == before
        result = invoked(dataset, "--base-url", server.url)
        assert ("the disk will probably be full" in " ".join(result.output.split())) == (free == 10)
        assert result.exit_code == 0, "it is a guess, and no reason to stop"


def test_a_dry_run_without_a_selection_names_query(tmp_path: Path) -> None:
    result = invoked(Dataset(tmp_path), "--dry-run")
    assert result.exit_code == StageMissing.exit_code
    assert "query" in result.stderr
    assert not [*tmp_path.iterdir()]


# -- how far it is ---------------------------------------------------------------------------------------------------


def drawn(progress: Progress, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
    """A run of 30 photos that began with 10, at 2 a second."""
    for second in range(11):
        if monkeypatch is not None:
            monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda now=second: now))
        progress(10 + 2 * second, Noted(30, f"{second}.0 MB, 3 gone"), "download")


def test_lines_have_the_rate_the_note_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_LINE_EVERY", 5.0)
    out = io.StringIO()
    drawn(terminal._lines(Console(file=out, width=200)), monkeypatch)
    assert out.getvalue().splitlines() == [
        "download: 67 %, 2/s, 5.0 MB, 3 gone, 0:00:05 left",
        "download: 100 %, 2/s, 10.0 MB, 3 gone, 0:00:00 left",
    ]


def test_bars_have_the_rate_and_the_note() -> None:
    out = io.StringIO()
    with terminal._bars(Console(file=out, width=200, force_terminal=True)) as bars:
        bars(10, Noted(30, "1.0 MB, 3 gone"), "download")
        time.sleep(terminal._BAR_AFTER + 0.05)
        bars(20, Noted(31, "2.0 MB, 4 gone"), "download")
    assert re.search(r"download .*65%.* \d+/s, 2.0 MB, 4 gone", out.getvalue())


NOTES = st.sampled_from(["", "1 kB", "1 kB, 3 gone"])


@given(st.integers(0, 9), st.integers(0, 9), st.floats(0, 9) | st.none(), NOTES)
def test_a_note_is_always_told_and_a_rate_when_there_is_one(
    first: int, new: int, seconds: float | None, note: str
) -> None:
    said = terminal._amount(first + new, Noted(200, note), new, seconds)
    assert said.endswith(note)
    assert ("/s, " in said.removesuffix(note)) == bool(new and seconds)


def test_a_notebook_s_bar_ends_full(capsys: pytest.CaptureFixture[str]) -> None:
    drawn(tqdm_progress())
    assert "download: 100%" in capsys.readouterr().err


def test_a_notebook_s_run_is_one_bar(selected: Selected, capsys: pytest.CaptureFixture[str]) -> None:
    with running(FaultServer()) as server:
        dataset = selected([A], wanted=3)
        download(dataset, options(server))
        capsys.readouterr()
        download(dataset, options(server), tqdm_progress())
    assert capsys.readouterr().err.count("\n") == 1

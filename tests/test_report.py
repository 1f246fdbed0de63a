"""The page: nothing missing, nothing fetched, nothing unescaped, always the same bytes."""

from __future__ import annotations

import base64
import io
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shroomcurate import verdicts
from shroomcurate.dataset import Dataset, Receipt, make_table, read_table, write_table
from shroomcurate.errors import BadOption, DamagedFile, StageMissing
from shroomcurate.licences import DEEDS, LICENCES
from shroomcurate.report import ReportOptions, report
from shroomcurate.report.removed import spread
from shroomcurate.report.sections import as_words
from shroomcurate.safety import SAFETY_NOTICE
from shroomcurate.select import LICENSES
from shroomcurate.select import SCHEMA as SELECTION
from tests.conftest import jpeg, selection_rows
from tests.reported import CLASSES, HOSTILE, Page, add_clean, add_downloads, add_run, made_whole, metrics_of, whole

__all__ = ["made_whole", "whole"]  # the fixtures


def test_the_page_fetches_nothing_runs_nothing_and_links_only_to_inaturalist_and_to_licences(whole: Dataset) -> None:
    summary = report(whole)
    page = Page(whole)
    assert page.fetched() == []
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    (saved,) = [attributes for tag, attributes in page.tags if "download" in attributes]
    links.remove(saved["href"])
    known = ("https://www.inaturalist.org/", "https://creativecommons.org/")
    assert all(link.startswith(known) or link[1:] in ids for link in links)
    assert "https://www.inaturalist.org/photos/1001" in links
    assert summary.missing == {}
    assert summary.bytes == whole.path("report.html").stat().st_size


def test_the_check_for_fetches_finds_fetches(whole: Dataset) -> None:
    whole.path("report.html").write_text(
        '<img src="http://a/b.png"><link href=//c><style>p{background:url(d)}</style><i style="background:url(e)">'
    )
    assert len(Page(whole).fetched()) == 4


def test_the_figures_on_the_page_are_those_of_the_tables(whole: Dataset) -> None:
    report(whole)
    text = Page(whole).text
    assert "21 photos kept, in 2 classes" in text
    assert "12.5 % removed: 3 of 24 photos" in text
    assert "87.5 % top-1 accuracy of a baseline on 18 test photos" in text
    assert "Amanita muscaria 12 12 2 10" in text
    assert "Boletus edulis 12 12 1 11" in text
    assert "Drawing: 2" in text
    assert "Outlier: 1" in text
    assert "The 21 photos kept are the work of 5 photographers. 100.0 % of them may be used commercially" in text
    assert "+2.1 points" in text
    assert "−0.4 to +5.0 points" in text


def test_what_became_of_each_photo_asked_for_is_counted(photographed: Callable[..., Dataset]) -> None:
    dataset = photographed(CLASSES, wanted=3, reserve=1)
    add_downloads(dataset)
    report(dataset)
    text = Page(dataset).text
    assert "7 photos were asked for." in text
    assert "ok on disk, and it decodes to the last byte 6 85.7 %" in text
    assert "or taken out by download --recheck 1 14.3 %" in text


def test_every_thumbnail_carries_its_credit_and_its_photo_without_metadata(whole: Dataset) -> None:
    report(whole, ReportOptions(thumbnails_per_reason=2, thumbnail_pixels=64))
    page = Page(whole)
    pictures = page.images()
    assert len(pictures) == 2 + 1 + 2
    credit = "© Ann Observer, some rights reserved (CC-BY)"
    assert all(picture["title"] == credit and picture["alt"] for picture in pictures)
    assert page.text.count(credit) == len(pictures)
    for picture in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(picture["src"].split(",")[1])))
        assert max(image.size) == 64
        assert not image.getexif()
    assert "and 1 more" not in page.text


def test_more_photos_than_shown_are_counted(whole: Dataset) -> None:
    report(whole, ReportOptions(thumbnails_per_reason=1))
    assert "and 1 more" in Page(whole).text


def test_hostile_names_and_credits_are_words_not_markup(selected: Callable[..., Dataset]) -> None:
    dataset = selected(CLASSES, wanted=2)
    folder = "A\"'><b>&amp;"
    rows = selection_rows(CLASSES[:1], 4)
    for row in rows:
        row |= {"class": folder, "class_name": HOSTILE, "attribution": HOSTILE, "license": HOSTILE}
        row |= {"observation_uuid": f"javascript:{HOSTILE}"}
        target = dataset.images / folder / f"{row['photo_id']}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(jpeg(1))
    receipt = Receipt("query", {HOSTILE: HOSTILE})
    write_table(dataset.path("selection.parquet"), make_table(SELECTION, rows), receipt)
    add_clean(dataset, {"1001": "drawing", "1002": "<b>own reason"})
    add_run(dataset, metrics_of([HOSTILE, folder], mode=HOSTILE, notes=[HOSTILE], left_out={HOSTILE: HOSTILE}))
    report(dataset)
    page = Page(dataset)
    assert page.fetched() == []
    assert "script" not in {tag for tag, _ in page.tags}
    assert "b" not in {tag for tag, attributes in page.tags if attributes}
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert {picture["title"] for picture in page.images()} == {HOSTILE}
    assert HOSTILE in page.words
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert all(
        link.startswith(("#", "https://www.inaturalist.org/", "data:application/gzip;base64,")) for link in links
    )


def test_the_same_dataset_gives_the_same_bytes_wherever_it_lies(whole: Dataset, tmp_path: Path) -> None:
    report(whole)
    first = whole.path("report.html").read_bytes()
    report(whole)
    assert whole.path("report.html").read_bytes() == first
    moved = Dataset(shutil.copytree(whole.root, tmp_path / "elsewhere"))
    report(moved)
    assert moved.path("report.html").read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_a_killed_report_leaves_no_half_page_and_the_next_run_the_same_bytes(whole: Dataset) -> None:
    report(whole)
    expected = whole.path("report.html").read_bytes()
    whole.path("report.html").unlink()
    script = (
        "import sys; from shroomcurate.dataset import Dataset; from shroomcurate.report import report\n"
        "report(Dataset(sys.argv[1]), progress=lambda done, total, label: print(done, flush=True))"
    )
    killed = subprocess.Popen([sys.executable, "-c", script, str(whole.root)], stdout=subprocess.PIPE)
    assert killed.stdout
    killed.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not whole.path("report.html").exists() or whole.path("report.html").read_bytes() == expected
    report(whole)
    assert whole.path("report.html").read_bytes() == expected


def test_a_section_without_its_table_says_which_command_makes_it(selected: Callable[..., Dataset]) -> None:
    dataset = selected(CLASSES, wanted=3)
    summary = report(dataset)
    commands = {"downloads": "download", "removed": "clean", "split": "train-baseline", "baseline": "train-baseline"}
    assert dict(summary.missing) == commands
    text = Page(dataset).text
    for command in commands.values():
        assert f"It is made by shroomcurate {command};" in text
    assert SAFETY_NOTICE not in text


def test_the_safety_notice_stands_before_every_figure_of_the_model(whole: Dataset) -> None:
    report(whole)
    text = Page(whole).text
    assert text.count(SAFETY_NOTICE) == 2
    assert text.index(SAFETY_NOTICE) < text.index("What was asked and taken")
    assert text.rindex(SAFETY_NOTICE) < text.index("Each class")


def test_headings_are_in_order_and_tables_are_labelled(whole: Dataset) -> None:
    report(whole)
    page = Page(whole)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    names = [tag for tag, _ in page.tags]
    assert names.count("caption") == names.count("table") > 5
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    assert all("role" in attributes or "aria-hidden" in attributes for tag, attributes in page.tags if tag == "svg")
    assert ("html", {"lang": "en"}) in page.tags


def test_somebody_elses_class_folders_get_a_page_without_links_to_inaturalist(tmp_path: Path) -> None:
    for number in range(4):
        target = tmp_path / "tree" / "Morel" / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(jpeg(number))
    dataset = Dataset(images=tmp_path / "tree")
    add_clean(dataset, {"0": "blurred"})
    report(dataset)
    page = Page(dataset)
    assert "the photos come from class folders that somebody else made" in page.text
    assert "inaturalist.org" not in page.source
    assert len(page.images()) == 4
    assert "photographer not known here" in page.text


def test_a_photo_that_is_gone_or_broken_has_no_picture_and_keeps_its_credit(whole: Dataset) -> None:
    whole.locate("images/Amanita_muscaria/1001.jpg", "drawing").unlink()
    whole.locate("images/Amanita_muscaria/1002.jpg", "outlier").write_bytes(jpeg(1)[:600])
    summary = report(whole, ReportOptions(thumbnails_per_reason=1))
    page = Page(whole)
    assert page.text.count("no longer on disk, or not readable") == 2
    assert page.text.count("© Ann Observer") == summary.thumbnails + 2 == 3


def test_a_leaking_split_is_named(whole: Dataset) -> None:
    rows = read_table(whole.path("splits.parquet")).to_pylist()
    for row in rows:
        row |= {"split": "test" if row["split"] == "train" and row["path"] <= rows[3]["path"] else row["split"]}
        row |= {"split": "train" if row["path"] == rows[1]["path"] else row["split"]}
    rows[2]["split"], rows[3]["split"] = "train", "test"  # 1005 and 1006: one observation
    from shroomcurate.split import SCHEMA as SPLITS

    write_table(whole.path("splits.parquet"), make_table(SPLITS, rows), Receipt("split", {}))
    report(whole)
    assert "The split leaks." in Page(whole).text


def test_few_classes_get_a_table_of_confusions_and_many_a_picture_with_the_worst_pairs(
    selected: Callable[..., Dataset],
) -> None:
    dataset = selected(CLASSES, wanted=2)
    add_run(dataset, metrics_of([f"Class_{i:03}" for i in range(100)]))
    report(dataset)
    tags = Page(dataset).tags
    squares = [
        attributes["d"] for tag, attributes in tags if tag == "path" and attributes["class"][:5] in ("right", "wrong")
    ]
    assert sum(path.count("M") for path in squares) == 200
    assert "Class 003: 8 of 9 right; taken for Class 004 1" in Page(dataset).text
    assert not [1 for tag, attributes in tags if tag == "table" and "confusion" in attributes.get("class", "")]
    assert "Class 000 and Class 001" in Page(dataset).text
    shutil.rmtree(dataset.path("runs"))
    add_run(dataset, metrics_of(CLASSES))
    report(dataset)
    assert [1 for tag, attributes in Page(dataset).tags if "confusion" in attributes.get("class", "")]


def test_a_run_that_holds_little_still_gets_its_section(selected: Callable[..., Dataset]) -> None:
    dataset = selected(CLASSES, wanted=2)
    add_run(dataset, {"mode": "probe", "top1": 0.5, "raw_vs_clean": None, "cross_validation": None})
    assert "baseline" in report(dataset).sections


def test_figures_of_present_inputs_carry_no_warning(whole: Dataset) -> None:
    report(whole)
    assert "Out of date" not in Page(whole).text


def test_figures_measured_before_the_last_cleaning_say_so_at_the_section_and_at_the_headline(whole: Dataset) -> None:
    add_clean(whole, {"1003": "drawing"})
    report(whole)
    text = Page(whole).text
    banner = "Out of date: measured before the last clean or restore. Type shroomcurate train-baseline again"
    assert text.count(banner) == 2
    assert text.index(banner) < text.index("What was asked and taken") < text.rindex(banner)
    assert "Out of date: made before the last clean or restore. Type shroomcurate train-baseline" in text
    report(whole)
    assert Page(whole).text == text


def test_what_rests_on_an_outdated_cleaning_is_outdated_too(whole: Dataset) -> None:
    verdicts.append_verdicts(whole, {"images/Boletus_edulis/2001.jpg": verdicts.Verdict(False, "blurred")})
    report(whole)
    text = Page(whole).text
    assert text.count("Out of date: made before the last verdict. Type shroomcurate clean again") == 5
    assert text.count("Out of date: what it was made from is out of date. Type shroomcurate train-baseline") == 4


def test_a_note_stands_on_top_and_is_words(whole: Dataset) -> None:
    report(whole, ReportOptions(note=HOSTILE))
    page = Page(whole)
    assert page.words.index(HOSTILE) < page.words.rindex("Dataset report")
    assert page.fetched() == []
    report(whole)
    assert HOSTILE not in Page(whole).words


def test_every_wide_table_scrolls_in_a_box_that_keyboards_reach_and_that_says_so(whole: Dataset) -> None:
    report(whole)
    page = Page(whole)
    boxes = [attributes for _, attributes in page.tags if attributes.get("class") == "scroll"]
    assert len(boxes) == len([1 for tag, _ in page.tags if tag == "table"])
    assert all(box["role"] == "region" and box["tabindex"] == "0" and box["aria-label"] for box in boxes)
    assert page.text.count("swipe sideways to see all columns") == len(boxes)


def test_an_empty_folder_is_refused_with_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(StageMissing, match=r"selection\.parquet") as caught:
        report(Dataset(tmp_path / "nothing"))
    assert "shroomcurate query" in caught.value.hint
    assert not (tmp_path / "nothing").exists()


def test_a_damaged_table_is_named_and_the_old_page_stays(whole: Dataset) -> None:
    report(whole)
    before = whole.path("report.html").read_bytes()
    whole.path("clean.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(DamagedFile, match=r"clean\.parquet"):
        report(whole)
    assert whole.path("report.html").read_bytes() == before


@pytest.mark.parametrize("wrong", [{"thumbnails_per_reason": -1}, {"thumbnail_pixels": 5}, {"thumbnail_pixels": 9999}])
def test_options_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BadOption, match=str(next(iter(wrong.values())))):
        ReportOptions(**wrong)


def test_every_licence_is_explained() -> None:
    assert set(LICENCES) == set(LICENSES) == set(DEEDS)


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.floats(0, 1)), max_size=30))
def test_the_first_photos_shown_come_from_as_many_classes_as_there_are(found: list[tuple[str, float]]) -> None:
    rows = [{"class": name, "score": score, "path": f"{i}"} for i, (name, score) in enumerate(found)]
    ordered = spread(rows)
    classes = {name for name, _ in found}
    assert {row["class"] for row in ordered[: len(classes)]} == classes
    assert sorted(row["path"] for row in ordered) == sorted(row["path"] for row in rows)
    for name in classes:
        scores = [row["score"] for row in ordered if row["class"] == name]
        assert scores == sorted(scores, reverse=True)


def test_options_are_said_in_words() -> None:
    said = dict(as_words({"a": 0, "b": False, "c": None, "d": ["x", "y"], "e": {"k": 1}, "f": True, "g": []}))
    assert said == {"a": "0", "b": "no", "c": "not set", "d": "x, y", "e": "k: 1", "f": "yes", "g": "none"}

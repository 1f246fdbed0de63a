"""An export holds what cleaning kept, says whose it is, and is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from shroomcurate.cli import app
from shroomcurate.dataset import Dataset, read_receipt
from shroomcurate.errors import UNSOUND, BadOption, Busy, DamagedFile, DiskFull, NothingMatches, StageMissing
from shroomcurate.export import FORMATS, LINKING, ExportOptions, export
from shroomcurate.export.credit import escaped
from shroomcurate.licences import LICENSE_PROFILES, LICENSES, accepted_licenses, clashes, combine, terms
from shroomcurate.split import SplitOptions, split
from shroomcurate.verdicts import Verdict, append_verdicts
from tests.conftest import jpeg, small_file_system
from tests.exported import CLASSES, NAMES, bytes_of, credit_of, known_of, make_exported


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset that no test changes."""
    return make_exported(tmp_path_factory.mktemp("made") / "dataset")


def run(*words: str | Path) -> tuple[int, str]:
    """What a command ends with, and what it prints."""
    result = CliRunner().invoke(app, list(map(str, words)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


class TestWhatIsInIt:
    def test_class_folders_hold_exactly_the_kept_photos(self, made: Dataset, tmp_path: Path) -> None:
        summary = export(made, tmp_path / "out")
        files = bytes_of(tmp_path / "out")
        known = known_of(made)
        assert {name for name in files if "/" in name} == {
            f"{row['split']}/{row['class']}/{photo_id}.jpg" for photo_id, row in known.items()
        }
        for photo_id, row in known.items():
            assert files[f"{row['split']}/{row['class']}/{photo_id}.jpg"] == row["content"]
        assert (summary.photos, summary.classes) == (len(known), len(CLASSES))

    def test_the_same_dataset_gives_the_same_bytes_wherever_it_lies(self, made: Dataset, tmp_path: Path) -> None:
        export(made, tmp_path / "one")
        shutil.copytree(made.root, tmp_path / "moved", copy_function=shutil.copyfile)  # with other times
        export(Dataset(tmp_path / "moved"), tmp_path / "two")
        assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")

    @pytest.mark.parametrize("link", ["hard", "symlink"])
    def test_links_are_the_photos_themselves(self, link: str, made: Dataset, tmp_path: Path) -> None:
        export(made, tmp_path / "out", ExportOptions(link=link, split=False))
        for row in known_of(made).values():
            there = tmp_path / "out" / row["path"].removeprefix("images/")
            assert there.samefile(made.root / row["path"])
            assert there.is_symlink() == (link == "symlink")

    def test_what_a_person_removed_is_left_out_before_it_is_applied(self, tmp_path: Path) -> None:
        dataset = make_exported(tmp_path / "dataset")
        append_verdicts(dataset, {"images/Boletus_edulis/2003.jpg": Verdict(keep=False, reason="drawing")})
        summary = export(dataset, tmp_path / "out")
        assert summary.left_out == {"verdict": 1}
        assert summary.first_left_out == {"verdict": "images/Boletus_edulis/2003.jpg"}
        assert "Boletus_edulis/2003.jpg" not in {row["file"] for row in credit_of(tmp_path / "out")}

    def test_photos_that_no_cleaning_has_seen_and_photos_that_are_lost_are_counted(self, tmp_path: Path) -> None:
        dataset = make_exported(tmp_path / "dataset")
        (dataset.images / "Boletus_edulis" / "2999.jpg").write_bytes(jpeg(2999))
        (dataset.images / "Boletus_edulis" / "2001.jpg").unlink()
        assert export(dataset, tmp_path / "out").left_out == {"not judged": 1, "not here": 1}

    def test_a_photo_with_other_bytes_than_came_is_named(self, tmp_path: Path) -> None:
        dataset = make_exported(tmp_path / "dataset")
        photo = dataset.images / "Boletus_edulis" / "2001.jpg"
        content = bytearray(photo.read_bytes())
        content[-10] ^= 1
        photo.write_bytes(content)
        with pytest.raises(DamagedFile, match=r"2001\.jpg"):
            export(dataset, tmp_path / "out")
        assert not list(tmp_path.glob("*out*"))

    def test_licences_filter(self, made: Dataset, tmp_path: Path) -> None:
        for profile in ("commercial", "share", "cc0,PD"):
            summary = export(made, tmp_path / "out", ExportOptions(licenses=profile))
            assert set(summary.licenses) == set(accepted_licenses(profile))
            assert summary.photos + summary.left_out["licence"] == len(known_of(made))
        with pytest.raises(BadOption, match="GPL"):
            ExportOptions(licenses="GPL")


class TestTheSplit:
    def test_it_travels_with_its_groups(self, made: Dataset, tmp_path: Path) -> None:
        export(made, tmp_path / "out")
        groups: dict[str, set[str]] = {}
        for row in credit_of(tmp_path / "out"):
            groups.setdefault(row["group"], set()).add(row["split"])
        assert all(len(splits) == 1 for splits in groups.values())
        observations = {(row["observation_uuid"], row["group"]) for row in credit_of(tmp_path / "out")}
        assert len({observation for observation, _ in observations}) == len(observations)

    def test_without_a_current_one_nothing_is_written(self, tmp_path: Path) -> None:
        dataset = make_exported(tmp_path / "dataset", split_it=False)
        with pytest.raises(StageMissing, match=r"no splits\.parquet"):
            export(dataset, tmp_path / "out")
        split(dataset)
        _clean_again(dataset)
        with pytest.raises(StageMissing, match="made from other photos"):
            export(dataset, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_the_command_makes_one_and_says_so_and_makes_a_stale_one_again_as_it_was(self, tmp_path: Path) -> None:
        dataset = make_exported(tmp_path / "dataset", split_it=False)
        code, said = run("export", "--dataset", dataset.root)
        assert code == 0
        assert "There is no split yet: it is made 70/15/15" in said
        assert "split" not in run("export", "--dataset", dataset.root)[1].split("Licences")[0]
        split(dataset, SplitOptions(0.5, 0.25, 0.25, seed=7))
        receipt = read_receipt(dataset.path("splits.parquet"))
        _clean_again(dataset)
        code, said = run("export", "--dataset", dataset.root)
        assert code == 0
        assert "The split is out of date: it is made again, 50/25/25" in said
        again = read_receipt(dataset.path("splits.parquet"))
        assert receipt is not None
        assert again is not None
        assert again.options["seed"] == receipt.options["seed"] == 7

    def test_no_split_needs_none(self, tmp_path: Path) -> None:
        dataset = make_exported(tmp_path / "dataset", split_it=False)
        code, said = run("export", "--dataset", dataset.root, "--no-split", "--json")
        assert code == 0
        assert json.loads(said)["splits"] == {}
        assert not dataset.path("splits.parquet").exists()
        assert (dataset.root / "exports" / "imagefolder" / "Boletus_edulis" / "2001.jpg").is_file()


def _clean_again(dataset: Dataset) -> None:
    """Give clean.parquet other bytes, as another cleaning would."""
    from dataclasses import replace

    from shroomcurate.dataset import read_table, write_table

    file = dataset.path("clean.parquet")
    receipt = read_receipt(file)
    assert receipt is not None
    write_table(file, read_table(file), replace(receipt, options={**receipt.options, "eps": 0.31}))


class TestWhereItGoes:
    def test_a_folder_of_somebody_elses_is_refused_and_an_export_is_replaced(
        self, made: Dataset, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        out.mkdir()
        (out / "thesis.tex").write_text("years of work")
        with pytest.raises(BadOption, match="is no export"):
            export(made, out)
        (out / "thesis.tex").unlink()
        first = export(made, out)
        assert not first.replaced
        told: list[tuple[int, int, str]] = []
        again = export(made, out, ExportOptions(licenses="commercial"), lambda *step: told.append(step))
        assert again.replaced
        files = first.files - 1  # the manifest holds no hash of itself
        compared = [(done, total) for done, total, label in told if label == "compare with the former export"]
        assert compared == 2 * [(done + 1, files) for done in range(files)], "before, and again at the last moment"
        (out / "model.keras").write_text("trained on it")
        with pytest.raises(BadOption, match=r"the first: model\.keras"):
            export(made, out)
        assert export(made, out, ExportOptions(force=True)).replaced
        assert not (out / "model.keras").exists()
        assert [each.name for each in tmp_path.iterdir()] == ["out"]

    def test_not_even_force_replaces_the_dataset_or_what_holds_it(self, made: Dataset) -> None:
        for out in (made.root, made.root.parent, made.images / "new", made.removed, Path.home(), Path("/")):
            with pytest.raises(BadOption):
                export(made, out, ExportOptions(force=True))
        assert known_of(made)

    def test_not_even_force_replaces_photos_behind_a_link_or_the_datasets_own(self, tmp_path: Path) -> None:
        dataset = make_exported(tmp_path / "dataset")
        dataset.images.rename(tmp_path / "photos")
        dataset.images.symlink_to(tmp_path / "photos")
        for out in (tmp_path / "photos", dataset.path("runs"), dataset.path("exports"), dataset.path("notes")):
            with pytest.raises(BadOption, match=out.name):
                export(dataset, out, ExportOptions(force=True))
        assert known_of(dataset)
        assert export(dataset, dataset.path("exports") / "mine").photos

    def test_a_damaged_manifest_is_replaced_by_force(self, made: Dataset, tmp_path: Path) -> None:
        (tmp_path / "MANIFEST.json").write_text("{")
        with pytest.raises(BadOption, match="no manifest") as refused:
            export(made, tmp_path)
        assert "--force" in str(refused.value.hint)
        assert export(made, tmp_path, ExportOptions(force=True)).replaced

    def test_an_edited_file_is_not_lost(self, made: Dataset, tmp_path: Path) -> None:
        out = tmp_path / "out"
        export(made, out)

        def edit(_done: int, _total: int, label: str) -> None:
            if label == "hash files":
                (out / "NOTICE").write_text("a note of mine")

        with pytest.raises(BadOption, match="NOTICE"):
            export(made, out, progress=edit)  # while the next one is made
        with pytest.raises(BadOption, match="NOTICE"):
            export(made, out)
        assert (out / "NOTICE").read_text() == "a note of mine"
        export(made, out, ExportOptions(force=True))
        photo = min(out.rglob("*.jpg"))
        photo.write_bytes(bytes(photo.stat().st_size))
        with pytest.raises(BadOption, match=photo.name):
            export(made, out)
        (out / ".lock").touch()  # a kill at the last moment leaves it
        assert export(made, out, ExportOptions(force=True)).replaced

    def test_a_path_may_go_up_and_a_disk_itself_is_refused(self, made: Dataset, tmp_path: Path) -> None:
        (tmp_path / "out" / "sub").mkdir(parents=True)
        out = tmp_path / "out" / "sub" / ".."
        assert Path(export(made, out, ExportOptions(force=True)).folder) == tmp_path / "out"
        with small_file_system(tmp_path, 1) as disk, pytest.raises(BadOption, match="is a disk"):
            export(made, disk)

    def test_an_export_of_nothing_replaces_none(self, made: Dataset, tmp_path: Path) -> None:
        (tmp_path / "tree" / "a").mkdir(parents=True)
        (tmp_path / "tree" / "a" / "1.jpg").write_bytes(b"no photo")
        export(made, tmp_path / "out")
        before = bytes_of(tmp_path / "out")
        with pytest.raises(NothingMatches, match="no whole JPEG"):
            export(Dataset(images=tmp_path / "tree"), tmp_path / "out", ExportOptions(split=False))
        assert bytes_of(tmp_path / "out") == before

    @pytest.mark.parametrize("name", ["NOTICE", "MANIFEST.json", "ATTRIBUTION.csv", "ATTRIBUTION.md", "annotations"])
    def test_a_class_with_the_name_of_a_file_of_the_export_is_refused(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "1.jpg").write_bytes(jpeg(1))
        tree, out = Dataset(images=tmp_path / "tree"), tmp_path / "out"
        with pytest.raises(BadOption, match=name):
            export(tree, out, ExportOptions(format="coco", split=False))
        assert not out.exists()
        assert export(tree, out, ExportOptions(format="webdataset", split=False)).photos == 1

    def test_room_is_looked_for_first(self, made: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(import_module("shroomcurate.export.place"), "_BYTES_PER_PHOTO", 1 << 50)
        with pytest.raises(DiskFull, match="are free"):
            export(made, tmp_path / "out")
        assert not list(tmp_path.iterdir())

    def test_a_disk_that_fills_up_leaves_the_former_export(
        self, made: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with small_file_system(tmp_path, 1) as disk:
            monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 40))
            export(made, disk / "out", ExportOptions(licenses="PD"))
            before = bytes_of(disk / "out")
            room = os.statvfs(disk)
            (disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize - 60_000))
            with pytest.raises(DiskFull):
                export(made, disk / "out", ExportOptions(format="webdataset"))
            assert bytes_of(disk / "out") == before
            assert {each.name for each in disk.iterdir()} == {"out", "filler"}

    def test_two_exports_to_one_place_do_not_meet(self, tmp_path: Path) -> None:
        from shroomcurate.export.place import staged

        with staged(tmp_path / "out"), pytest.raises(Busy), staged(tmp_path / "out"):
            pass


#: An export that stops for good at a certain moment, to be killed there.
_STOP = """
import sys, time
from pathlib import Path
from shroomcurate.dataset import Dataset
from shroomcurate.export import ExportOptions, export

root, out, format, moment = sys.argv[1:]
calls = 0

def stop(*_):
    print("stopped", flush=True)
    time.sleep(60)

def progress(done, total, label):
    if moment == label and done > 3:
        stop()

if moment == "between":
    rename = Path.rename
    Path.rename = lambda self, target: stop() if self.name.endswith(".partial") else rename(self, target)
export(Dataset(root), Path(out), ExportOptions(format=format, licenses="share"), progress)
"""


@pytest.mark.parametrize(
    ("format_name", "moment"), [("webdataset", "write photos"), ("imagefolder", "hash files"), ("coco", "between")]
)
def test_a_kill_leaves_no_half_of_an_export(format_name: str, moment: str, made: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(made, out)
    before = bytes_of(out)
    words = [sys.executable, "-c", _STOP, str(made.root), str(out), format_name, moment]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stopped\n"
        process.send_signal(signal.SIGKILL)
    if moment != "between":
        assert bytes_of(out) == before
    else:
        assert bytes_of(tmp_path / ".out.former") == before  # the one moment at which nothing is at its place
        assert not out.exists()
    options = ExportOptions(format=format_name, licenses="share")
    assert export(made, out, options).replaced
    export(made, tmp_path / "fresh", options)
    assert bytes_of(out) == bytes_of(tmp_path / "fresh")
    assert {each.name for each in tmp_path.iterdir()} == {"out", "fresh"}


class TestCredit:
    def test_every_photo_has_its_row(self, made: Dataset, tmp_path: Path) -> None:
        export(made, tmp_path / "out", ExportOptions(split=False))
        rows = {int(row["photo_id"]): row for row in credit_of(tmp_path / "out")}
        known = known_of(made)
        assert rows.keys() == known.keys()
        for photo_id, row in rows.items():
            assert row["license"] == known[photo_id]["license"]
            assert row["observation_uuid"] == known[photo_id]["observation_uuid"]
            assert row["attribution"].lstrip("'") == known[photo_id]["attribution"]
            assert row["photo_url"] == f"https://www.inaturalist.org/photos/{photo_id}"
            assert (tmp_path / "out" / row["file"]).is_file()

    def test_no_name_is_a_formula_or_a_tag(self, made: Dataset, tmp_path: Path) -> None:
        export(made, tmp_path / "out")
        assert not [row for row in credit_of(tmp_path / "out") if row["attribution"].startswith(tuple("=+-@"))]
        page = (tmp_path / "out" / "ATTRIBUTION.md").read_text()
        assert escaped(NAMES[2]) in page
        assert "<b>" not in page.replace("\\<b\\>", "")

    def test_the_page_names_every_photo_under_its_licence(self, made: Dataset, tmp_path: Path) -> None:
        export(made, tmp_path / "out")
        page = (tmp_path / "out" / "ATTRIBUTION.md").read_text()
        sections = {part.split(":")[0]: part for part in page.split("\n## ")[1:]}
        known = known_of(made)
        assert set(sections) == {row["license"] for row in known.values()}
        for photo_id, row in known.items():
            assert f"[{photo_id}](https://www.inaturalist.org/photos/{photo_id})" in sections[row["license"]]
            assert escaped(row["attribution"]) in sections[row["license"]]

    def test_a_tree_of_somebody_else_says_that_no_licence_is_known(self, tmp_path: Path) -> None:
        for number in range(4):
            (tmp_path / "tree" / "a").mkdir(parents=True, exist_ok=True)
            (tmp_path / "tree" / "a" / f"{number}.jpg").write_bytes(jpeg(number))
        out = tmp_path / "out"
        code, said = run("export", "--images", tmp_path / "tree", "--out", out)
        assert code == 0
        assert "Of 4 photos no licence is known" in said
        assert "Of 4 photos no licence is known" in (out / "NOTICE").read_text()
        assert "iNaturalist" not in (out / "NOTICE").read_text()
        assert "## Licence not known: 4 photos" in (out / "ATTRIBUTION.md").read_text()
        with pytest.raises(NothingMatches, match="its licence is not known"):
            export(Dataset(images=tmp_path / "tree"), out, ExportOptions(licenses="share"))

    def test_the_command_explains_the_profile(self, made: Dataset, tmp_path: Path) -> None:
        _, said = run("export", "--dataset", made.root, "--out", tmp_path / "out")
        words = " ".join(said.split())
        assert "Incompatible" in words
        assert "--licenses commercial would take" in words
        _, said = run("export", "--dataset", made.root, "--out", tmp_path / "out", "--licenses", "commercial")
        assert "Any use, for money too" in " ".join(said.split())


class TestLicences:
    def test_what_combines_is_creative_commons_chart(self) -> None:
        """https://creativecommons.org/faq/, the chart under 'Can I combine material under different licenses'."""
        free = ["CC0", "PD", "CC-BY"]
        together = {
            **{name: {*free, "CC-BY-SA", "CC-BY-NC", "CC-BY-NC-SA"} for name in free},
            "CC-BY-SA": {*free, "CC-BY-SA"},
            "CC-BY-NC": {*free, "CC-BY-NC", "CC-BY-NC-SA"},
            "CC-BY-NC-SA": {*free, "CC-BY-NC", "CC-BY-NC-SA"},
            "CC-BY-ND": set(),
            "CC-BY-NC-ND": set(),
        }
        for first in LICENSES:
            assert {second for second in LICENSES if combine(first, second)} == together[first]

    def test_a_profile_keeps_its_word(self) -> None:
        assert not [name for name in LICENSE_PROFILES["commercial"] if "NC" in name or "ND" in name]
        assert not clashes(LICENSE_PROFILES["commercial"])
        assert not [name for name in LICENSE_PROFILES["share"] if "ND" in name]
        assert clashes(LICENSE_PROFILES["share"]) == [("CC-BY-SA", "CC-BY-NC"), ("CC-BY-SA", "CC-BY-NC-SA")]

    def test_the_terms_of_a_mix_are_those_of_all(self) -> None:
        assert terms(["CC0", "PD", "unknown"]) == []
        assert len(terms(["CC-BY"])) == 1
        assert len(terms(LICENSES)) == 5


class TestVerify:
    @pytest.fixture
    def out(self, made: Dataset, tmp_path: Path) -> Path:
        export(made, tmp_path / "out", ExportOptions(format="webdataset"))
        return tmp_path / "out"

    def checked(self, out: Path) -> dict[str, object]:
        code, said = run("verify", out, "--json")
        found: dict[str, object] = json.loads(said)
        assert code == (0 if found["sound"] else UNSOUND)
        return {name: found[name] for name in ("missing", "extra", "changed", "licenses") if found[name]}

    @pytest.mark.parametrize("name", ["imagefolder", "tfrecord", "coco"])
    def test_every_format_is_sound_as_it_was_written(self, name: str, made: Dataset, tmp_path: Path) -> None:
        summary = export(made, tmp_path / name, ExportOptions(format=name))
        code, said = run("verify", tmp_path / name)
        assert code == 0
        assert "Sound" in said
        assert summary.manifest_sha256 in said

    def test_one_flipped_bit_is_found(self, out: Path) -> None:
        content = bytearray((out / "train-000000.tar").read_bytes())
        content[5000] ^= 1
        (out / "train-000000.tar").write_bytes(content)
        assert list(self.checked(out)["changed"]) == ["train-000000.tar"]  # type: ignore[call-overload]

    def test_missing_and_extra_files_are_named(self, out: Path) -> None:
        (out / "NOTICE").unlink()
        (out / "more").mkdir()
        (out / "more" / "a.jpg").write_bytes(b"")
        assert self.checked(out) == {"missing": ["NOTICE"], "extra": ["more/a.jpg"]}

    def test_a_changed_licence_is_named_with_its_photo(self, out: Path) -> None:
        table = out / "ATTRIBUTION.csv"
        lines = table.read_text().splitlines(keepends=True)
        row = next(number for number, line in enumerate(lines) if "CC-BY-NC-ND" in line)
        lines[row] = lines[row].replace("CC-BY-NC-ND", "CC0")
        table.write_text("".join(lines))
        found = self.checked(out)
        file = lines[row].split(",")[0].strip('"')
        assert found["licenses"] == {file: "ATTRIBUTION.csv says CC0, the manifest CC-BY-NC-ND"}
        assert list(found["changed"]) == ["ATTRIBUTION.csv"]  # type: ignore[call-overload]

    def test_a_lost_photo_behind_a_link_is_missing(self, tmp_path: Path) -> None:
        dataset = make_exported(tmp_path / "dataset")
        export(dataset, tmp_path / "links", ExportOptions(link="symlink", split=False))
        (dataset.images / "Boletus_edulis" / "2001.jpg").unlink()
        assert self.checked(tmp_path / "links") == {"missing": ["Boletus_edulis/2001.jpg"]}

    def test_locks_empty_folders_and_pipes_are_named(self, out: Path) -> None:
        for name in (".lock", "MANIFEST.json.partial"):
            (out / name).write_text("anything")
        (out / "more" / "empty").mkdir(parents=True)
        (out / "NOTICE").unlink()
        os.mkfifo(out / "NOTICE")
        extra = [".lock", "MANIFEST.json.partial", "more/empty/"]
        assert self.checked(out) == {"missing": ["NOTICE"], "extra": extra}

    def test_a_link_in_the_place_of_a_copy_is_named(self, made: Dataset, tmp_path: Path) -> None:
        export(made, tmp_path / "out", ExportOptions(split=False))
        photo = tmp_path / "out" / "Boletus_edulis" / "2001.jpg"
        photo.rename(tmp_path / "elsewhere.jpg")
        photo.symlink_to(tmp_path / "elsewhere.jpg")
        assert self.checked(tmp_path / "out") == {
            "changed": {"Boletus_edulis/2001.jpg": "a link to a file elsewhere, not a file"}
        }

    def test_what_is_no_export_is_an_error(self, tmp_path: Path) -> None:
        assert run("verify", tmp_path / "nowhere")[0] == 3
        assert run("verify", tmp_path)[0] == 3
        (tmp_path / "MANIFEST.json").write_text('{"files": []}')
        assert run("verify", tmp_path)[0] == 13

    def test_the_manifest_says_how_it_was_made_and_each_photos_licence(self, made: Dataset, out: Path) -> None:
        read = json.loads((out / "MANIFEST.json").read_text())
        assert read["format"] == read["options"]["format"] == "webdataset"
        assert set(read["receipts"]) == {"selection.parquet", "downloads.parquet", "clean.parquet", "splits.parquet"}
        assert {row["photo_id"]: row["license"] for row in read["photos"]} == {
            photo_id: row["license"] for photo_id, row in known_of(made).items()
        }
        assert {each["path"] for each in read["files"]} == set(bytes_of(out)) - {"MANIFEST.json"}


def test_options_that_make_no_sense_are_refused() -> None:
    wrong: list[Callable[[], ExportOptions]] = [
        lambda: ExportOptions(format="zip"),
        lambda: ExportOptions(link="soft"),
        lambda: ExportOptions(format="webdataset", link="hard"),
        lambda: ExportOptions(shard_mb=0),
        lambda: ExportOptions(name=" "),
    ]
    for make in wrong:
        with pytest.raises(BadOption):
            make()
    assert set(LINKING) < set(FORMATS)

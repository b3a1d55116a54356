"""A run knows its data: what has changed since training is said, and a run is resumed with the same data only."""

import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from PIL import Image
from support import command, forge

import netc
from netc.dsl.diagnostics import Diagnostic
from netc.dsl.source import NOWHERE
from netc.dsl.structs import replace
from netc.runtime.data import source_record
from netc.runtime.data.block.declarations import SourceSpec
from netc.runtime.data.source_record import files_of, recorded
from netc.runtime.runs.data_changes import changes_of
from netc.runtime.runs.opening import open_run

TEXT = """data {
  source = csv("t.csv")
  x = columns("a", "b") -> standardize
  y = column("y")
  split = SPLIT
}
model {
  input x: float[2]
  target y: float
  z = x -> dense(1) -> squeeze
  output p = z
  loss mse(z, y)
}
train { batch = 4
  epochs = 2 }
"""
RANDOM = "(train = 0.8, test = 0.2)"


def rows(count: int, first: float = 1.0) -> str:
    lines = [f"{first},2,3", *(f"{i * 0.37 % 5},{i % 7},{i % 3}" for i in range(count - 1))]
    return "a,b,y\n" + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Trains a run for a split when it is first asked for. Returns its folder and a copy of it."""

    @cache
    def train(split: str) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("trained")
        (folder / "t.csv").write_text(rows(40), encoding="utf-8")
        (folder / "m.net").write_text(TEXT.replace("SPLIT", split), encoding="utf-8")
        done = command("train", "m.net", "--out", "run", cwd=folder)
        assert done.returncode == 0, done.stderr
        return folder, Path(shutil.copytree(folder, tmp_path_factory.mktemp("copy") / "copy"))

    return train


@pytest.fixture
def trained(trained_once: Callable[[str], tuple[Path, Path]]) -> Callable[[str], Path]:
    """Returns a folder with a table, a file and a run of it, as they are after training.

    The folder is the same for all tests, because a run knows the path of its data.
    """

    def restored(split: str) -> Path:
        folder, copy = trained_once(split)
        shutil.rmtree(folder)
        return Path(shutil.copytree(copy, folder))

    return restored


def test_the_same_data_is_not_mentioned(trained: Callable[[str], Path]) -> None:
    folder = trained(RANDOM)
    for arguments in (("eval", "run"), ("report", "run"), ("train", "--resume", "run", "--epochs", "3")):
        silent = command(*arguments, cwd=folder)
        assert (silent.returncode, silent.stderr) == (0, ""), silent.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (rows(70), "`t.csv` has 30 rows more than when the run was trained"),
        (rows(39), "`t.csv` has 1 row fewer than when the run was trained"),
        (rows(40, 1.5), "`t.csv` has changed since the run was trained"),
    ],
)
def test_changed_data_is_said(content: str, message: str, trained: Callable[[str], Path]) -> None:
    folder = trained(RANDOM)
    (folder / "t.csv").write_text(content, encoding="utf-8")
    evaluated = command("eval", "run", "--json", cwd=folder)
    assert evaluated.returncode == 0
    assert json.loads(evaluated.stdout)["part"] == "test"
    assert f"warning[W0841]: {message}\n --> m.net:2:16\n" in evaluated.stderr
    assert 'split = hash("id", ' in evaluated.stderr
    reported = command("report", "run", cwd=folder)
    assert message in reported.stderr
    assert message.replace("`", "") in (folder / "run" / "report.html").read_text(encoding="utf-8").replace("`", "")
    before = {path.name: path.read_bytes() for path in (folder / "run").iterdir()}
    refused = command("train", "--resume", "run", "--epochs", "4", cwd=folder)
    assert refused.returncode == 1
    assert f"error[E0843]: {message}" in refused.stderr
    assert "--changed-data" in refused.stderr
    assert before == {path.name: path.read_bytes() for path in (folder / "run").iterdir()}
    resumed = command("train", "--resume", "run", "--epochs", "4", "--changed-data", cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    assert message in resumed.stderr
    assert command("eval", "run", cwd=folder).stderr == "", "the run was trained on this data last"


def test_the_same_data_elsewhere_is_the_same(
    trained: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What counts is the content, not the time of change."""
    folder = trained(RANDOM)
    os.utime(folder / "t.csv", (1, 1))
    assert command("eval", "run", cwd=folder).stderr == ""
    (folder / "t.csv").write_text(rows(41), encoding="utf-8")
    (folder / "t.csv").write_text(rows(40), encoding="utf-8")
    assert command("eval", "run", cwd=folder).stderr == ""


def test_data_that_no_longer_fits_has_changed(trained: Callable[[str], Path]) -> None:
    folder = trained(RANDOM)
    (folder / "t.csv").write_text(rows(40).replace("1.0,2,3", "many,2,3"), encoding="utf-8")
    refused = command("eval", "run", cwd=folder)
    assert refused.returncode == 1
    assert 'error[E0803]: "many" is not a number' in refused.stderr
    assert "warning[W0841]: `t.csv` has changed since the run was trained" in refused.stderr


def test_an_interrupted_epoch_begins_anew_with_changed_data(trained: Callable[[str], Path]) -> None:
    """No epoch counts that made no step: the data has become smaller than the place of the interruption."""
    folder = trained("ordered(train = 1.0)")
    run = open_run(folder / "run", to_train=True)
    run.progress.epoch, run.progress.step, run.progress.samples = 2, 9, 36
    run.progress.sums, run.progress.counts = {"loss": 9e9}, {"loss": 36.0}
    run.save()
    (folder / "t.csv").write_text(rows(12), encoding="utf-8")
    refused = command("train", "--resume", "run", "--epochs", "3", cwd=folder)
    assert "error[E0843]: `t.csv` has 28 rows fewer" in refused.stderr
    resumed = command("train", "--resume", "run", "--epochs", "3", "--changed-data", cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch 3 begins anew" in resumed.stdout
    last = json.loads((folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert last["epoch"] == 3
    assert last["train.loss"] < 1e6
    assert last["samples_per_second"] < 1e9


def test_an_interrupted_epoch_of_an_old_run_without_steps_left(trained: Callable[[str], Path]) -> None:
    """A run of an earlier version does not say what its data was."""
    folder = trained("ordered(train = 1.0)")
    run = open_run(folder / "run", to_train=True)
    run.progress.step, run.progress.samples = 10, 40
    run.save()
    forge(folder / "run", sources=None)
    refused = command("train", "--resume", "run", "--epochs", "3", cwd=folder)
    assert refused.returncode == 1
    assert "error[E0843]: the epoch that was interrupted has no samples left" in refused.stderr


def test_start_from_says_what_has_changed(trained: Callable[[str], Path]) -> None:
    folder = trained(RANDOM)
    text = TEXT.replace("SPLIT", RANDOM).replace("batch = 4", 'batch = 4\n  start_from = "run"')
    (folder / "n.net").write_text(text, encoding="utf-8")
    assert "has changed" not in command("train", "n.net", "--out", "second", cwd=folder).stdout
    (folder / "t.csv").write_text(rows(45), encoding="utf-8")
    started = command("train", "n.net", "--out", "third", cwd=folder)
    assert "`t.csv` has 5 rows more than when `run` was trained" in started.stdout


def test_records_of_folders_and_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renamed, added and changed files change the checksum. Large folders are not read; their stamp tells, as it does
    for a checksum of an earlier version."""
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 3), len(name)).save(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / ".DS_Store").write_text("", encoding="utf-8")
    folder, pattern = SourceSpec("images", "pictures", NOWHERE), SourceSpec("csv", "pictures/*/*.png", NOWHERE)
    assert len(files_of(folder, tmp_path)) == len(files_of(pattern, tmp_path)) == 3
    assert [file.name for file in files_of(SourceSpec("idx", "pictures/a/1", NOWHERE), tmp_path)] == ["1.png"]
    assert [file.name for file in files_of(SourceSpec("sql", "pictures/a/1.png", NOWHERE), tmp_path)] == ["1.png"]
    for source in (folder, pattern):
        before = recorded(source, tmp_path, 3)
        shutil.copytree(tmp_path, tmp_path.parent / f"copy-{source.reader}", dirs_exist_ok=True)
        assert before.change(recorded(source, tmp_path.parent / f"copy-{source.reader}", 3), "then") is None
        (tmp_path / "pictures" / "b" / "3.png").rename(tmp_path / "pictures" / "b" / "4.png")
        names = "`pictures/b/3.png` is gone, `pictures/b/4.png` is new"
        change = before.change(recorded(source, tmp_path, 3), "then")
        assert change == f"`{source.path}` has changed since then: {names}"
        (tmp_path / "pictures" / "b" / "4.png").rename(tmp_path / "pictures" / "b" / "3.png")
        assert before.change(recorded(source, tmp_path, 3), "then") is None
    earlier = replace(recorded(folder, tmp_path, 3), content="97f6cdd4")
    assert earlier.change(recorded(folder, tmp_path, 3), "then") is None
    monkeypatch.setattr(source_record, "LARGE", 10)
    large = recorded(folder, tmp_path, 3)
    assert large.content == ""
    assert large.change(recorded(folder, tmp_path, 3), "then") is None
    Image.new("L", (3, 3), 9).save(tmp_path / "pictures" / "a" / "1.png")
    os.utime(tmp_path / "pictures" / "a" / "1.png", (5, 5))
    assert large.change(recorded(folder, tmp_path, 3), "then") == "`pictures` has changed since then"


@pytest.mark.parametrize("source", ['csv("t*.csv")', 'csv("t1.csv", "t2.csv")', 'csv("parts/*/t.csv")'])
def test_the_files_that_have_changed_are_named(source: str, tmp_path: Path) -> None:
    """Also for a pattern that one file matches, and for several paths."""
    names = ["parts/a/t.csv", "parts/b/t.csv"] if "parts" in source else ["t1.csv", "t2.csv"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(rows(40), encoding="utf-8")
    (tmp_path / "m.net").write_text(TEXT.replace('csv("t.csv")', source).replace("SPLIT", RANDOM), encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    assert [sum(record.rows for record in run.info.sources), run.info.sources[0].files] == [80, 2]
    (tmp_path / names[1]).write_text(rows(40, 1.5), encoding="utf-8")
    (warning,) = changes(run.folder)
    assert warning.title.endswith(f"has changed since the run was trained: `{names[1]}` differs")
    (tmp_path / names[1]).write_text(rows(45), encoding="utf-8")
    (warning,) = changes(run.folder)
    assert warning.title.endswith(f"has 5 rows more than when the run was trained: `{names[1]}` differs")


def changes(folder: Path) -> tuple[Diagnostic, ...]:
    run = open_run(folder)
    return changes_of(run.load_data(), folder.parent, run.info.sources)


def test_a_pattern_that_one_file_matches(tmp_path: Path) -> None:
    (tmp_path / "t1.csv").write_text(rows(40), encoding="utf-8")
    text = TEXT.replace('csv("t.csv")', 'csv("t*.csv")').replace("SPLIT", RANDOM)
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    assert changes(run.folder) == ()
    (tmp_path / "t2.csv").write_text(rows(3), encoding="utf-8")
    (warning,) = changes(run.folder)
    assert warning.title == "`t*.csv` has 3 rows more than when the run was trained"


PICTURES = """data {
  source = images("t.csv", broken = skip)
  x = field("image") -> scale(1 / 255)
  y = column("label") -> classes
  split = ordered(train = 1.0)
}
model {
  input x: float[3, 3, 1]
  target y: class(2)
  z = x -> flatten -> dense(2)
  output p = z
  loss cross_entropy(z, y)
}
train { epochs = 1 }
"""


def test_pictures_that_a_table_names_are_part_of_the_data(tmp_path: Path) -> None:
    """One of them is not there: it is skipped, and so no part of the data."""
    (tmp_path / "pictures").mkdir()
    for name in ("0", "1", "2", "unread"):
        Image.new("L", (3, 3), 40).save(tmp_path / "pictures" / f"{name}.png")
    lines = [f"pictures/{i}.png;{'ab'[i % 2]}" for i in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["path;label", *lines]), encoding="utf-8")
    (tmp_path / "m.net").write_text(PICTURES, encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    assert run.info.sources[0].files == 4
    Image.new("L", (3, 3), 41).save(tmp_path / "pictures" / "unread.png")
    assert changes(run.folder) == ()
    Image.new("L", (3, 3), 41).save(tmp_path / "pictures" / "2.png")
    (warning,) = changes(run.folder)
    assert warning.title == "`t.csv` has changed since the run was trained: `pictures/2.png` differs"
    Image.new("L", (3, 3), 41).save(tmp_path / "pictures" / "3.png")
    (warning,) = changes(run.folder)
    files = "`pictures/2.png` differs, `pictures/3.png` is new"
    assert warning.title.endswith(f"1 row more than when the run was trained: {files}")
    (tmp_path / "t.csv").write_text("nothing\n1\n", encoding="utf-8")
    refused = command("eval", "run", cwd=tmp_path)
    assert "`t.csv` has no column `path`" in refused.stderr
    assert "W0841]: `t.csv` has changed since the run was trained" in refused.stderr

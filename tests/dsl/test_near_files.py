"""The hint for a path at which there is nothing: the most similar path that is there."""

from pathlib import Path

import pytest

from netc.dsl.diagnostics import Fault
from netc.dsl.parser import parse_file
from netc.dsl.storage.near_files import near_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("iris.net", "wine.net", "data/iris/iris.csv", "runs/iris/run.json", "runs/notes.txt", ".hidden.net"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("shown", "hint"),
    [
        ("irs.net", "iris.net"),
        ("IRIS.net", "iris.net"),
        ("iris", "iris.net"),
        ("iris.nt", "iris.net"),
        ("nofile.net", None),  # the same suffix does not make it similar to wine.net
        ("hidden.net", None),
        ("data/irs/iris.csv", "data/iris/iris.csv"),
        ("data/iris/iris.cvs", "data/iris/iris.csv"),
        ("dta/iris/iris.csv", "data/iris/iris.csv"),
        ("data/iris/wine.csv", None),
        ("", None),
        ("a\0b", None),
        ("iris.net", None),
        ("iris.csv", None),  # a model is not meant by a table
        ("data/iris/iris.csv.gz", "data/iris/iris.csv"),
    ],
)
def test_the_nearest_path(shown: str, hint: str | None, folder: Path) -> None:
    assert near_file(shown, folder) == (None if hint is None else f"did you mean `{hint}`?")


def test_a_run_is_a_folder_with_its_file(folder: Path) -> None:
    assert near_file("runs/iriss", folder, inside="run.json") == "did you mean `runs/iris`?"
    assert near_file("run", folder, inside="run.json") is None, "`runs` is not a run"


def test_a_folder_that_cannot_be_listed_gives_no_hint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: object) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("os.scandir", refused)
    assert near_file("irs.net", folder) is None


def test_the_folder_of_a_run_is_no_file_but_has_one(folder: Path) -> None:
    run = folder / "runs" / "iris"
    (run / "model.net").touch()
    with pytest.raises(Fault) as refused:
        parse_file(run)
    assert refused.value.diagnostics[0].hint == f"this is the folder of a run, and its file is `{run / 'model.net'}`"
    with pytest.raises(Fault) as refused:
        parse_file(folder / "data")
    assert refused.value.diagnostics[0].hint is None

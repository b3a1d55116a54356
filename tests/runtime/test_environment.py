"""The fingerprint of netc's files, the installed packages and the machine."""

import sys
from pathlib import Path

import pytest
from support import ROOT

import netc
from netc.runtime import environment

_FLOORS = ("dsl", "compiler", "runtime", "api")


def test_the_files_of_netc_are_read_and_no_others() -> None:
    paths = [line.split(" ")[0] for folder in environment._own_folders() for line in environment._files(folder)]
    sources = {str(path) for floor in _FLOORS for path in (ROOT / floor).rglob("*") if path.suffix in (".py", ".net")}
    assert {path for path in paths if not path.endswith(".lark")} == sources
    assert len(set(paths)) == len(paths)


def test_folders_within_another_one_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed netc is one folder."""
    for name in environment._OWN_PACKAGES:
        folder = tmp_path.joinpath(*name.split("."))
        folder.mkdir()
        (folder / "__init__.py").touch()
        monkeypatch.setattr(sys.modules[name], "__file__", str(folder / "__init__.py"))
    assert environment._own_folders() == [tmp_path.resolve() / "netc"]
    assert len(list(environment._files(tmp_path))) == len(environment._OWN_PACKAGES)


def test_a_file_that_changes_leads_to_another_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "facts_of_linux", lambda: ["model name: x"])
    monkeypatch.setattr(environment, "_own_folders", lambda: [tmp_path])
    (tmp_path / "a.py").write_text("a", encoding="utf-8")
    before = environment.fingerprint()
    assert before == environment.fingerprint()
    (tmp_path / "a.py").write_text("ab", encoding="utf-8")
    assert environment.fingerprint() not in (None, before)


@pytest.mark.parametrize("file", ["archive.zip/netc/__init__.py", "nowhere/__init__.py", None])
def test_there_is_no_fingerprint_without_files(
    file: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """netc is in an archive, or part of another program."""
    (tmp_path / "archive.zip").touch()
    monkeypatch.setattr(environment, "facts_of_linux", lambda: ["model name: x"])
    assert environment.fingerprint() is not None
    monkeypatch.setattr(netc, "__file__", file and str(tmp_path / file))
    assert environment.fingerprint() is None


@pytest.mark.parametrize(
    ("path", "text", "answer"),
    [
        ("a-1.dist-info/entry_points.txt", "[netc.passes]\nmine = a:mine\n", True),
        ("A-1.DIST-INFO/entry_points.txt", "[other]\nx = a:b\n[netc.readers]\nmine = a:mine\n", True),
        ("a.egg-info/entry_points.txt", "[netc.libraries]\nmine = a:mine\n", True),
        ("a-1.dist-info/entry_points.txt", "[console_scripts]\nnetc = netc.commands.main:console\n", False),
        ("a-1.dist-info/METADATA", "[netc.passes]\n", False),
        ("a/entry_points.txt", "[netc.passes]\n", False),
    ],
)
def test_packages_with_entry_points_are_found(
    path: str, text: str, answer: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / path).parent.mkdir()
    (tmp_path / path).write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "absent")])
    assert environment.may_have_entry_points("netc.") is answer


def test_an_archive_or_another_finder_may_have_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not environment.may_have_entry_points("netc.")
    (tmp_path / "archive.zip").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "archive.zip")])
    assert environment.may_have_entry_points("netc.")
    monkeypatch.setattr(sys, "path", [])

    class Finder:
        """A finder of a packager."""

        @classmethod
        def find_distributions(cls, context: object) -> list[object]:
            return []

        @classmethod
        def find_spec(cls, *_: object) -> None:
            return None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert environment.may_have_entry_points("netc.")

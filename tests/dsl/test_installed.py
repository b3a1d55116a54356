"""Versions of installed packages are those that importlib.metadata names."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from netc.dsl.storage.installed import version_of


@pytest.mark.parametrize("package", ["llvmlite", "numpy", "lark", "typer"])
def test_versions_are_those_of_the_packages_metadata(package: str) -> None:
    assert version_of(package) == version(package)


def test_the_first_folder_on_the_path_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "llvmlite-0.1.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert version_of("llvmlite") == "0.1"


def test_a_package_that_has_no_folder_is_asked_of_importlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "old_way.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: old_way\nVersion: 7.5\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert version_of("old_way") == "7.5"
    with pytest.raises(PackageNotFoundError):
        version_of("there_is_no_such_package")

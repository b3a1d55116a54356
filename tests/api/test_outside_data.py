"""Data outside of a file's own folder: an editor does not open it and says so, `netc check` says that it reads it."""

import asyncio
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from lsprotocol import types
from PIL import Image
from support import command
from test_editor import Editor, in_an_editor
from watching import nothing_outside_opens

from netc.editor.analysis import Analysis, Counts
from netc.editor.uses import definitions
from netc.runtime.data.access import is_below

TEXT = """data {
  source = SOURCE
  x = field("FEATURE") -> flatten
  y = column("LABEL") -> classes
}

model {
  input x: float[4]
  target y: class(auto)

  z = x -> dense(3)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""
TABLE = "".join(f'{{"x": [1, 2, 3, {i}], "y": "secret{i % 3}"}}\n' for i in range(30))


def text_of(source: str) -> str:
    is_image = source.startswith(("images", "idx"))
    text = TEXT.replace("SOURCE", source).replace("FEATURE", "image" if is_image else "x")
    return text.replace("LABEL", "label" if is_image else "y")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a project, and data beside the project."""
    project, data = tmp_path / "project", tmp_path / "data"
    project.mkdir()
    data.mkdir()
    (data / "t.jsonl").write_text(TABLE, encoding="utf-8")
    for i in range(30):
        picture = data / "pictures" / f"secret{i % 3}" / f"{i}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2), i).save(picture)
    idx = data / "idx"
    idx.mkdir()
    pixels, labels = bytes(range(120)), bytes(i % 3 for i in range(30))
    (idx / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + struct.pack(">3i", 30, 2, 2) + pixels)
    (idx / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + struct.pack(">i", 30) + labels)
    return tmp_path


def _link(folder: Path, name: str, target: str) -> None:
    (folder / "project" / name).symlink_to(folder / "data" / target)


def _link_idx(folder: Path) -> None:
    (folder / "project" / "idx").mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        _link(folder, f"idx/{name}", f"idx/{name}")


def _link_class(folder: Path) -> None:
    (folder / "project" / "mine").mkdir()
    for i in range(3):
        _link(folder, f"mine/class{i}", f"pictures/secret{i}")


def _table_of_pictures(folder: Path) -> None:
    rows = [f"../data/pictures/secret{i % 3}/{i}.png,c{i % 3}" for i in range(30)]
    (folder / "project" / "mine.csv").write_text("path,label\n" + "\n".join(rows), encoding="utf-8")


WAYS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "by a path upwards": ('jsonl("../data/t.jsonl")', lambda folder: None),
    "by a path upwards and back": ('jsonl("../project/../data/t.jsonl")', lambda folder: None),
    "by a whole path": ('jsonl("PLACE/data/t.jsonl")', lambda folder: None),
    "by a link": ('jsonl("t.jsonl")', lambda folder: _link(folder, "t.jsonl", "t.jsonl")),
    "by a link to a folder": ('jsonl("d/t.jsonl")', lambda folder: _link(folder, "d", ".")),
    "a folder of pictures": ('images("../data/pictures")', lambda folder: None),
    "a link to a folder of pictures": ('images("p")', lambda folder: _link(folder, "p", "pictures")),
    "links to folders of pictures": ('images("mine")', _link_class),
    "a table of pictures": ('images("mine.csv")', _table_of_pictures),
    "a folder of idx files": ('idx("../data/idx")', lambda folder: None),
    "the beginning of idx files' names": ('idx("../data/idx/train")', lambda folder: None),
    "links to idx files": ('idx("idx")', _link_idx),
}


@pytest.fixture(params=[pytest.param(way, id=name) for name, way in WAYS.items()])
def text(request: pytest.FixtureRequest, folder: Path) -> str:
    """A text that names data outside of its folder."""
    source, prepare = request.param
    prepare(folder)
    return text_of(source.replace("PLACE", str(folder)))


def test_an_editor_opens_nothing_outside_and_says_so(text: str, folder: Path) -> None:
    with nothing_outside_opens(folder / "project"):
        analysis = Analysis(text, folder / "project" / "m.net", Counts())
        (diagnostic,) = analysis.diagnostics
    assert diagnostic.code == "E0807"
    assert diagnostic.primary.span.text == text.partition("(")[2].partition(")")[0]
    assert "netc lsp --allow" in (diagnostic.hint or "")
    assert "secret1" not in diagnostic.render()
    assert analysis.names.at(text.index("z = x")) is not None, "what does not depend on the data is known all the same"


def test_the_watch_reports_files_that_are_opened(folder: Path) -> None:
    for look in (lambda: (folder / "data" / "t.jsonl").read_bytes(), lambda: list((folder / "data").iterdir())):
        with pytest.raises(AssertionError, match="opened: "), nothing_outside_opens(folder / "project"):
            look()


def test_data_of_the_workspace_is_opened(text: str, folder: Path) -> None:
    analysis = Analysis(text, folder / "project" / "m.net", Counts([folder]))
    assert not analysis.diagnostics, "three classes, as many as the logits"


def test_commands_read_outside_data_and_check_names_it(text: str, folder: Path) -> None:
    (folder / "project" / "m.net").write_text(text, encoding="utf-8")
    done = command("check", "project/m.net", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    outside = json.loads(done.stdout)["outside"]
    assert outside
    assert all(is_below(Path(path), [folder / "data"]) for path in outside)
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    if f'jsonl("{folder}' in text:
        assert not notes, "the path says where it is"
        return
    assert 1 <= len(notes) <= 9, "a note for each file, but not for thousands"
    assert notes[0].endswith(f"is {outside[0]}, outside of the folder of m.net")


def test_a_picture_in_a_folder_that_is_named_has_no_note_of_its_own(folder: Path) -> None:
    (folder / "project" / "m.net").write_text(text_of('images("../data/pictures")'), encoding="utf-8")
    done = command("check", "project/m.net", cwd=folder)
    assert done.stderr.count("outside of the folder") == 1, done.stderr


def test_check_names_data_that_no_field_reads(folder: Path) -> None:
    text = text_of('jsonl("../data/t.jsonl")').replace("class(auto)", "class(3)")
    (folder / "project" / "m.net").write_text(text, encoding="utf-8")
    assert "note: the data `../data/t.jsonl` is " in command("check", "project/m.net", cwd=folder).stderr
    (folder / "m.net").write_text(text.replace("../data", "data"), encoding="utf-8")
    assert command("check", "m.net", cwd=folder).stderr == ""


def test_check_names_data_before_it_is_read(folder: Path) -> None:
    (folder / "data" / "t.jsonl").write_text("broken", encoding="utf-8")
    (folder / "project" / "m.net").write_text(text_of('jsonl("../data/t.jsonl")'), encoding="utf-8")
    done = command("check", "project/m.net", cwd=folder)
    assert done.returncode == 1
    assert done.stderr.index("note: the data") < done.stderr.index("error[E0801]")


def test_parts_of_the_split_with_separate_files(folder: Path) -> None:
    (folder / "project" / "t.jsonl").write_text(TABLE, encoding="utf-8")
    text = text_of('jsonl("t.jsonl")\n  split = (train = jsonl("t.jsonl"), test = jsonl("../data/t.jsonl"))')
    (diagnostic,) = Analysis(text, folder / "project" / "m.net", Counts()).diagnostics
    assert (diagnostic.code, diagnostic.primary.span.text) == ("E0807", '"../data/t.jsonl"')


def test_a_text_without_a_file_has_no_folder_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    text = text_of('jsonl("data/t.jsonl")')
    with nothing_outside_opens():
        (diagnostic,) = Analysis(text, None, Counts()).diagnostics
    assert diagnostic.code == "E0807"
    assert not Analysis(text, None, Counts([folder])).diagnostics


def test_definitions_of_imports_are_searched_in_the_folder_only(folder: Path) -> None:
    block = "block twice(x) { return x + x }\n"
    for name in ("project", "data"):
        (folder / name / "blocks.net").write_text(block, encoding="utf-8")
    (folder / "project" / "linked.net").symlink_to(folder / "data" / "blocks.net")
    (folder / "data" / "blocks.txt").write_text(block, encoding="utf-8")

    def sources_of(path: str) -> list[Path | None]:
        text = f'import "{path}"\nmodel {{\n  input x: float[4]\n  output y = twice(x)\n}}\n'
        with nothing_outside_opens(folder / "project"):
            analysis = Analysis(text, folder / "project" / "m.net", Counts())
            return [definition.source.path for definition in definitions(analysis, text.index("twice"))]

    assert sources_of("blocks.net") == [folder / "project" / "blocks.net"]
    for outside in (
        "../data/blocks.net",
        f"{folder}/data/blocks.net",
        "linked.net",
        "../data/blocks.txt",
        "/etc/passwd",
    ):
        assert sources_of(outside) == [], outside


@pytest.mark.parametrize(
    ("arguments", "has_workspace", "options", "message"),
    [
        ((), False, None, "outside of this file's folder and of the workspace"),
        ((), True, None, None),
        (("--allow", "DATA"), False, None, None),
        ((), True, {"isTrusted": True}, None),
        (("--allow", "DATA"), True, {"isTrusted": False}, "in a workspace that is not trusted"),
    ],
)
def test_the_server_opens_only_allowed_folders(
    arguments: tuple[str, ...], has_workspace: bool, options: object, message: str | None, folder: Path
) -> None:
    async def talk(editor: Editor) -> None:
        editor.open(text_of('jsonl("../data/t.jsonl")'))
        faults = await asyncio.wait_for(editor.faults(), 600)
        if message is None:
            assert faults == []
            return
        assert [(fault.code, fault.severity) for fault in faults] == [("E0807", types.DiagnosticSeverity.Information)]
        assert message in faults[0].message

    words = [str(folder / "data") if word == "DATA" else word for word in arguments]
    in_an_editor(folder / "project" / "m.net", talk, words, folder if has_workspace else None, options)


def test_whether_a_path_is_below_a_folder(tmp_path: Path) -> None:
    inner, link, other = tmp_path / "a" / "b", tmp_path / "link", tmp_path / "ab"
    inner.mkdir(parents=True)
    other.mkdir()
    link.symlink_to(tmp_path / "a")
    assert is_below(inner / "x", [tmp_path / "a"])
    assert is_below(link / "b" / "x", [link])
    assert is_below(inner / "x", [link]), "a folder is the same by another name"
    assert not is_below(other / "x", [tmp_path / "a"])
    assert not is_below(link / ".." / "x", [link])
    assert not is_below(tmp_path / "x\0y", [tmp_path])
    assert not is_below(inner, [])

"""A run whose files were changed or forged is a message."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from support import command, forge, write_project


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained for one epoch, beside its data."""
    folder = tmp_path_factory.mktemp("trained")
    write_project(folder)
    command("train", "m.net", "--out", "run", "--epochs", "1", cwd=folder)
    return folder


@pytest.fixture
def forged(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run."""
    shutil.copytree(trained, tmp_path / "copy")
    return tmp_path / "copy" / "run"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": None}, "run.json: Object missing required field `seed`"),
        ({"seed": "1"}, "run.json: Expected `int`, got `str` - at `$.seed`"),
        (
            {"set": {"width": {"a": 1}}},
            "run.json: Expected `bool | int | float | str | array`, got `object` - at `$.set[...]`",
        ),
        ({"hashes": {}}, "model.net is not as training left it"),
        ({"plugins": ["antigravity"]}, "it was trained with the plug-in `antigravity`"),
        ({"plugins": "antigravity"}, "run.json: Expected `array`, got `str` - at `$.plugins`"),
    ],
)
def test_a_forged_run_is_a_message(forged: Path, changes: dict[str, object], message: str) -> None:
    forge(forged, **changes)
    refused = command("eval", forged.name, cwd=forged.parent)
    assert refused.returncode == 1
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"x": [[{"mean": "a"}]]}', b"{}", b"\xff", b'{"x": [{}]}'])
def test_forged_states_of_steps_are_a_message(forged: Path, content: bytes) -> None:
    (forged / "data.json").write_bytes(content)
    hashes = json.loads((forged / "run.json").read_text(encoding="utf-8"))["hashes"]
    forge(forged, hashes={**hashes, "data.json": [hashlib.sha256(content).hexdigest()]})
    refused = command("eval", forged.name, cwd=forged.parent)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error[E1001]: `run` is not a run\n"), refused.stderr

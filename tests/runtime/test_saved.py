"""Saved predictions are those of the compiler, from a cache that may vanish, be damaged or belong to others."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support import netc_command

import netc
from netc.commands.predicting import Selection, write_predictions
from netc.dsl.storage import records
from netc.runtime.runs import saved
from netc.runtime.runs.run_info import decoded, encoded

TEXT = """
data {
  source = csv("data.csv")
  x = columns("a", "b") -> standardize
  y = column("y") -> log
  kind = column("kind") -> classes
}
model {
  input x: float[2]
  target y: float
  target kind: class(3)
  h = x -> dense(5) -> tanh -> dropout(0.5)
  logits = h -> dense(3)
  output size = (h -> dense(1))[0]
  output chance = softmax(logits)
  loss mse(size, y)
  loss cross_entropy(logits, kind)
}
train {
  epochs = 2
  batch = 8
}
"""


def rows(count: int) -> str:
    random = np.random.default_rng(3)
    cells = [
        f"{a:.3f},{b:.3f},{1 + a * a:.3f},{'uvw'[i % 3]}" for i, (a, b) in enumerate(random.normal(size=(count, 2)))
    ]
    return "\n".join(["a,b,y,kind", *cells, ""])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.csv, the run `run`, and a cache with all kernels and no saved prediction."""
    folder = tmp_path_factory.mktemp("saved")
    (folder / "data.csv").write_text(rows(40))
    (folder / "m.net").write_text(TEXT)
    (folder / "cache").mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETC_CACHE", str(folder / "cache"))
        netc.train(netc.load(folder / "m.net"), out=folder / "run")
        predicted(folder)
        record_of(folder / "cache").unlink()
    return folder


@pytest.fixture
def cache(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the kernels, and no saved prediction."""
    shutil.copytree(trained / "cache", tmp_path / "cache")
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list of the runs that the compiler opened."""
    opened: list[object] = []
    by_compiler = netc.open

    def open_and_count(*arguments: object) -> netc.Run:
        opened.append(arguments)
        return by_compiler(*arguments)

    monkeypatch.setattr(netc, "open", open_and_count)
    return opened


def predicted(folder: Path, run: str = "run", data: str = "data.csv") -> str:
    """The output of the command."""
    out = folder / "out.csv"
    write_predictions(folder / run, folder / data, out)
    return out.read_text()


def test_a_saved_prediction_gives_the_same_bits(trained: Path, cache: Path, compiled: list[object]) -> None:
    (trained / "few.csv").write_text(rows(3))
    run = netc.open(trained / "run")
    expected = run.predict_prepared(netc_fields(trained))
    compiled.clear()
    first = predicted(trained)
    assert len(compiled) == 1
    assert predicted(trained) == first
    few = predicted(trained, data="few.csv")
    assert len(compiled) == 1, "the second prediction asks the compiler nothing"
    assert few.splitlines() == predicted(trained).splitlines()[:4]
    prediction = saved.open_saved(trained / "run")
    assert prediction is not None
    outputs = prediction.predict(netc_fields(trained))
    assert outputs is not None
    assert outputs.keys() == expected.keys() == {"size", "chance"}
    assert all(np.array_equal(outputs[name], expected[name]) for name in outputs)
    assert first.startswith("kind,size,chance[u],chance[v],chance[w]\n")


def netc_fields(folder: Path) -> dict[str, np.ndarray]:
    table = np.loadtxt(folder / "data.csv", delimiter=",", skiprows=1, usecols=(0, 1))
    run = json.loads((folder / "run" / "data.json").read_text())["x"][0]
    mean, deviation = (np.array(run[key]) for key in ("mean", "std"))
    return {"x": ((table - mean) / deviation).astype(np.float32)}


def test_a_saved_prediction_for_few_rows_is_compiled_again_for_more(
    trained: Path, cache: Path, compiled: list[object]
) -> None:
    (trained / "few.csv").write_text(rows(3))
    few = predicted(trained, data="few.csv")
    every = predicted(trained)
    assert len(compiled) == 2, "there was memory for three rows"
    assert predicted(trained, data="few.csv") == few
    assert predicted(trained) == every
    assert len(compiled) == 2


def record_of(cache: Path) -> Path:
    return next(cache.glob("prediction-*"))


def cut(cache: Path) -> None:
    record_of(cache).write_bytes(record_of(cache).read_bytes()[:-1])


def turn_a_bit(cache: Path) -> None:
    content = bytearray(record_of(cache).read_bytes())
    content[-9] ^= 1
    record_of(cache).write_bytes(content)


def forge(content: bytes) -> Callable[[Path], None]:
    """Writes a record whose digest is right."""
    return lambda cache: records.write(record_of(cache).name, content)


def change(value: object, *keys: str) -> Callable[[Path], None]:
    """Replaces a value of the record."""

    def write(cache: Path) -> None:
        content = records.read(record_of(cache).name)
        assert content is not None
        head, _, step = content.partition(b"\n")
        record = json.loads(head)
        inner = record
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        records.write(record_of(cache).name, json.dumps(record).encode() + b"\n" + step)

    return write


def remove_kernels(cache: Path) -> None:
    for path in cache.glob("*.o"):
        path.unlink()


def swap_kernels(cache: Path) -> None:
    paths = sorted(cache.glob("*.o"))
    contents = [path.read_bytes() for path in paths]
    for path, content in zip(paths, [*contents[1:], contents[0]], strict=True):
        path.write_bytes(content)


DAMAGES = {
    "cut": cut,
    "a bit": turn_a_bit,
    "empty": forge(b""),
    "no JSON": forge(b"{\n"),
    "another type": forge(b"[1, 2]\n"),
    "no code": change([], "program", "kernels"),
    "a path for a kernel": change(["../../etc/passwd"], "program", "kernels"),
    "a text for a number": change("8", "program", "batch"),
    "no kernels": remove_kernels,
    "another kernel": swap_kernels,
}


def test_damage_is_a_miss(trained: Path, cache: Path, compiled: list[object]) -> None:
    expected = predicted(trained)
    content = record_of(cache).read_bytes()
    kernels = {path: path.read_bytes() for path in cache.glob("*.o")}
    for name, damage in DAMAGES.items():
        damage(cache)
        assert saved.open_saved(trained / "run") is None, name
        record_of(cache).write_bytes(content)
        for path, code in kernels.items():
            path.write_bytes(code)
        assert saved.open_saved(trained / "run") is not None, name
    turn_a_bit(cache)
    assert predicted(trained) == expected
    assert len(compiled) == 2
    assert saved.open_saved(trained / "run") is not None, "it was saved again"


def test_the_key_contains_everything_that_decides_a_prediction(
    trained: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    predicted(trained)
    assert saved.open_saved(trained / "run") is not None
    with monkeypatch.context() as other:
        other.setenv("NETC_TARGET", "sse2")
        assert saved.open_saved(trained / "run") is None
    with monkeypatch.context() as other:
        package = tmp_path / "packages" / "more-1.0.dist-info"
        package.mkdir(parents=True)
        other.setattr(sys, "path", [*sys.path, str(package.parent)])
        assert saved.open_saved(trained / "run") is None
    shutil.copytree(trained / "run", trained / "again", dirs_exist_ok=True)
    assert saved.open_saved(trained / "again") is not None, "the same run elsewhere"
    info = decoded((trained / "again" / "run.json").read_bytes())
    info.seed += 1
    (trained / "again" / "run.json").write_bytes(encoded(info))
    assert saved.open_saved(trained / "again") is None
    assert saved.open_saved(trained / "run") is not None


def test_a_run_that_changes_during_a_prediction_is_not_saved(
    trained: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler predicts by what it opened; the files may be another run's when the prediction is saved."""
    run = shutil.copytree(trained / "run", tmp_path / "run")
    by_compiler = netc.open

    def open_and_change(*arguments: object) -> netc.Run:
        opened = by_compiler(*arguments)
        info = decoded((run / "run.json").read_bytes())
        info.seed += 1
        (run / "run.json").write_bytes(encoded(info))
        return opened

    monkeypatch.setattr(netc, "open", open_and_change)
    write_predictions(run, trained / "data.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith("kind,size")
    assert not list(cache.glob("prediction-*"))


def test_a_run_that_vanishes_during_a_prediction_still_predicts(
    trained: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(trained / "run", tmp_path / "run")
    by_compiler = netc.open

    def open_and_delete(*arguments: object) -> netc.Run:
        opened = by_compiler(*arguments)
        shutil.rmtree(run)
        return opened

    monkeypatch.setattr(netc, "open", open_and_delete)
    write_predictions(run, trained / "data.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith("kind,size")


def test_threads_of_one_prediction_do_not_limit_later_ones(
    trained: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netc.runtime.execution.prepared._WORTH_SHARING", 0)
    write_predictions(trained / "run", trained / "data.csv", trained / "out.csv", threads=1)
    later = saved.open_saved(trained / "run", threads=2)
    assert later is not None
    assert later.members == 2


@pytest.mark.parametrize(
    "selection", [Selection(outputs=["size"]), Selection(provided=["h"]), Selection(beam=2), Selection(plugins=["os"])]
)
def test_predictions_with_options_are_compiled(selection: Selection) -> None:
    assert not selection.is_default


def test_a_text_that_may_import_another_is_not_saved(trained: Path, cache: Path) -> None:
    text = TEXT.replace("data {", 'data { # or import "other.net"', 1).replace("data.csv", str(trained / "data.csv"))
    netc.train(netc.parse(text), out=trained / "text", epochs=1)
    predicted(trained, "text")
    assert not list(cache.glob("prediction-*"))


IMPORTS = """
import sys
from netc.commands.main import main
sys.argv = ["netc", *sys.argv[1:]]
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""
NEVER = (
    *("llvmlite", "lark", "networkx", "polars", "typer", "click", "pydantic", "rich", "jinja2"),
    *(
        "PIL",
        "importlib.metadata",
        "netc.dsl.parser",
        "netc.dsl.syntax",
        "netc.compiler.elaborate",
        "netc.compiler.passes",
    ),
    *("netc.compiler.operations", "netc.compiler.lowering", "netc.compiler.planning", "netc.compiler.ir.graph"),
    *("netc.compiler.ir.value", "netc.compiler.model", "netc.runtime.training", "netc.runtime.runs.run"),
)


def test_a_warm_prediction_imports_little(trained: Path, cache: Path) -> None:
    words = ["predict", str(trained / "run"), str(trained / "data.csv")]
    first = subprocess.run(netc_command(*words), capture_output=True, text=True, check=True)
    second = subprocess.run([sys.executable, "-c", IMPORTS, *words], capture_output=True, text=True, check=True)
    assert second.stdout == first.stdout
    modules = set(second.stderr.split())
    assert "netc.runtime.runs.saved" in modules
    assert not modules & {*NEVER}


PICTURES = """data {
  source = images("pictures", size = (6, 5), ground = "black")
  image = field("image") -> STEPS
  label = field("label") -> classes
  split = ordered(train = 1.0)
}
model {
  input image: float[6, 5, 3]
  target label: class(2)
  z = image -> flatten -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, label)
}
train {
  epochs = 1
}
"""


@pytest.mark.parametrize("steps", ["scale(1 / 255)", "train_only(flip(horizontal)) -> scale(1 / 255)", "standardize"])
def test_pictures_have_their_names_from_the_cache_too(steps: str, tmp_path: Path, compiled: list[object]) -> None:
    from PIL import Image

    pixels = np.random.default_rng(5).integers(0, 256, (9, 7, 8, 4), np.uint8)
    for i, picture in enumerate(pixels):
        folder = tmp_path / "pictures" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture, "RGBA").save(folder / f"{i}.png")
    (tmp_path / "new").mkdir()
    for i in (0, 3, 5):
        Image.fromarray(pixels[i], "RGBA").save(tmp_path / "new" / f"photo {i}.png")
    (tmp_path / "new" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "m.net").write_text(PICTURES.replace("STEPS", steps), encoding="utf-8")
    netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    first = predicted(tmp_path, data="new")
    assert [line.split(",")[0] for line in first.splitlines()] == [
        *("path", "broken.png", "photo 0.png", "photo 3.png", "photo 5.png")
    ]
    assert len(compiled) == 1
    assert predicted(tmp_path, data="new") == first
    alone = predicted(tmp_path, data="new/photo 3.png")
    assert alone.splitlines()[1] == first.splitlines()[3]
    assert len(compiled) == 1, "later predictions ask the compiler nothing"

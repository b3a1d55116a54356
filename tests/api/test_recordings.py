"""Commands as a terminal of 80 and of 120 columns shows them, as golden files: `recordings/NAME-COLUMNS.txt`.

Times, rates and bars are masked (`tests/terminals.py`). `--update-golden` rewrites the files.
"""

import re
import shutil
from pathlib import Path

import pytest
from support import ROOT, command
from terminals import Moment, Recording, masked, record

FOLDER = Path(__file__).parent / "recordings"
WIDTHS = pytest.mark.parametrize("columns", [80, 120])
SLOW = """data {
  source = idx("data/mnist/train")
  image = field("image") -> scale(1 / 255) -> reshape(784)
  digit = field("label")
  split = (train = 0.9, valid = 0.1)
}
model {
  input image: float[784]
  target digit: class(10)
  logits = image -> dense(256) -> relu -> dense(256) -> relu -> dense(10)
  output probability = softmax(logits)
  loss cross_entropy(logits, digit)
  metric accuracy(logits, digit)
}
train {
  optimizer = sgd(lr = 0.1)
  batch = 8
  epochs = 2
}
"""
STUDY = """let width = 8
study {
  width = int(4, 16)
  search = random
  trials = 4
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with examples and their data."""
    for name in ("iris",):
        shutil.copy(ROOT / "examples" / f"{name}.net", tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "examples" / "data")
    (tmp_path / "slow.net").write_text(SLOW, encoding="utf-8")
    text = (tmp_path / "iris.net").read_text(encoding="utf-8").replace("dense(16)", "dense(width)")
    (tmp_path / "study.net").write_text(STUDY + text, encoding="utf-8")
    folds = (tmp_path / "iris.net").read_text(encoding="utf-8")
    folds = folds.replace("(train = 0.7, valid = 0.1, test = 0.2)", "folds(3, test = 0.2)")
    early = "early_stop = (metric = valid.loss, patience = 3)\n  keep = best(valid.loss)\n  epochs = 40"
    (tmp_path / "folds.net").write_text(folds.replace("epochs = 60", early), encoding="utf-8")
    return tmp_path


def require_width(recording: Recording, columns: int) -> None:
    """No line fills the terminal, which would have wrapped it."""
    for text in (*recording.moments, recording.text):
        assert not [line for line in text.splitlines() if len(line) >= columns]


@WIDTHS
def test_train(columns: int, project: Path, golden) -> None:
    recording = record(
        columns,
        project,
        "train",
        "iris.net",
        "--epochs",
        30,
        moments=[Moment(r"compiling  .*of \d+ kernels")],
        environment={"NETC_CACHE": str(project / "cache")},
    )
    assert recording.status == 0
    require_width(recording, columns)
    golden(FOLDER / f"compile-{columns}.txt", masked(recording.moments[0]))
    golden(FOLDER / f"train-{columns}.txt", masked(recording.text))


@WIDTHS
def test_train_stops_early_and_keeps_the_best(columns: int, project: Path, golden) -> None:
    text = (project / "iris.net").read_text(encoding="utf-8")
    early = "early_stop = (metric = valid.loss, patience = 2)\n  keep = best(valid.accuracy)\n  epochs"
    (project / "iris.net").write_text(text.replace("epochs", early), encoding="utf-8")
    recording = record(columns, project, "train", "iris.net", "--set", "lr=0.2")
    assert recording.status == 0
    require_width(recording, columns)
    golden(FOLDER / f"early-{columns}.txt", masked(recording.text))


@WIDTHS
@pytest.mark.parametrize("option", ["plain", "values"])
def test_check(columns: int, option: str, golden) -> None:
    recording = record(columns, ROOT, "check", "examples/lenet.net", *(["--values"] if option == "values" else []))
    assert recording.status == 0
    require_width(recording, columns)
    golden(FOLDER / f"check-{option}-{columns}.txt", masked(recording.text))


@WIDTHS
def test_errors(columns: int, project: Path, golden) -> None:
    text = (project / "iris.net").read_text(encoding="utf-8")
    (project / "wrong.net").write_text(
        text.replace("dense(3)", "dens(3)").replace("logits,", "logit,"), encoding="utf-8"
    )
    texts = []
    for words in (
        ("train", "wrong.net"),
        ("train", "irs.net"),
        ("train", "study.net", "--set", "widht=3"),
        ("trian", "iris.net"),
        ("eval", "runs/iris"),
    ):
        recording = record(columns, project, *words)
        assert recording.status in (1, 2)
        texts.append(f"$ netc {' '.join(words)}\n{recording.text}")
    golden(FOLDER / f"errors-{columns}.txt", "\n".join(texts))


@WIDTHS
def test_study(columns: int, project: Path, golden) -> None:
    recording = record(columns, project, "study", "study.net", "--workers", 1)
    assert recording.status == 0
    require_width(recording, columns)
    golden(FOLDER / f"study-{columns}.txt", masked(recording.text))


@WIDTHS
def test_folds(columns: int, project: Path, golden) -> None:
    recording = record(columns, project, "train", "folds.net", "--folds")
    assert recording.status == 0
    require_width(recording, columns)
    golden(FOLDER / f"folds-{columns}.txt", masked(recording.text))


@pytest.mark.every(2)  # it waits for epochs
@WIDTHS
def test_ctrl_c_and_resume(columns: int, project: Path, golden) -> None:
    """The screen in the second epoch, with the line at the bottom; the answer to Ctrl-C; the resumed run to its end."""
    command("train", "slow.net", "--epochs", 1, "--out", "warm", cwd=project)  # its kernels are in the cache
    moment = Moment(r"epoch 2/2 .*loss .*\n\* best by", b"\x03")
    recording = record(columns, project, "train", "slow.net", moments=[moment])
    assert recording.status == 130
    resumed = record(columns, project, "train", "--resume", "runs/slow")
    assert resumed.status == 0
    require_width(recording, columns)
    require_width(resumed, columns)
    text = re.sub(r"[\d,]+ samples$", "N samples", masked(resumed.text), flags=re.MULTILINE)
    parts = recording.moments[0], recording.text, text
    golden(FOLDER / f"interrupted-{columns}.txt", "\n".join(masked(part) for part in parts))
    assert_same_bits(project)


def assert_same_bits(project: Path) -> None:
    """The interrupted and resumed run has the parameters of one that was not interrupted."""
    command("train", "slow.net", "--out", "whole", cwd=project)
    uninterrupted, resumed = ((project / run / "metrics.jsonl").read_text() for run in ("whole", "runs/slow"))
    times = re.compile(r'"(seconds|samples_per_second)": [\d.e+]+')
    assert times.sub("", uninterrupted) == times.sub("", resumed)

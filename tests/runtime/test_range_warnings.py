"""Warnings about numbers that do not suit the model, and notes about numbers far outside of those of training."""

from pathlib import Path

import numpy as np
import pytest
from support import command

import netc
from netc.dsl.source import NOWHERE
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import Dataset, load
from netc.runtime.data.steps.numeric import STANDARDIZE
from netc.runtime.data.tables.cells import Location

ROWS = range(60, 100)


def dataset(folder: Path, steps: str, model: str) -> Dataset:
    """A table with a column `year` from 60 to 99, and one row of the part `valid` with the year 1990."""
    rows = [*(f"{year},{year % 7},train" for year in ROWS), "1990,3,valid"]
    (folder / "t.csv").write_text("year,y,part\n" + "\n".join(rows) + "\n", encoding="utf-8")
    text = f"""data {{
  source = csv("t.csv")
  x = column("year"){steps}
  y = column("y")
  split = column("part")
}}
model {{
  input x: float
  target y: float
  {model}
}}
"""
    (folder / "m.net").write_text(text, encoding="utf-8")
    read = netc.load(folder / "m.net")
    return load(read, parse_data(read))


LINEAR = "output z = unsqueeze(x) -> dense(1) -> squeeze\n  loss mse(z, y)"


@pytest.mark.parametrize("steps", [" -> standardize", " -> minmax"])
def test_a_number_far_outside_of_training_is_noted(tmp_path: Path, steps: str) -> None:
    words = "they went from 60 to 99"
    note = f"column `year`: 1 cell far outside of what training had: 1990; {words}"
    assert dataset(tmp_path, steps, LINEAR).remarks["valid"] == (note,)
    assert command("train", "m.net", cwd=tmp_path).returncode == 0
    (tmp_path / "new.csv").write_text("year\n75\n99\n101\n1981\n1982\n1983\n1984\n1985\n", encoding="utf-8")
    predicted = command("predict", "runs/m", "new.csv", cwd=tmp_path)
    assert predicted.stderr.splitlines() == [
        f"note: column `year`: 5 cells far outside of what training had: 1981, 1982, 1983; {words}"
    ]


def test_a_rare_number_of_training_is_not_noted(tmp_path: Path) -> None:
    """A single 1 among 1,000 zeros is 31 standard deviations from the mean."""
    location = Location("t.csv", ("x",), np.arange(1000), NOWHERE)
    state = STANDARDIZE.fit(lambda: iter([(np.eye(1, 1000)[0], location)]), ())
    STANDARDIZE.apply(np.array([1.0, 0.5, 0.0]), state, location)
    assert location.remarks.unseen == {}
    STANDARDIZE.apply(np.array([1.5, 0.0, -1.0]), state, location)
    assert [entry.examples for entry in location.remarks.unseen.values()] == [["1.5", "-1"]]


@pytest.mark.parametrize("limits", [{}, {"min": None, "max": None}, {"min": 2.0}])
def test_a_run_without_limits_notes_nothing(limits: dict[str, float | None]) -> None:
    """An older run has none, and the folder of a run may come from somebody else."""
    location = Location("t.csv", ("x",), np.arange(2), NOWHERE)
    values = STANDARDIZE.apply(np.array([3.0, 90.0]), {"mean": 3.0, "std": 0.5, **limits}, location)
    assert values.tolist() == [0.0, 174.0]
    assert location.remarks.unseen == {}


def test_numbers_without_a_range_are_not_noted(tmp_path: Path) -> None:
    assert dataset(tmp_path, "", LINEAR).remarks["valid"] == ()


@pytest.mark.parametrize(
    ("last", "loss", "expected"),
    [
        ("sigmoid", "mse", ["W0837"]),
        ("tanh", "mae", ["W0837"]),
        ("tanh", "binary_cross_entropy", ["W0837"]),
        ("softplus", "mse", []),
    ],
)
def test_targets_beyond_the_output_are_warned_of(tmp_path: Path, last: str, loss: str, expected: list[str]) -> None:
    model = f"z = unsqueeze(x) -> dense(1) -> {last} -> squeeze\n  loss {loss}(z, y)"
    assert [warning.code for warning in dataset(tmp_path, " -> standardize", model).warnings] == expected


def pictures(folder: Path, steps: str, layers: str) -> list[str]:
    """The codes of the warnings about pictures of 4 x 4 pixels."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 4, 4, 1)).astype(np.uint8)
    np.savez(folder / "t.npz", image=images, y=np.arange(20) % 2)
    text = f"""data {{
  source = npz("t.npz")
  x = field("image"){steps}
  y = field("y")
  split = ordered(train = 1.0)
}}
model {{
  input x: float[4, 4, 1]
  target y: class(2)
  z = x -> {layers} -> flatten -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
}}
"""
    (folder / "m.net").write_text(text, encoding="utf-8")
    model = netc.load(folder / "m.net")
    return [warning.code for warning in load(model, parse_data(model)).warnings]


def test_raw_pixels_are_warned_of_where_weights_read_them(tmp_path: Path) -> None:
    assert pictures(tmp_path, "", "conv(2, kernel = 3, pad = same)") == ["W0801"]
    assert pictures(tmp_path, "", "flatten -> dense(3)") == ["W0801"]
    assert pictures(tmp_path, " -> scale(1 / 255)", "conv(2, kernel = 3)") == []
    assert pictures(tmp_path, "", "layernorm -> conv(2, kernel = 3)") == []


def test_counts_of_words_are_no_pixels(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("t,y\n" + "".join(f"{'ab' * 30}{'xyz'[i % 3]},{i % 2}\n" for i in range(12)))
    text = """data {
  source = csv("t.csv")
  x = column("t") -> ngrams(2, 20)
  y = column("y")
  split = ordered(train = 1.0)
}
model {
  input x: float[20]
  target y: class(2)
  z = x -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
"""
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    assert "W0801" not in {warning.code for warning in load(model, parse_data(model)).warnings}

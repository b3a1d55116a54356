"""A run that is opened to predict has no optimizer. It gets one when training continues, with the same results."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.compiler import pipeline
from netc.compiler.backends import target_of
from netc.compiler.targets.target import Ranks
from netc.dsl.diagnostics import Fault
from netc.dsl.storage.files import content_of
from netc.runtime.execution.compiled_model import Options
from netc.runtime.program import Program
from netc.runtime.runs import run_files
from netc.runtime.runs.opening import open_run
from netc.runtime.runs.writing import rewrite_model
from netc.runtime.trainer import train

NET = """model {
  input x: float[3]
  target y: float
  h = x -> dense(4) -> tanh
  output p = h -> dense(1) -> squeeze
  loss mse(p, y)
}
train {
  optimizer = adam(lr = 0.01)
  batch = 8
  epochs = 2
}
"""


class Interpreted(Program):
    def __init__(
        self, model: netc.Model, seed: int | None = None, threads: int | None = None, ranks: Ranks | None = None
    ) -> None:
        super().__init__(model, seed, "reference", threads=threads, ranks=ranks)


@pytest.fixture
def data() -> dict[str, Any]:
    x = np.random.default_rng(1).standard_normal((16, 3)).astype(np.float32)
    return {"x": x, "y": x.sum(axis=1)}


@pytest.fixture
def folder(tmp_path: Path, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a trained run. Everything here runs in the interpreter."""
    monkeypatch.setattr(netc, "Program", Interpreted)
    monkeypatch.setattr("netc.runtime.runs.opening.Program", Interpreted)
    monkeypatch.setattr("netc.runtime.runs.opening.Options", partial(Options, target=target_of("reference")))
    return netc.train(netc.parse(NET), data, tmp_path / "run").folder


def test_predicting_and_evaluating_need_no_training_graph(
    folder: Path, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = open_run(folder, to_train=True)
    monkeypatch.setattr(pipeline, "training_graph", None)
    opened = netc.open(folder)
    np.testing.assert_array_equal(
        opened.predict_prepared({"x": data["x"]})["p"], expected.predict_prepared({"x": data["x"]})["p"]
    )
    assert opened.program.evaluate(data) == expected.program.evaluate(data)
    with pytest.raises(TypeError):
        opened.program.step({name: array[:8] for name, array in data.items()})


def test_training_continues_with_the_states_of_the_optimizer(folder: Path, data: dict[str, Any]) -> None:
    opened, expected = netc.open(folder), open_run(folder, to_train=True)
    opened.predict_prepared({"x": data["x"]})  # steps that were built before are built again in the new memory
    batch = {name: array[:8] for name, array in data.items()}
    assert opened.program.step(batch) == expected.program.step(batch)
    assert opened.program.persistent.keys() == expected.program.persistent.keys()
    assert "optimizer.step" in opened.program.persistent
    for name, array in expected.program.persistent.items():
        np.testing.assert_array_equal(opened.program.persistent[name], array, err_msg=name)
    np.testing.assert_array_equal(
        opened.predict_prepared({"x": data["x"]})["p"], expected.predict_prepared({"x": data["x"]})["p"]
    )


def test_views_of_parameters_show_later_steps(folder: Path, data: dict[str, Any]) -> None:
    program = netc.open(folder).program
    with program.guard.reading:
        weights = program.parameters["h.dense.W"]
    before = weights.copy()
    program.step({name: array[:8] for name, array in data.items()})
    assert (weights != before).all()
    weights[...] = 0
    np.testing.assert_array_equal(program.parameters["h.dense.W"], np.zeros_like(weights))


def test_states_of_another_checkpoint_are_refused(folder: Path, data: dict[str, Any]) -> None:
    opened, other = netc.open(folder), open_run(folder, to_train=True)
    other.dataset = netc.train(netc.parse(NET), data, folder.parent / "same").dataset
    train(other, 3, lambda report: None, lambda row: None)
    opened.predict_prepared({"x": data["x"]})
    for _ in range(2):
        with pytest.raises(Fault) as refused:
            opened.program.step({name: array[:8] for name, array in data.items()})
        assert refused.value.diagnostics[0].code == "E1001"


def test_a_run_that_is_trained_further_meanwhile_is_read_as_it_was_opened(folder: Path, data: dict[str, Any]) -> None:
    """Gradients and views of the parameters, which a report needs, are those of the epoch that was read."""
    batch = {name: array[:8] for name, array in data.items()}
    expected = netc.open(folder).program.gradients(batch)
    opened, other = netc.open(folder), open_run(folder, to_train=True)
    other.dataset = netc.train(netc.parse(NET), data, folder.parent / "same").dataset
    train(other, 3, lambda report: None, lambda row: None)
    loss, gradients = opened.program.gradients(batch)
    assert loss == expected[0]
    assert all(np.array_equal(gradients[name], expected[1][name]) for name in gradients)
    assert not np.array_equal(opened.program.parameters["h.dense.W"], other.program.parameters["h.dense.W"])
    assert len(opened.metrics) == 2


def test_files_that_are_replaced_while_a_run_is_read_are_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process changes the model's text between the two reads, as `netc train --resume RUN M.net` does."""
    run, text = open_run(folder), NET.replace("epochs = 2", "epochs = 5")

    def reading(path: Path) -> bytes:
        content = content_of(path)
        if path.name == "run.json":
            monkeypatch.setattr(run_files, "content_of", content_of)
            rewrite_model(run, netc.parse(text), {})
        return content

    monkeypatch.setattr(run_files, "content_of", reading)
    assert open_run(folder).model.source.text == text
    (folder / "model.net").write_text(NET.replace("tanh", "relu"), encoding="utf-8")
    with pytest.raises(Fault, match=r"model\.net is not as training left it"):
        open_run(folder)

"""Models share programs if they differ only in numbers that a step reads, and in settings of the runtime."""

from pathlib import Path
from typing import Any

import pytest

from netc.compiler import pipeline
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.graph import print_graph
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.program import Program
from netc.runtime.studies.segments import Segment, Segments
from netc.runtime.training.programs import programs_of

TEXT = """
let width = 4
let rate = 0.2
data {
  source = csv("t.csv")
  x = columns("a", "b")
  y = column("kind") -> classes
  split = folds(3)
}
model {
  input x: float[2]
  target y: class(2)
  z = x -> dense(width) -> tanh -> dropout(rate) -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
train {
  batch = 8
  epochs = 2
}
"""
SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"lr": 0.5}),
    ({}, {"beta1": 0.5, "beta2": 0.9, "eps": 1e-6}),
    ({"optimizer": "sgd(0.1, momentum = 0.9)"}, {"optimizer": "sgd(0.2, momentum = 0.1)"}),
    ({"decay": 0.1}, {"decay": 0.2}),
    ({"clip_norm": 1.0}, {"clip_norm": 2.0}),
    ({"clip_value": 1.0}, {"clip_value": 2.0}),
    ({"optimizer": "rmsprop(alpha = 0.9, momentum = 0.5)"}, {"optimizer": "rmsprop(alpha = 0.5, momentum = 0.9)"}),
    ({"optimizer": "adagrad(lr_decay = 0.1)"}, {"optimizer": "adagrad(lr_decay = 0.5)"}),
    ({"keep": "average(0.9)"}, {"keep": "average(0.5)"}),
    ({}, {"epochs": 7, "seed": 3, "shuffle": False, "schedule": "cosine()"}),
    ({}, {"early_stop": "(metric = train.loss, patience = 2)", "keep": "best(train.loss)"}),
]
OTHER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"width": 5}),
    ({}, {"rate": 0.3}),
    ({}, {"batch": 9}),
    ({}, {"precision": "f64"}),
    ({}, {"optimizer": "adamw"}),
    ({}, {"decay": 0.1}),
    ({}, {"clip_norm": 1.0}),
    ({}, {"accumulate": 2}),
    ({}, {"freeze": '"*.b"'}),
    ({}, {"lr_scale": '("*.b" = 0.5)'}),
    ({}, {"keep": "average(0.9)"}),
    ({"optimizer": "sgd(0.1)"}, {"optimizer": "sgd(0.1, momentum = 0.9)"}),
    ({"optimizer": "sgd(0.1, momentum = 0.9)"}, {"optimizer": "sgd(0.1, momentum = 0.9, nesterov = true)"}),
]


@pytest.mark.parametrize(("first", "other"), [*SAME, *OTHER])
def test_models_share_programs_if_their_steps_are_the_same(first: dict[str, Any], other: dict[str, Any]) -> None:
    models = [elaborate(parse(Source("m.net", TEXT)), settings) for settings in (first, other)]
    graphs = [print_graph(pipeline.training_graph(model)) for model in models]
    if (first, other) in SAME:
        assert programs_of(models[0]) == programs_of(models[1])
        assert graphs[0] == graphs[1]
    else:
        assert programs_of(models[0]) != programs_of(models[1])


def test_trials_of_one_shape_are_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{i % 7},{i % 5},{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,kind", *rows]) + "\n", encoding="utf-8")
    built = list[int]()

    build = Program.of_options

    def counted(*arguments: Any) -> Program:
        built.append(1)
        return build(*arguments)

    monkeypatch.setattr(Program, "of_options", counted)
    segments = Segments(parse(Source("m.net", TEXT, tmp_path / "m.net")))
    trials = [Segment({"lr": lr, "width": 3}, 2, fold, seed) for lr in (0.1, 0.2) for fold in (1, 2) for seed in (0, 1)]
    results = segments.train_all(trials, workers=1)
    assert len(built) == 1
    assert len({result.state for result in results}) == len(trials)
    assert segments.train_all(trials[::-1], workers=1) == results[::-1]
    segments.train_all([Segment({"width": 4}, 1, 1)], workers=1)
    assert len(built) == 2

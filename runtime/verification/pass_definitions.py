"""Tests the definition of a pass, on its example and on models of every kind: `netc ops --test NAME`."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from netc.compiler import pipeline
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.ir.graph import Graph, print_graph
from netc.compiler.pipeline import Pass
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.program import Program
from netc.runtime.verification.findings import BATCH, Failure, Finding, at, compare


def findings_of_pass(stage: Pass) -> Iterator[Finding]:
    """Yields findings about a pass, on its example, which it must change, and on models of every kind.

    A training step, interpreted in f64, must give the same results with the pass and without it.
    """
    if not stage.example:
        yield Finding("example", stage.name, "there is none to test it with")
    for text in (*([stage.example] if stage.example else ()), *_MODELS):
        case = "its example" if text == stage.example else text.split("\n")[0].lstrip("# ")
        try:
            _test_pass(stage, text, must_act=text == stage.example)
        except Failure as failure:
            yield Finding(failure.point, f"{stage.name}, {case}", failure.message)


# models that a pass is tested on
_MODELS = (
    """# a dense network
model {
  input x: float[5]
  target y: class(3)
  z = x -> dense(7) -> relu -> dense(3)
  loss cross_entropy(z, y)
}
""",
    """# a convolutional network with normalisation and dropout
model {
  input x: float[6, 6, 2]
  target y: class(3)
  z = x -> conv(4) -> batchnorm -> relu -> maxpool(2) -> flatten -> dropout(0.3) -> dense(3)
  loss cross_entropy(z, y)
}
""",
    """# a recurrent network over sequences
model {
  input x: float[time <= 8, 3]
  target y: float
  z = last(gru(x, 4)) + sum(mean(attention(x, x, x), over = time))
  loss mse(mean(z), y)
}
""",
    """# a derivative in a loss
model {
  input x: float[3]
  target y: float
  z = x -> dense(6) -> tanh -> dense(1) -> squeeze
  loss mse(z, y)
  loss slope = mean(square(grad(z, x)))
}
""",
)


def _test_pass(stage: Pass, text: str, must_act: bool) -> None:
    """Raises Failure if a training step has other results with the pass, or if `must_act` and it changes nothing."""
    file = parse(Source("model.net", text + "train {\n  optimizer = adam(lr = 0.1)\n  precision = f64\n}\n"))
    model = elaborate(file, {}, lambda *_: 3)
    graph = pipeline.training_graph(model)
    if must_act:
        with at("pass"), _in_the_pipeline(stage):
            stages = dict[str, Graph]()
            pipeline.run_passes(graph, stages.__setitem__)
            if print_graph(stages[stage.name]) == print_graph(stages[stage.after]):
                raise Failure("pass", "it changes nothing")
    fields = synthetic_data(model, BATCH, longest=6)
    plain = Program(model, backend="reference", batch=BATCH, threads=1)
    expected = plain.step(fields)
    with at("pass"), _in_the_pipeline(stage):
        changed = Program(model, backend="reference", batch=BATCH, threads=1)
        losses = changed.step(fields)
    for name, loss in expected.items():
        gives = f"with it the loss `{name}` is"
        compare("pass", np.asarray(losses[name]), np.asarray(loss), 1e-9, gives, "without it")
    for name, value in plain.persistent.items():
        compare("pass", changed.persistent[name], value, 1e-6, f"with it `{name}` becomes", "without it")


@contextmanager
def _in_the_pipeline(stage: Pass) -> Iterator[None]:
    """Within this context, the pass is registered."""
    before = dict(pipeline.PASSES)
    pipeline.PASSES.pop(stage.name, None)
    try:
        pipeline.register_pass(stage)
        yield
    finally:
        pipeline.PASSES.clear()
        pipeline.PASSES.update(before)

"""Each check of netc.runtime.verification finds a planted fault at the right place, and nothing in good models."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import netc
from netc.commands.table import app_of
from netc.compiler import pipeline
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind, parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Sizes, parse_type
from netc.compiler.ir.value import OPERATIONS, Value, apply
from netc.compiler.passes.simplify import rebuild
from netc.compiler.passes.stepping import step
from netc.compiler.pipeline import Pass
from netc.compiler.program.plan import Plan
from netc.compiler.targets.reference.target import Interpreted
from netc.dsl.structs import replace
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.execution import prepared
from netc.runtime.execution.compiled_model import CompiledModel
from netc.runtime.execution.step import Step
from netc.runtime.verification import CHECKS, exports, texts, verify
from netc.runtime.verification.comparison import difference, different_bits
from netc.runtime.verification.installation import GROUPS, subject_of
from netc.runtime.verification.models import MODELS
from netc.runtime.verification.precision import in_f64
from netc.runtime.verification.slopes import Slope
from netc.runtime.verification.subject import Difference, Subject

NET = """model {
  input x: float[4]
  target y: float[3]
  h = x -> dense(6)
  a = tanh(h)
  output z = a -> dense(3)
  loss mse(z, y)
}
train {
  batch = 4
  schedule = 1 / (1 + step)
}
"""


def subject(text: str = NET, count: int = 7) -> Subject:
    model = netc.parse(text)
    return Subject(model, synthetic_data(model, count, longest=5))


def only_difference(check: str, about: Subject | None = None) -> Difference:
    """The first difference that a check finds. Without the fault there is none (`test_good_models`)."""
    differences = verify(about or subject(), [check])
    assert differences, f"`{check}` does not see the fault"
    assert differences[0].check == check
    return differences[0]


def line_of(difference: Difference) -> int:
    return difference.span.line


@pytest.fixture
def operation(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes a field of an operation while the test runs."""

    def change(name: str, **fields: Any) -> None:
        monkeypatch.setitem(OPERATIONS, name, replace(OPERATIONS[name], **fields))

    return change


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Pass], None]:
    """Adds a pass to the pipeline while the test runs."""

    def add(planted: Pass) -> None:
        monkeypatch.setattr(pipeline, "PASSES", dict(pipeline.PASSES))
        pipeline.register_pass(planted)

    return add


# ------------------------------------------------------------------ nothing is wrong


QUICK = ("attention", "recurrent network", "scan", "variational autoencoder", "weighted loss")


@pytest.mark.parametrize("name", MODELS)
def test_good_models(name: str, is_long: bool) -> None:
    """Models of every kind pass the checks that need no kernels."""
    assert set(QUICK) <= set(MODELS)
    if name not in QUICK and not is_long:
        pytest.skip("there is no time")
    assert (
        verify(
            subject_of(MODELS[name], name),
            ["format", "passes", "updates", "gradients", "evaluation", "accumulate", "alone", "steps"],
        )
        == []
    )


def test_a_good_model_passes_every_check() -> None:
    assert [str(difference) for difference in verify(subject())] == []


def test_ties_and_cancelled_gradients_are_no_difference() -> None:
    """A bias before a normalisation has a gradient of rounding errors, which Adam scales up.

    Equal elements have several maxima.
    """
    text = """model {
  input x: float[4]
  target y: float[2]
  h = x -> dense(5) -> batchnorm
  t = max(concat(h, h), over = 0)
  z = (h -> dense(2)) + unsqueeze(t)
  output kind = argmax(concat(z, z), over = 0)
  loss mse(z, y)
}
train {
  batch = 4
}
"""
    assert verify(subject(text, 6), ["passes", "gradients", "compiled", "plan"]) == []


@pytest.mark.parametrize(("reach", "seeds"), [(3, range(50)), (300, [*range(50), 955]), (1000, [*range(50), 3873])])
def test_kinks_do_not_pass_for_a_slope(reach: float, seeds: Sequence[int]) -> None:
    """A sum of 1000 relus, whose kinks lie about `1 / reach` apart: a slope that counts as known is right.

    With the last seed two halves of a step size agree by chance, far from the slope.
    """
    x = Graph().leaf(Role.INPUT, "x", parse_type("f64"))
    count_known = 0
    for seed in seeds:
        random = np.random.default_rng(seed)
        a, b, w = (random.standard_normal(1000) for _ in range(3))

        def loss(moved: Mapping[Value, Any], a: Any = a, b: Any = b * reach, w: Any = w / reach) -> float:
            return float((w * np.maximum(a + b * moved[x], 0)).sum()) / 1000**0.5

        slope = Slope.of(loss, {x: np.array(0.0)}, {x: np.array(1.0)})
        expected = float((w * b * (a > 0)).sum()) / 1000**0.5
        count_known += slope.is_known
        assert not slope.is_known or abs(slope.value - expected) <= 1e-5 * abs(expected) + 10 * slope.error
    assert count_known >= len(seeds) // 3


def test_lazy_optimizers_are_not_asked_to_accumulate() -> None:
    """Rows that one small batch looks up get no decay for another, so the language forbids both together."""
    text = """model {
  input x: class(4)
  param table: float[4] = uniform(-0.5, 0.5)
  loss entry = table[x]
}
train {
  optimizer = adamw(lr = 0.01, lazy = true)
  batch = 4
}
"""
    assert verify(subject(text, 6), ["accumulate"]) == []


@pytest.mark.parametrize("shards", [1, 2, 8])
def test_no_more_ranks_than_shards_are_emulated(shards: int) -> None:
    text = NET.replace("  batch = 4\n", f"  batch = 64\n  shards = {shards}\n")
    for seed in range(3):
        assert not verify(replace(subject(text, 70), seed=seed), ["ranks"])


def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no check `speed`"):
        verify(subject(), ["speed"])


# ------------------------------------------------------------------ a fault for each check


def test_a_pass_that_drops_a_term(passes) -> None:
    """The message names the pass and the line of the second layer's bias."""

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.operation == "add" and value.type.dims == ("batch", 3) and value.span.line == 6:
            return operands[0]
        return copy.add_copy(value, operands)

    passes(Pass("dropping", "Drops a bias.", lambda graph: rebuild(graph, rule), after="hoist"))
    difference = only_difference("passes")
    assert difference.where.startswith("after `dropping`: ")
    assert line_of(difference) in (6, 7)
    assert "should be" in difference.detail


def test_a_pass_that_lets_gradients_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """`stop_gradient` is removed before differentiation. No later pass changes a result, and both backends agree."""

    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.operation == "stop_gradient":
            return operands[0]
        return copy.add_copy(value, operands)

    def forgetful(graph: Graph) -> Graph:
        return rebuild(graph, rule)

    from netc.compiler.passes import prepare
    from netc.runtime.verification import stages

    for module in (prepare, stages):
        monkeypatch.setattr(module, "stabilise", forgetful)
    about = subject(NET.replace("tanh(h)", "tanh(h) * stop_gradient(h)"))
    difference = only_difference("passes", about)
    assert difference.where == "after `stabilise`: gradient.h.dense.W"
    assert line_of(difference) == 5
    difference = only_difference("gradients", about)
    assert difference.where == "the derivative of the loss: gradient.h.dense.W"
    assert line_of(difference) == 4
    assert verify(about, ["plan"]) == []


def test_a_wrong_gradient_rule(operation) -> None:
    operation("tanh", gradient=lambda g, r, x: g * (1 - r))
    difference = only_difference("gradients")
    assert difference.where == "the derivative of the loss: gradient.h.dense.W"
    assert "differences of the loss give" in difference.detail


def test_a_wrong_rule_in_a_derivative_of_the_file(operation) -> None:
    operation("tanh", gradient=lambda g, r, x: g * (1 - r))
    text = NET.replace(
        "loss mse(z, y)", "loss mse(z, y)\n  output slope = grad(sum(a), x)\n  loss size = mean(square(slope))"
    )
    assert "after `derive`: the value of `grad(sum(a), x)`" in [
        difference.where for difference in verify(subject(text), ["gradients"])
    ]


def test_a_wrong_kernel(operation) -> None:
    operation("tanh", lower=Scalar("tanh(x) * T(1.01)"))
    for check in ("compiled", "plan"):
        difference = only_difference(check)
        assert "gradients of" in difference.where
        assert line_of(difference) == 5, "the first value that differs"


def test_a_plan_whose_phases_are_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    real = prepared.plan_step

    def swapped(graph: Graph, offsets: dict[str, int], sizes: Sizes, machine: Any) -> Plan:
        plan = real(graph, offsets, sizes, machine)
        phases, tasks = list(plan.schedule.phases), list(plan.tasks)
        if len(phases) < 2:
            return plan
        counts = [sum(len(group.calls) for group in phase) for phase in phases]
        first, second = tasks[: counts[0]], tasks[counts[0] : counts[0] + counts[1]]
        phases[:2] = phases[1::-1]
        schedule = replace(plan.schedule, phases=type(plan.schedule.phases)(phases))
        return replace(
            plan, schedule=schedule, tasks=type(plan.tasks)([*second, *first, *tasks[counts[0] + counts[1] :]])
        )

    monkeypatch.setattr(prepared, "plan_step", swapped)
    assert only_difference("plan").check == "plan"


def test_states_that_are_written_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A swap of two states reads a value that was just written."""

    def one_by_one(
        self: Interpreted, leaves: Mapping[str, Any], sizes: Sizes, state: Mapping[str, Any]
    ) -> dict[str, Any]:
        results = self.interpreter(self.graph, leaves, sizes)
        for name in [name for name in results if name.startswith("update.")]:
            state[name.removeprefix("update.")][...] = results.pop(name)
        return results

    monkeypatch.setattr(Interpreted, "interpret", one_by_one)
    text = """block remember(x: float[n]) {
  state a: float[n] = zeros
  state b: float[n] = zeros
  update a = b
  update b = a
  return x + a - b
}
model {
  input x: float[3]
  target y: float[3]
  h = x -> remember
  z = h -> dense(3)
  loss mse(z, y)
}
"""
    difference = only_difference("updates", subject(text))
    assert difference.where == "after step 1: h.remember.b"


def test_threads_that_give_other_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Step.run

    def run(self: Step, *arguments: Any) -> Any:
        results = real(self, *arguments)
        if self.members == 3 and self.is_update:
            bias = self.resources.state.arrays["h.dense.b"]
            bias[0] = np.nextafter(bias[0], np.float32(1))
        return results

    monkeypatch.setattr(Step, "run", run)
    assert only_difference("threads").where.startswith("on 3 threads: ")


def test_metrics_that_are_averaged_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of the means of batches of different sizes is not the mean."""
    real = CompiledModel.results_of

    def results_of(self: CompiledModel, step: Any, fields: Any, count: int, *more: Any) -> dict[str, Any]:
        results = real(self, step, fields, count, *more)
        half = {name: real(self, step, fields, count // 2, *more)[name] for name in results}
        return {
            name: np.concatenate([half[name], array]) if name.startswith("collect.") else array
            for name, array in results.items()
        }

    monkeypatch.setattr(CompiledModel, "results_of", results_of)
    difference = only_difference("evaluation")
    assert difference.where == "in the metric `loss`"
    assert line_of(difference) == 7


SPARSE = """model {
  input x: float[8, 8, 16]
  target y: float
  h = where(x > 1.5, x, 0) -> conv(16) -> relu -> conv(16) -> relu
  output z = h -> flatten -> dense(1) -> squeeze
  loss mse(z, y)
}
train { batch = 2 }
"""


@pytest.mark.parametrize("text", [SPARSE, SPARSE.replace("conv(16)", "conv(32, groups = 2)")], ids=["", "in groups"])
def test_gradients_that_vanish_are_rounded_as_their_neighbours(text: str) -> None:
    """Winograd's filtering leaves rounding errors where all terms of a sum are 0, and Adam scales them up."""
    assert [str(difference) for difference in verify(subject(text, count=2), ["compiled"])] == []


STEPPED = """model {
  input x: float[t, 3]
  target y: float[t, 2]
  h = shift(x) -> gru(4)
  output z = h -> dense(2)
  loss mse(z, y)
}
"""


def test_a_state_that_is_read_one_step_early(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verify(subject(STEPPED), ["steps"]) == []
    monkeypatch.setattr(step._Builder, "delayed", lambda builder, row, steps: row)
    difference = only_difference("steps", subject(STEPPED))
    assert difference.where == "output.z"
    assert line_of(difference) == 5


@pytest.mark.parametrize("check", ["alone", "alone_compiled"])
def test_samples_that_influence_each_other(passes, check: str) -> None:
    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        value = copy.add_copy(value, operands)
        return value + 0.01 * apply("mean", value, over=(0,)) if value.operation == "tanh" else value

    passes(Pass("meeting", "Mixes samples.", lambda graph: rebuild(graph, rule)))
    difference = only_difference(check)
    assert difference.where == "sample 0 alone: output.z"
    assert line_of(difference) == 6


def test_gradients_that_are_added_up_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    real = pipeline.accumulate

    def twice(graph: Graph, *arguments: Any) -> None:
        real(graph, *arguments)
        for result, value in list(graph.results.items()):
            if result.kind is ResultKind.UPDATE and result.name.startswith("accumulated.") and value.type.dims:
                graph.results[result] = value * 2.0

    monkeypatch.setattr(pipeline, "accumulate", twice)
    assert ": h.dense" in only_difference("accumulate").where


def test_steps_that_share_a_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several steps in one call use the rate of the first."""
    real = CompiledModel.run_step

    def run_step(self: CompiledModel, step: Any, fields: Any, order: Any, epoch: int, factors: Any = None) -> Any:
        return real(self, step, fields, order, epoch, {name: values[:1] for name, values in factors.items()})

    monkeypatch.setattr(CompiledModel, "run_step", run_step)
    assert only_difference("many_steps").where.startswith("2 steps in one call: ")


def test_numbers_that_are_supplied_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    real = prepared.with_supplied_constants

    def rounded(graph: Graph) -> tuple[Graph, dict[str, float]]:
        graph, numbers = real(graph)
        return graph, {name: number + 1e-3 for name, number in numbers.items()}

    monkeypatch.setattr(prepared, "with_supplied_constants", rounded)
    assert only_difference("constants", subject(NET.replace("tanh(h)", "tanh(0.7 * h)"))).check == "constants"


def test_a_memory_limit_that_changes_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    real = pipeline.training_graph

    def training_graph(model: netc.Model, rematerialises: bool = False) -> Graph:
        graph = real(model, rematerialises)
        if rematerialises:
            graph.results[parse_result("total")] = graph.results[parse_result("total")] * (1 + 1e-6)
        return graph

    monkeypatch.setattr(pipeline, "training_graph", training_graph)
    assert "loss of step 1" in only_difference("memory", subject_of(MODELS["recurrent network"], "recurrent")).where


def test_an_exported_file_with_other_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    real = exports.numpy_file
    monkeypatch.setattr(exports, "numpy_file", lambda *arguments: real(*arguments).replace("np.tanh", "np.sin"))
    difference = only_difference("export")
    assert difference.where == "the NumPy file: output.z"
    assert line_of(difference) == 6


def test_a_printer_that_changes_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    real = texts.print_file
    monkeypatch.setattr(texts, "print_file", lambda file: real(file).replace("tanh(h)", "h"))
    difference = only_difference("format")
    assert difference.where.startswith("the graph: ")
    assert line_of(difference) == 5
    monkeypatch.setattr(texts, "print_file", lambda file: real(file).replace("batch = 4", "batch = 5"))
    assert only_difference("format").where == "the settings: batch"


def test_an_exception_in_a_check_is_a_difference(operation) -> None:
    operation("tanh", lower=Scalar("no_such_word(x)"))
    difference = only_difference("compiled")
    assert difference.where == "an exception"
    assert "no_such_word" in difference.detail or "Error" in difference.detail


# ------------------------------------------------------------------ the parts


def test_arrays_are_compared_up_to_rounding() -> None:
    """NaN equals NaN, rounding errors relative to the array are allowed, and the sentence has the numbers."""
    array = np.array([1.0, np.nan, np.inf, 1e-20])
    assert difference(array.copy(), array) is None
    assert difference(array + np.array([1e-12, 0, 0, 1e-12]), array) is None
    assert (
        difference(np.array([1.0, 0.0]), np.array([1.0, np.nan]))
        == "it is 0 at [1] and should be nan; 1 of 2 elements differ"
    )
    assert difference(np.zeros((2, 3)), np.zeros((3, 2))) == "it has the shape [2, 3], and should have [3, 2]"
    assert list(different_bits({"x": -np.zeros(1)}, {"x": np.zeros(1)}))
    assert not list(different_bits({"x": array}, {"x": array.copy()}))


def test_a_model_in_double_precision() -> None:
    for name, text in MODELS.items():
        model = in_f64(netc.parse(text))
        kinds = {value.type.dtype for value in model.graph.values() if value.operation != "scan"}
        assert "f32" not in kinds, name
        assert {info.type.dtype for info in model.trainables.values()} == {"f64"}


# ------------------------------------------------------------------ the commands


def test_check_verify(tmp_path: Path, operation) -> None:
    (tmp_path / "m.net").write_text(NET)
    runner = CliRunner()
    good = runner.invoke(app_of(), ["check", str(tmp_path / "m.net"), "--verify"])
    assert good.exit_code == 0, good.output
    assert "verified on 48 synthetic samples" not in good.output
    assert all(f"  {name} " in good.output for name in CHECKS)
    assert "target: " in good.output
    assert "Please report" not in good.output
    operation("tanh", gradient=lambda g, r, x: g * (1 - r))
    bad = runner.invoke(app_of(), ["check", str(tmp_path / "m.net"), "--verify"])
    assert bad.exit_code == 1
    assert "error[E1301]: `gradients` differs in the derivative of the loss: gradient.h.dense.W" in bad.output
    assert "4 |   h = x -> dense(6)" in bad.output
    assert "Please report" in bad.output
    report = json.loads(runner.invoke(app_of(), ["check", str(tmp_path / "m.net"), "--verify", "--json"]).output)
    assert not report["ok"]
    assert [check["check"] for check in report["checks"] if not check["ok"]] == ["gradients"]


def test_check_verify_on_the_data_of_the_file(tmp_path: Path) -> None:
    rows = "\n".join(f"{i / 10},{(i * i) % 7}" for i in range(20))
    (tmp_path / "t.csv").write_text(f"a,b\n{rows}\n")
    (tmp_path / "m.net").write_text(
        'data {\n  a = column("a")\n  b = column("b") -> standardize\n  split = (train = 1.0)\n'
        '  source = csv("t.csv")\n}\n'
        "model {\n  input a: float\n  target b: float\n  param w: float = ones\n  output z = w * a\n"
        "  loss mse(z, b)\n}\n"
        "train {\n  batch = 8\n}\n"
    )
    result = CliRunner().invoke(app_of(), ["check", str(tmp_path / "m.net"), "--verify", "--data"])
    assert result.exit_code == 0, result.output
    assert "verified on the first 12 training samples of the file's data, in batches of 8" in result.output
    assert CliRunner().invoke(app_of(), ["check", str(tmp_path / "m.net"), "--data"]).exit_code == 2


def test_groups_of_the_selftest_find_faults(monkeypatch: pytest.MonkeyPatch, operation) -> None:
    """A cache that is not read, and an operation with a wrong kernel."""
    groups = {group.name: group for group in GROUPS}
    assert list(groups["kernel cache"].run()) == []
    from netc.compiler.targets.cpu import build, cache

    monkeypatch.setattr(cache, "read", lambda parts: None)
    monkeypatch.setattr(build.cache, "read", lambda parts: None)
    assert any("not read" in finding for finding in groups["kernel cache"].run())

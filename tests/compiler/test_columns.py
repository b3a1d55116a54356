"""Products that workers share by columns: which they are, and that they compute the same bits."""

import numpy as np
import pytest

import netc
from netc.compiler.backends import target_of
from netc.compiler.lowering.lower import lower
from netc.compiler.pipeline import prediction_graph, run_passes, training_graph
from netc.compiler.planning.plan import plan
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.plan import Plan
from netc.compiler.program.tasks import SHARDS, Task
from netc.compiler.targets.named import NAMED
from netc.runtime.execution.kept_steps import PlanFacts
from netc.runtime.execution.prepared import Prepared

# Both layers' weights, more than 256 KiB, are shared by columns. 300 columns end in the middle of a panel.
NET = """model {
  input x: float[300]
  target y: float[300]
  h = x -> dense(300) -> relu
  output z = h -> dense(300)
  loss mse(z, y)
}
train {
  batch = 5
  optimizer = sgd(lr = 0.1)
}
"""


# Winograd's filtering of a single sample: 64 outputs are two panels.
IMAGES = """model {
  input x: float[8, 8, 64]
  target y: float[2]
  h = x -> conv(64) -> relu -> conv(64) -> relu
  output z = h -> flatten -> dense(2)
  loss mse(z, y)
}
train {
  batch = 1
  optimizer = sgd(lr = 0.1)
}
"""


def plan_of(batch: int, inputs: int, outputs: int, target: str = "avx512", has_ranks: bool = False) -> Plan:
    text = NET.replace("float[300]", f"float[{inputs}]", 1).replace(
        "target y: float[300]", f"target y: float[{outputs}]"
    )
    text = text.replace("h -> dense(300)", f"h -> dense({outputs})").replace("batch = 5", f"batch = {batch}")
    machine = NAMED[target]
    tasks = lower(run_passes(training_graph(netc.parse(text))), batch, machine)
    return plan(tasks, dict.fromkeys(tasks.leaves, 0), batch, machine, has_ranks)


def shared(planned: Plan) -> list[int | str | None]:
    """The columns of products that are shared by them."""
    return [task.axis for task in planned.tasks if task.is_by_columns]


@pytest.mark.parametrize(
    ("sizes", "columns"),
    [
        ((1, 300, 300), [300, 300, 300]),  # forward both layers, and backward the second
        ((16, 300, 300), [300, 300, 300]),
        ((16, 784, 10), [300]),  # 12 KB of weights are read sooner than workers meet
        ((64, 300, 300), []),  # as many bytes of rows
        ((64, 2048, 2048), [300, 2048, 300]),
    ],
)
@pytest.mark.parametrize("target", ["avx2", "avx512"])
def test_products_of_few_rows_with_large_weights_are_shared_by_columns(
    sizes: tuple[int, int, int], columns: list[int], target: str
) -> None:
    assert shared(plan_of(*sizes, target)) == columns


def test_ranks_share_rows() -> None:
    """A rank that had columns of a product would send what it computes of every row."""
    assert shared(plan_of(1, 300, 300, has_ranks=True)) == []


def test_a_gradient_of_weights_is_computed_where_they_are_updated() -> None:
    """The gradient of h still reads the weights of the second layer when their gradient could be computed."""
    groups = [
        [call for call, task in planned.calls if task.axis == 300 and not task.is_by_columns]
        for planned in plan_of(16, 300, 300).groups()
    ]
    assert [len(calls) for calls in groups if calls and isinstance(calls[0].kernel, Contraction)] == [2, 2]


def test_a_single_image_is_shared_by_outputs() -> None:
    """Its gradients of weights are not summed in shards of the batch, all but one of which would be empty."""

    def tasks_of(batch: int) -> list[Task]:
        tasks = lower(run_passes(training_graph(netc.parse(IMAGES))), batch, NAMED["avx512"])
        return list(plan(tasks, dict.fromkeys(tasks.leaves, 0), batch, NAMED["avx512"]).tasks)

    for batch, count in ((1, 3), (2, 0)):  # forward both convolutions, and backward the second
        assert sum(task.is_by_columns for task in tasks_of(batch)) == count
    assert all(task.axis != SHARDS for task in tasks_of(1))


def test_only_large_predictions_of_a_single_sample_are_shared() -> None:
    prepared = Prepared(prediction_graph(netc.parse(NET)), {}, target_of("cpu", NAMED["avx512"]), 5, is_kept=False)
    assert [prepared.members(PlanFacts(flops, 0, 0), 1, 2) for flops in (10**6, 10**7)] == [1, 2]


@pytest.mark.parametrize(("net", "sample", "target"), [(NET, (300,), (300,)), (IMAGES, (8, 8, 64), (2,))])
def test_all_backends_and_numbers_of_threads_agree(net: str, sample: tuple[int, ...], target: tuple[int, ...]) -> None:
    """Also if a step has fewer samples than it is planned for."""
    rng = np.random.default_rng(2)
    count = 8 if net == NET else 1
    shapes = {"x": (count, *sample), "y": (count, *target)}
    fields = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    one, three, emulated, meaning = (
        netc.compile(netc.parse(net), seed=3, backend=backend, threads=threads)
        for backend, threads in (("cpu", 1), ("cpu", 3), ("plan", 1), ("reference", 1))
    )
    steps = [program.steps(fields, np.arange(count), 0).values["loss"] for program in (one, three, emulated, meaning)]
    for name, parameter in meaning.parameters.items():
        np.testing.assert_array_equal(one.parameters[name], three.parameters[name])
        for program in (one, emulated):
            np.testing.assert_allclose(program.parameters[name], parameter, atol=1e-5)
    for losses in steps:
        np.testing.assert_allclose(losses, steps[-1], rtol=1e-5)

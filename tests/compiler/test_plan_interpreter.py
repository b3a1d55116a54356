"""Emulated plans are compared with the reference interpreter, and broken plans must be caught.

The emulator (compiler/targets/emulator) runs them without machine code, in many orders and for tiny caches.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import netc
from netc.compiler import pipeline
from netc.compiler.ir.types import Type
from netc.compiler.lowering.lower import lower
from netc.compiler.planning.accesses import PointerUse
from netc.compiler.planning.plan import plan
from netc.compiler.planning.verify_plan import verify_plan
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.plan import Plan
from netc.compiler.program.schedule import SHARED, Address, Group
from netc.compiler.program.tasks import Buffer, Pointer, Task
from netc.compiler.targets.emulator.kernels import EmulatedKernel, kernel_of, kernel_of_text
from netc.compiler.targets.emulator.memory import Access, BrokenPlan, Reference, Region
from netc.compiler.targets.emulator.run import Emulator, random_order
from netc.compiler.targets.named import NAMED
from netc.dsl.structs import replace
from netc.runtime.execution.loaded import Loaded

# Caches are so small, and shards begin so early, that a program of a few samples has several row blocks and shards.
TINY = replace(
    NAMED["sse2"],
    first_cache=128,
    second_cache=512,
    many_bytes=1,
    few_pieces=1 << 30,
    few_weights=1 << 30,
    shard_ratio=0,
)
HEAD = "train {\n  precision = f64\n  batch = "
MODELS = {
    "dense": """model {
  input x: float[5]
  target y: class(3)
  h = x -> dense(7) -> relu -> layernorm
  z = h -> dense(3)
  loss cross_entropy(z, y)
}
train {
  precision = f64
  batch = 8
  optimizer = adam(lr = 0.01)
}
""",
    "shared and concatenated": """model {
  input x: float[6]
  target y: float[3]
  a = x -> dense(17) -> gelu
  b = a -> dense(17) -> tanh
  output z = concat(a + b, x) -> dense(3)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 19
  optimizer = sgd(lr = 0.05, momentum = 0.9)
}
""",
    "convolution": """model {
  input x: float[6, 6, 2]
  target y: float[2]
  h = x -> conv(5, kernel = 3) -> relu -> maxpool(2)
  k = h -> conv(3, kernel = 3, pad = valid)
  output z = k -> flatten -> dense(2)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 6
  optimizer = sgd(lr = 0.05)
}
""",
    "batch normalisation and dropout": """model {
  input x: float[4]
  target y: float[2]
  h = x -> dense(9) -> batchnorm -> relu -> dropout(0.3)
  output z = h -> dense(2)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 7
  optimizer = adamw(lr = 0.01)
  clip_norm = 1.0
}
""",
    "accumulate": """model {
  input x: float[4]
  target y: class(3)
  output z = x -> dense(6) -> tanh -> dense(3)
  loss cross_entropy(z, y)
}
train {
  precision = f64
  batch = 4
  accumulate = 2
  optimizer = adam(lr = 0.01)
}
""",
    "embedding": """model {
  input x: class(11)
  input k: float[3]
  target y: float
  h = x -> embed(5)
  output z = concat(h, k) -> dense(1) -> squeeze
  loss mse(z, y)
  loss size = 0.01 * mean(square(h))
}
train {
  precision = f64
  batch = 8
  optimizer = sgd(lr = 0.05)
}
""",
    "states that swap": """block remember(x: float[n]) {
  state a: float[n] = zeros
  state b: float[n] = ones
  update a = b
  update b = 0.5 * a + mean(x, over = batch)
  return x + 0.1 * (a - b)
}
model {
  input x: float[3]
  target y: float[3]
  output z = x -> remember -> dense(3)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 5
  optimizer = rmsprop(lr = 0.01)
}
""",
    "lstm": """model {
  input x: float[t, 3]
  target y: float[2]
  output z = last(x -> lstm(5)) -> dense(2)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 5
  optimizer = adam(lr = 0.01)
}
""",
    "both ways": """model {
  input x: class(7)[t]
  target y: class(4)[t]
  h = x -> embed(3) -> bidirectional(gru(2))
  output z = h -> dense(4)
  loss cross_entropy(z, y)
}
train {
  precision = f64
  batch = 4
  optimizer = sgd(lr = 0.05)
}
""",
    "scan with carries that swap": """model {
  input x: float[t, 3]
  target y: float[t, 3]
  param w: float[3] = normal(1)
  h = scan s in x with p = w, q = zeros(3) {
    k = p + q
    q = tanh(p * s)
    p = tanh(k + s)
    yield p + q
  }
  loss mse(h, y)
}
train {
  precision = f64
  batch = 5
  optimizer = sgd(lr = 0.05)
}
""",
    "attention": """model {
  input x: float[t <= 6, 4]
  target y: class(3)
  h = x -> self_attention(heads = 2)
  output z = mean(h, over = t) -> dense(3)
  loss cross_entropy(z, y)
}
train {
  precision = f64
  batch = 5
  optimizer = sgd(lr = 0.05)
}
""",
    "line": """model {
  input x: float[t, 2]
  target y: float[t, 3]
  h = x -> conv(4, kernel = 3) -> relu
  output z = h -> dense(3)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 3
  optimizer = adagrad(lr = 0.05)
}
""",
}


def synthetic(model: netc.Model, count: int) -> dict[str, Any]:
    """Random data for a model, with sequences of one to four steps."""
    rng = np.random.default_rng(count)
    lengths = rng.integers(1, 5, count)

    def elements(shape: tuple[int, ...], classes: int | None) -> Any:
        return rng.integers(0, classes, shape).astype(np.int32) if classes else rng.standard_normal(shape)

    return {
        name: [elements((length, *type_.dims[1:]), type_.classes) for length in lengths]
        if type_.is_varying
        else elements(type_.shape(count), type_.classes)
        for name, type_ in {**model.inputs, **model.targets}.items()
    }


def trained(model: netc.Model, count: int, **options: Any) -> dict[str, np.ndarray]:
    """The parameters and states after three steps, and for a full batch its gradients."""
    program = netc.compile(model, seed=3, **options)
    _, gradients = program.gradients(synthetic(model, count)) if count == model.train.batch else (0, {})
    losses = [program.step(synthetic(model, count * model.train.accumulate))["loss"] for _ in range(3)]
    kept = {f"{name} afterwards": array.copy() for name, array in program.persistent.items()}
    return {**gradients, **kept, "losses": np.array(losses)}


@pytest.mark.parametrize("name", MODELS)
def test_a_plan_computes_the_results_of_its_graph(name: str) -> None:
    model = netc.parse(MODELS[name])
    for count, runs in ((model.train.batch, [(3, TINY)]), (3, [(2, None), (5, TINY)])):
        expected = trained(model, count, backend="reference")
        for threads, machine in runs:
            with random_order(threads):
                results = trained(model, count, backend="plan", threads=threads, machine=machine)
            for key, value in expected.items():
                message = f"{key} of {count} samples by {threads} members"
                np.testing.assert_allclose(results[key], value, rtol=1e-9, atol=1e-9, err_msg=message)


def test_the_order_of_tasks_does_not_change_bits() -> None:
    model = netc.parse(MODELS["convolution"])
    results = []
    for seed in range(3):
        with random_order(seed):
            results.append(trained(model, 2, backend="plan", threads=seed + 1, machine=TINY))
    for other in results[1:]:
        assert all(np.array_equal(results[0][name], other[name]) for name in results[0])


@pytest.mark.parametrize("name", ["dense", "embedding", "scan with carries that swap"])
def test_vectorised_kernels_give_the_bits_of_single_elements(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes whole axes at once computes the same bits as its text, element by element."""
    model = netc.parse(MODELS[name])
    results = trained(model, 3, backend="plan", threads=2, machine=TINY)
    monkeypatch.setattr(
        EmulatedKernel, "__call__", lambda kernel, access, pointers, counts: kernel.in_order(access, *pointers, *counts)
    )
    plain = trained(model, 3, backend="plan", threads=2, machine=TINY)
    for key, value in plain.items():
        np.testing.assert_array_equal(results[key], value, err_msg=key)


def test_every_kernel_of_these_models_is_vectorised() -> None:
    """Sums, choices and scatters do not fall back to single elements, which would take a hundred times as long."""
    for text in MODELS.values():
        model = netc.parse(text)
        graph = pipeline.run_passes(pipeline.training_graph(model))
        sizes = {"batch": 4, **{str(value.type.rows): 12 for value in graph.values() if value.type.is_varying}}
        for task in lower(graph, sizes, TINY).tasks:
            kernel = kernel_of(task.kernel)
            assert kernel.run is not kernel.in_order or isinstance(task.kernel, Contraction), task.kernel


def test_a_custom_kernel_runs_as_its_text() -> None:
    text = """def kernel(p0, p1, n0):
    for _row in range(n0):
        store_f64_0(p0, 0 + _row * 1, F64(0.0))
        i = 0
        while load_f64_1(p1, 0 + _row * 3 + i * 1) > 0.0:
            added = 1.0 / load_f64_1(p1, 0 + _row * 3 + i * 1)
            store_f64_0(p0, 0 + _row * 1, F64(load_f64_0(p0, 0 + _row * 1) + added))
            i += 1
"""
    x = np.array([[2.0, 4.0, 0.0], [0.0, 1.0, 1.0]])
    result = np.zeros(2)
    pointers = []
    for n, array in enumerate((result, x)):
        region = Region("memory", array.view(np.uint8).reshape(-1))
        region.tags[:] = n + 1
        pointers.append(Reference(region, 0, 0, array.nbytes, n + 1, Buffer(Type("f64", array.shape))))
    kernel_of_text(text, PointerUse(frozenset({0, 1}), frozenset({0}), frozenset({1})))(
        Access("a test", 0, "", 0), pointers, [2]
    )
    np.testing.assert_array_equal(result, [0.75, 0.0])


def test_an_unknown_backend_is_an_error() -> None:
    with pytest.raises(ValueError, match="`compiled`: there are cpu, reference, plan"):
        netc.compile(netc.parse(MODELS["dense"]), backend="compiled")  # type: ignore[arg-type]


# ---------------------------------------------------------------- broken plans

Phases = list[list[tuple[Group, list[Task]]]]


def change_address(
    phases: Phases, is_chosen: Callable[[Pointer, Address], bool], change: Callable[[Address], Address]
) -> None:
    """Changes the addresses of some pointers, at least of one."""
    count = 0
    for phase in phases:
        for g, (group, tasks) in enumerate(phase):
            calls = []
            for call, task in zip(group.calls, tasks, strict=True):
                pairs = zip(task.pointers, call.addresses, strict=True)
                addresses = [change(address) if is_chosen(pointer, address) else address for pointer, address in pairs]
                count += sum(a is not b for a, b in zip(addresses, call.addresses, strict=True))
                calls.append(replace(call, addresses=tuple(addresses)))
            phase[g] = (replace(group, calls=tuple(calls)), tasks)
    assert count


def swap_phases(phases: Phases) -> None:
    phases[1], phases[2] = phases[2], phases[1]


def join_phases(phases: Phases) -> None:
    """Removes a barrier that the next phase needs."""
    phases[0] += phases.pop(1)


def overlap(phases: Phases) -> None:
    """Puts everything that members share at one address."""
    change_address(phases, lambda _, address: address.memory == SHARED, lambda address: replace(address, offset=0))


def drop_shard(phases: Phases) -> None:
    """Leaves out the last shard."""
    for phase in phases:
        phase[:] = [(replace(g, extent=15) if g.kind == "shards" else g, tasks) for g, tasks in phase]


def share_row(phases: Phases) -> None:
    """Puts each row of a shared buffer onto the first row."""
    change_address(
        phases,
        lambda _, address: address.memory == SHARED and address.lead > 0,
        lambda address: replace(address, lead=0),
    )


def drop_writer(phases: Phases) -> None:
    """Leaves out a task whose results others read."""
    for phase in phases:
        for g, (group, tasks) in enumerate(phase):
            for i, task in enumerate(tasks):
                if any(buffer.kind == "temporary" for buffer in task.writes):
                    phase[g] = (
                        replace(group, calls=group.calls[:i] + group.calls[i + 1 :]),
                        tasks[:i] + tasks[i + 1 :],
                    )
                    return


def drop_result(phases: Phases) -> None:
    for phase in phases:
        for g, (group, tasks) in enumerate(phase):
            kept = [i for i, task in enumerate(tasks) if not any(region.kind == "result" for region in task.writes)]
            phase[g] = (replace(group, calls=tuple(group.calls[i] for i in kept)), [tasks[i] for i in kept])


def reach_beyond(phases: Phases) -> None:
    """Makes each pointer to a parameter point one element too far."""
    for phase in phases:
        for g, (group, tasks) in enumerate(phase):
            phase[g] = (group, [replace(task, pointers=tuple(map(one_further, task.pointers))) for task in tasks])
    change_address(
        phases,
        lambda pointer, _: pointer.buffer.kind == "persistent",
        lambda address: replace(address, offset=address.offset + 8),
    )


def one_further(pointer: Pointer) -> Pointer:
    return replace(pointer, offset=pointer.offset + 1) if pointer.buffer.kind == "persistent" else pointer


BROKEN = {
    "swap_phases": swap_phases,
    "join_phases": join_phases,
    "overlap": overlap,
    "drop_shard": drop_shard,
    "share_row": share_row,
    "drop_writer": drop_writer,
    "drop_result": drop_result,
    "reach_beyond": reach_beyond,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plan_is_caught(name: str) -> None:
    model = netc.parse(MODELS["dense"])
    program = netc.compile(model, backend="plan", threads=2, machine=TINY)
    data = synthetic(model, 8)
    step = program.training({})
    tasks = lower(step.graph, 8, TINY)
    program_plan = plan(tasks, program.state.offsets, 8, TINY)
    phases: Phases = [[] for _ in program_plan.schedule.phases]
    for planned in program_plan.groups():
        phases[planned.phase].append((planned.group, [task for _, task in planned.calls]))
    verify_plan(tasks, program_plan)
    BROKEN[name](phases)
    broken = replace(
        program_plan,
        schedule=replace(program_plan.schedule, phases=tuple(tuple(group for group, _ in phase) for phase in phases)),
        tasks=tuple(task for phase in phases for _, members in phase for task in members),
    )
    assert broken != program_plan
    with pytest.raises(AssertionError):
        verify_plan(tasks, broken)
    step.loaded = Loaded(Emulator(broken, 2), 2, step.resources, broken)
    with pytest.raises(BrokenPlan):
        program.step(data)


def test_a_plan_with_fewer_tasks_than_calls_is_caught() -> None:
    step = netc.compile(netc.parse(MODELS["dense"]), backend="plan", threads=2, machine=TINY).training({})
    tasks = lower(step.graph, 8, TINY)
    complete = plan(tasks, step.resources.state.offsets, 8, TINY)
    with pytest.raises(AssertionError, match=rf"{len(complete.tasks)} calls of {len(complete.tasks) - 1} tasks"):
        verify_plan(tasks, replace(complete, tasks=complete.tasks[:-1]))


@pytest.mark.parametrize(("begin", "count"), [("", 2), (", h0 = s", 0)])
def test_what_no_later_step_reads_is_not_done_in_the_last_one(begin: str, count: int) -> None:
    """The gradient of an initial state of zeros has no reader. A plan that leaves out any other task is refused."""
    model = netc.parse(
        "model {\n  input x: float[time, 3]\n  input v: float[4]\n  target y: float[4]\n  s = v -> dense(4)\n"
        f"  output z = last(x -> rnn(4{begin})) + s\n  loss mse(z, y)\n}}\n{HEAD}5\n}}\n"
    )
    program = netc.compile(model, backend="plan", machine=TINY)
    tasks = lower(program.training({}).graph, {"batch": 5, "time": 20}, TINY)
    complete = plan(tasks, program.state.offsets, {"batch": 5, "time": 20}, TINY)
    assert sum(task.skips_last for task in complete.tasks) == count
    verify_plan(tasks, complete)
    for number, task in enumerate(complete.tasks):
        if not task.skips_last:
            with pytest.raises(AssertionError, match="last step"):
                verify_plan(tasks, without_last(complete, number))


def without_last(complete: Plan, number: int) -> Plan:
    """A plan whose task of a number is not done in the last step of a scan."""
    mark = itertools.count()
    phases = tuple(
        tuple(
            replace(
                group,
                calls=tuple(replace(call, skips_last=next(mark) == number or call.skips_last) for call in group.calls),
            )
            for group in phase
        )
        for phase in complete.schedule.phases
    )
    tasks = tuple(replace(task, skips_last=task.skips_last or i == number) for i, task in enumerate(complete.tasks))
    return replace(complete, schedule=replace(complete.schedule, phases=phases), tasks=tasks)

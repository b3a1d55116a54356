"""Workers: the same bits on any number of threads, subnormals flushed in each, and one failure ends all."""

import ctypes
import json

import numpy as np
import pytest
from support import ROOT

import netc
from netc.compiler.targets.cpu.linked import Linked
from netc.compiler.targets.cpu.schedule import context
from netc.runtime.data.stored import Bytes
from netc.runtime.execution.workers import Workers

NET = """model {
  input x: float[30]
  target y: class(7)
  h = x -> dense(50) -> tanh -> dropout(0.3)
  h = h + h -> dense(50) -> relu
  z = h -> dense(7)
  output p = softmax(z)
  loss cross_entropy(z, y)
  loss small = 0.001 * mean(h * h)
  metric accuracy(z, y)
}
train { optimizer = adam(lr = 0.01)
  batch = 24 }
"""


def trained(threads: int, text: str = NET) -> tuple[list[np.ndarray], netc.Program]:
    rng = np.random.default_rng(0)
    fields = {"x": rng.standard_normal((100, 30)).astype(np.float32), "y": rng.integers(0, 7, 100).astype(np.int32)}
    program = netc.Program(netc.parse(text), threads=threads)
    losses = [
        program.steps(fields, rng.permutation(100), epoch).values["loss"] for epoch in range(3)
    ]  # four full batches and one of 4 samples
    metrics = np.array(list(program.evaluate(fields).values()))
    return [*losses, *program.persistent.values(), program.predict(fields)["p"], metrics], program


@pytest.mark.parametrize("threads", [2, 3, 64])
def test_the_same_bits_on_any_number_of_threads(threads: int) -> None:
    for array, other in zip(trained(1)[0], trained(threads)[0], strict=True):
        assert np.array_equal(array, other)


@pytest.mark.parametrize("function", ["sched_yield", ""])
def test_workers_meet_where_the_system_has_no_futex(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = ctypes.cast(getattr(ctypes.CDLL(None), function), ctypes.c_void_p).value if function else 0
    monkeypatch.setattr(context, "way_of_waiting", lambda: (address, 0))
    for array, other in zip(trained(1)[0], trained(3)[0], strict=True):
        assert np.array_equal(array, other)


def test_steps_in_one_call_equal_single_steps() -> None:
    plain = NET.replace("-> dropout(0.3)", "")  # single steps count as epochs, so they draw other random numbers
    _, program = trained(2, plain)
    rng = np.random.default_rng(0)
    fields = {"x": rng.standard_normal((100, 30)).astype(np.float32), "y": rng.integers(0, 7, 100).astype(np.int32)}
    single = netc.Program(netc.parse(plain), threads=2)
    for _ in range(3):
        order = rng.permutation(100)
        for at in range(0, 100, 24):
            single.step({name: array[order[at : at + 24]] for name, array in fields.items()})
    for name, array in program.persistent.items():
        assert np.array_equal(array, single.persistent[name]), name


def test_every_worker_flushes_subnormals() -> None:
    text = "model {\n  input x: float[9999]\n  output y = x * 1e-20 * 1e-20\n}"
    program = netc.Program(netc.parse(text), batch=64, threads=3)
    assert not program.predict({"x": np.ones((64, 9999), np.float32)})["y"].any()


def test_a_failure_in_a_worker_ends_the_run_with_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Linked.run

    def run(self: Linked, context: int) -> bool:
        import threading

        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no room for a worker")
        return real(self, context)

    program = netc.Program(netc.parse(NET), threads=2)
    fields = {"x": np.zeros((24, 30), np.float32), "y": np.zeros(24, np.int32)}
    monkeypatch.setattr(Linked, "run", run)
    with pytest.raises(MemoryError, match="no room for a worker"):
        program.step(fields)
    monkeypatch.undo()
    program.step(fields)


def test_workers_work_at_the_same_time() -> None:
    import threading

    meeting = threading.Barrier(3, timeout=300)
    arrivals = list[int]()
    Workers(3).run(lambda number: arrivals.append(meeting.wait()))
    assert sorted(arrivals) == [0, 1, 2]


def test_helpers_end_with_their_program() -> None:
    import gc
    import threading
    import time

    program = netc.Program(netc.parse(NET), threads=5)
    program.step({"x": np.zeros((24, 30), np.float32), "y": np.zeros(24, np.int32)})
    threads_before = threading.active_count()
    del program
    gc.collect()
    until = time.monotonic() + 300
    while threading.active_count() > threads_before - 4 and time.monotonic() < until:
        time.sleep(0.01)
    assert threading.active_count() <= threads_before - 4


def test_no_threads_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        netc.Program(netc.parse(NET), threads=0)


def test_check_prints_the_memory_that_a_step_allocates() -> None:
    import tracemalloc

    from netc.compiler.targets.named import machine_for
    from netc.runtime.execution.step_cost import step_memory

    model = netc.load(ROOT / "examples" / "mnist.net")
    needed = step_memory(model, machine_for().cores, {})
    netc.Program(model).training({})  # compiling and importing now keeps their memory out of the count below
    tracemalloc.start()
    try:
        program = netc.Program(model)
        sizes = [_of_numpy()]
        program.training({})
        sizes.append(_of_numpy())
    finally:
        tracemalloc.stop()
    executable = program.training({}).executable
    assert executable is not None
    assert sizes[0] == needed[0]
    assert sizes[1] - sizes[0] == needed[1] + executable.ticks.nbytes
    assert sum(array.nbytes for array in program.persistent.values()) <= needed[0]


def _of_numpy() -> int:
    """The bytes of all NumPy arrays that were allocated since tracing began."""
    import tracemalloc

    domain = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
    return sum(
        statistic.size for statistic in tracemalloc.take_snapshot().filter_traces([domain]).statistics("filename")
    )


def test_check_prints_the_memory_of_a_step(capsys: pytest.CaptureFixture) -> None:
    from netc.commands.table import app_of
    from netc.runtime.execution.step_cost import step_memory

    model = netc.load(ROOT / "examples" / "mnist.net")
    for threads in (1, 3):
        words = ["check", str(ROOT / "examples" / "mnist.net"), "--threads", str(threads), "--json"]
        app_of()(words, standalone_mode=False)
        kept, arenas = step_memory(model, threads, {})
        assert json.loads(capsys.readouterr().out)["step"]["bytes"] == kept + arenas


def test_bytes_are_scaled_while_they_are_gathered() -> None:
    """Training, evaluation and prediction have the same bits as with scaled numbers.

    The table takes a quarter of the memory.
    """
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (100, 30)).astype(np.uint8)
    y = rng.integers(0, 7, 100).astype(np.int32)
    order = rng.permutation(100)
    runs = []
    for x in (Bytes(raw, 1 / 255), raw.astype(np.float32) * np.float32(1 / 255)):
        program = netc.Program(netc.parse(NET), threads=2)
        losses = program.steps({"x": x, "y": y}, order, 0).values["loss"]
        metrics = program.evaluate({"x": x, "y": y})
        runs.append(
            [losses, *program.persistent.values(), program.predict({"x": x})["p"], np.array([*metrics.values()])]
        )
    for array, other in zip(*runs, strict=True):
        assert np.array_equal(array, other)


MANY = """model {
  input x: float[6, 20]
  target y: float[6]
  h = x -> dense(16) -> tanh
  z = h -> dense(1) -> squeeze
  loss mse(z, y)
  loss far = mean(max(abs(h), over = (0, 1)), over = batch)
}
train { optimizer = adam(lr = 0.01)
  batch = 5000
  precision = f64 }
"""


def test_few_weights_and_many_samples_are_summed_shard_by_shard() -> None:
    rng = np.random.default_rng(0)
    fields = {"x": rng.standard_normal((5000, 6, 20)), "y": rng.standard_normal((5000, 6))}
    programs = [netc.Program(netc.parse(MANY), threads=threads) for threads in (1, 2, 3, 64)]
    plan = programs[0].training({}).plan
    assert plan
    assert sum(task.axis == "shards" for task in plan.tasks) == 3  # dW, dW_2, db
    reference = netc.Program(netc.parse(MANY), backend="reference")
    expected = reference.gradients(fields)[1]
    for name, gradient in programs[0].gradients(fields)[1].items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-10, atol=1e-13)
    few = {name: array[:7] for name, array in fields.items()}  # fewer samples than shards
    assert programs[0].gradients(few)[0] == pytest.approx(reference.gradients(few)[0], rel=1e-12)
    for program in programs:
        for _ in range(3):
            program.step(fields)
        program.step(few)
    for program in programs[1:]:
        for name, array in programs[0].persistent.items():
            assert np.array_equal(array, program.persistent[name]), name

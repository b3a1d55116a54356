"""Several Python threads and forked processes use one program or run: same bits, and nothing hangs."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.runtime.execution.step import Step
from netc.runtime.execution.workers import Workers
from netc.runtime.locks import Guard
from netc.runtime.runs.generate import generate

Array = np.ndarray[Any, Any]
NET = """model {
  input x: float[30]
  target y: class(7)
  h = x -> dense(50) -> tanh -> dense(40) -> relu
  z = h -> dense(7)
  output p = softmax(z)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}
train { optimizer = adam(lr = 0.01)
  batch = 24 }
"""
SEQUENCES = """model {
  input x: float[time, 3]
  target y: class(4)
  s = x -> lstm(8)
  output every = s
  z = last(s) -> dense(4)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
train { batch = 8 }
"""
SPOKEN = """model {
  input k: class(6)
  code = k -> embed(5) -> dense(5) -> tanh
  param table: float[6, 5] = normal(1)
  layer out = dense(6)
  spoken = scan i in 0..7 until token == 1 with token = 0, h = code {
    h = tanh(h * 0.9 + table[token])
    token = argmax(h -> out)
    yield token
  }
  output spoken = spoken
}
train { batch = 4 }
"""
_THREADS = 8


def fields_of(samples: int) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "x": rng.standard_normal((samples, 30)).astype(np.float32),
        "y": rng.integers(0, 7, samples).astype(np.int32),
    }


@cache
def untrained(workers: int) -> netc.Program:
    """A program that no test trains."""
    return netc.Program(netc.parse(NET), threads=workers, seed=1)


def in_threads(work: Callable[[int], object], count: int = _THREADS) -> list[object]:
    """Calls `work` with the number of each thread, in all threads at the same time."""
    meeting = threading.Barrier(count)

    def begin(number: int) -> object:
        meeting.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def sizes(number: int, most: int, is_long: bool, few: int = 25) -> Iterator[int]:
    """The sizes of one thread's calls."""
    rng = np.random.default_rng(number)
    for _ in range(1000 if is_long else few):
        yield int(rng.integers(1, most + 1))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_predictions_of_many_threads(workers: int, is_long: bool) -> None:
    fields = fields_of(150)
    program, expected = untrained(workers), untrained(1).predict({"x": fields["x"]})["p"]

    def work(number: int) -> None:
        for count in sizes(number, 150, is_long):
            first = (number * 7) % (151 - count)
            assert np.array_equal(
                program.predict({"x": fields["x"][first : first + count]})["p"], expected[first : first + count]
            )

    in_threads(work)


@pytest.mark.every(2)
@pytest.mark.parametrize("workers", [2, 1])
def test_sequences_of_many_threads(workers: int, is_long: bool) -> None:
    """Longer sequences arrive while shorter ones are computed, so the step is planned again meanwhile."""
    rng = np.random.default_rng(0)
    lengths = [int(length) for length in np.minimum(np.arange(40) // 2 + 1, 9)]
    sequences = [rng.standard_normal((length, 3)).astype(np.float32) for length in lengths]
    alone = netc.Program(netc.parse(SEQUENCES), threads=1, seed=1).predict({"x": sequences})
    program = netc.Program(netc.parse(SEQUENCES), threads=workers, seed=1)

    def work(number: int) -> None:
        for count in sizes(number, 40, is_long, few=8):
            result = program.predict({"x": sequences[:count]})
            assert np.array_equal(result["p"], alone["p"][:count])
            for steps, expected in zip(result["every"], alone["every"], strict=False):
                assert np.array_equal(steps, expected)

    in_threads(work)


@pytest.mark.every(2)
@pytest.mark.parametrize("workers", [3, 1])
def test_all_kinds_of_calls_at_once(workers: int, is_long: bool) -> None:
    """Evaluations (whose last part takes all samples as one batch), gradients and predictions."""
    fields = fields_of(130)
    program = netc.Program(netc.parse(NET), threads=workers, seed=1)  # nothing is compiled yet
    alone = untrained(1)
    parts = {count: {name: array[:count] for name, array in fields.items()} for count in (1, 24, 100, 130)}
    metrics = {count: alone.evaluate(part) for count, part in parts.items()}
    loss, slopes = alone.gradients(parts[24])
    predicted = alone.predict({"x": fields["x"]})["p"]

    def work(number: int) -> None:
        for turn in range(200 if is_long else 6):
            count = list(parts)[(turn + number) % 4]
            if (turn + number) % 3 == 0:
                actual, gradients = program.gradients(parts[24])
                assert actual == loss
                assert all(np.array_equal(gradients[name], slope) for name, slope in slopes.items())
            elif (turn + number) % 3 == 1:
                assert program.evaluate(parts[count]) == metrics[count]
            else:
                assert np.array_equal(program.predict({"x": parts[count]["x"]})["p"], predicted[:count])

    in_threads(work)


@pytest.mark.parametrize("backend", ["plan", "reference"])
def test_threads_of_other_backends(backend: str) -> None:
    fields = fields_of(40)
    program = netc.Program(netc.parse(NET), backend=backend, threads=2, seed=1)
    expected = program.predict({"x": fields["x"]})["p"]
    for results in in_threads(lambda number: program.predict({"x": fields["x"]})["p"], 3):
        assert np.array_equal(results, expected)


def test_hypotheses_of_many_threads() -> None:
    program = netc.Program(netc.parse(SPOKEN), threads=2, seed=3)
    k = np.arange(6, dtype=np.int32)
    expected = program.predict({"k": k}, beam=3)["spoken"]
    for spoken in in_threads(lambda number: program.predict({"k": k[: number + 1]}, beam=3)["spoken"], 6):
        assert all(np.array_equal(tokens, other) for tokens, other in zip(spoken, expected, strict=False))


def test_a_text_that_many_threads_generate(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the cat sat on the mat. " * 20, encoding="utf-8")
    (tmp_path / "m.net").write_text(
        'data {\n  source = text("t.txt")\n  letter = field("text") -> characters -> vocabulary -> window(10, 5)\n'
        '  following = field("text") -> characters -> vocabulary -> next(1) -> window(10, 5)\n'
        "  split = (train = 0.8, test = 0.2)\n}\n"
        "model {\n  input letter: class(auto)[time <= 10]\n  target following: class(auto)[time]\n"
        "  z = letter -> embed(5) -> gru(6) -> dense(size(following))\n"
        "  output likely = softmax(z)\n  loss cross_entropy(z, following)\n}\ntrain {\n  batch = 32\n  epochs = 1\n}\n",
        encoding="utf-8",
    )
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run", threads=2)
    expected = "".join(generate(run, "the c", 20, seed=4))
    run = netc.open(tmp_path / "run", threads=2)
    metrics = run.evaluate("test")
    run.dataset = None  # so that the threads ask for it at the same time

    def work(number: int) -> object:
        return run.evaluate("test") if number % 2 else "".join(generate(run, "the c", 20, seed=4))

    assert in_threads(work, 4) == [expected, metrics, expected, metrics]


# -------------------------------------------------------------- training


@cache
def after_each_step(steps: int = 40) -> list[Array]:
    """The predictions of a program on 24 samples, before any step and after each."""
    fields, program = fields_of(24), netc.Program(netc.parse(NET), threads=1, seed=1)
    predictions = [program.predict({"x": fields["x"]})["p"]]
    for _ in range(steps):
        program.step(fields)
        predictions.append(program.predict({"x": fields["x"]})["p"])
    return predictions


@pytest.mark.every(2)
@pytest.mark.parametrize("workers", [2, 1])
def test_steps_of_two_threads_run_one_after_the_other(workers: int) -> None:
    fields = fields_of(24)
    program = netc.Program(netc.parse(NET), threads=workers, seed=1)
    in_threads(lambda number: [program.step(fields) for _ in range(10)], 2)
    assert np.array_equal(program.predict({"x": fields["x"]})["p"], after_each_step()[20])


@pytest.mark.every(2)
@pytest.mark.parametrize("workers", [2, 1])
def test_a_prediction_during_training_reads_one_state(workers: int) -> None:
    """It reads the parameters after some step, and never those of an earlier step than the prediction before it."""
    fields = fields_of(24)
    states = [state.tobytes() for state in after_each_step()]
    program = netc.Program(netc.parse(NET), threads=workers, seed=1)

    def work(number: int) -> None:
        if number == 0:
            for _ in range(30):
                program.step(fields)
            return
        last = 0
        while last < 30:
            state = program.predict({"x": fields["x"]})["p"].tobytes()
            assert state in states[last:]
            last = states.index(state, last)

    in_threads(work, 4)


def test_predictions_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call waits inside of the step until the others have arrived."""
    fields, program = fields_of(24), untrained(2)
    program.predict({"x": fields["x"]})
    real, meeting = Step.run, threading.Barrier(4, timeout=300)

    def run(self: Step, *arguments: Any) -> Any:
        meeting.wait()
        return real(self, *arguments)

    monkeypatch.setattr(Step, "run", run)
    for result in in_threads(lambda number: program.predict({"x": fields["x"]})["p"], 4):
        assert np.array_equal(result, after_each_step()[0])


def test_a_step_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = fields_of(24)
    program = netc.Program(netc.parse(NET), threads=2, seed=1)
    real, inside, mixed = Step.run, list[bool](), list[bool]()

    def run(self: Step, *arguments: Any) -> Any:
        inside.append(self.is_update)
        mixed.append(any(inside) and len(inside) > 1)
        time.sleep(0.002)
        results = real(self, *arguments)
        inside.remove(self.is_update)
        return results

    monkeypatch.setattr(Step, "run", run)
    in_threads(lambda number: [program.step(fields), program.predict({"x": fields["x"]}), program.evaluate(fields)], 6)
    assert len(mixed) >= 18
    assert not any(mixed)


def test_a_waiting_writer_is_not_overtaken() -> None:
    guard, events = Guard(), list[str]()
    guard.read()

    def write() -> None:
        with guard.writing:
            events.append("written")

    def read() -> None:
        with guard.reading:
            events.append("read")

    writer = threading.Thread(target=write)
    writer.start()
    while not guard._queue:
        pass
    reader = threading.Thread(target=read)
    reader.start()
    while len(guard._queue) < 2:
        pass
    with guard.reading:  # a call inside of a call waits for neither
        assert events == []
    guard.end_read()
    writer.join()
    reader.join()
    assert events == ["written", "read"]


def test_training_inside_of_a_reading_call_is_refused() -> None:
    """It would wait for itself."""
    guard = Guard()
    with guard.reading, pytest.raises(RuntimeError, match="inside of a call that reads"), guard.writing:
        pass
    with guard.writing, guard.writing, guard.reading:
        pass
    in_threads(lambda number: guard.write() or guard.end_write(), 2)


def test_workers_are_divided_among_calls() -> None:
    workers = Workers(4)
    with workers.team(3) as first, workers.team(4) as second, workers.team(4) as third:
        assert (first.count, second.count, third.count) == (3, 1, 1)
    with workers.team(4) as all_of_them:
        assert all_of_them.count == 4
        numbers: list[int] = []
        all_of_them.run(numbers.append, lambda: None)
        assert sorted(numbers) == [0, 1, 2, 3]


# -------------------------------------------------------------- forks

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
no_warning = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # Python 3.12: "may lead to deadlocks"


def succeeds_in_child(work: Callable[[], bool]) -> bool:
    """Whether `work` returns true in a forked process, within two minutes."""
    child = os.fork()
    if not child:
        signal.alarm(120)
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


@fork
@no_warning
@pytest.mark.every(2)
@pytest.mark.parametrize("workers", [3, 1])
def test_a_child_predicts_and_trains(workers: int) -> None:
    fields = fields_of(24)
    states = after_each_step()
    program = netc.Program(netc.parse(NET), threads=workers, seed=1)
    program.step(fields)

    def trains() -> bool:
        is_same = np.array_equal(program.predict({"x": fields["x"]})["p"], states[1])
        program.step(fields)
        results = in_threads(lambda number: program.predict({"x": fields["x"]})["p"], 3)
        return is_same and all(np.array_equal(result, states[2]) for result in results)

    assert succeeds_in_child(trains)
    assert succeeds_in_child(lambda: succeeds_in_child(trains))  # a child of a child
    assert np.array_equal(program.predict({"x": fields["x"]})["p"], states[1])  # memory is not shared with children
    program.step(fields)
    assert np.array_equal(program.predict({"x": fields["x"]})["p"], states[2])


@fork
@no_warning
def test_a_child_compiles() -> None:
    """The parent has compiled nothing, and another thread compiles while it forks."""
    fields = fields_of(24)
    expected = after_each_step()[0]
    program = netc.Program(netc.parse(NET), threads=2, seed=1)
    thread = threading.Thread(target=program.predict, args=({"x": fields["x"]},))
    thread.start()
    other = netc.Program(netc.parse(NET.replace("dense(40)", "dense(41)")), threads=2)

    def works() -> bool:
        other.step(fields)
        return np.array_equal(program.predict({"x": fields["x"]})["p"], expected)

    assert succeeds_in_child(works)
    thread.join()


@fork
@no_warning
def test_forks_while_other_threads_work() -> None:
    """A child has the parameters after some step, whatever the parent's other threads were doing."""
    fields = fields_of(24)
    states = [state.tobytes() for state in after_each_step()]
    program = netc.Program(netc.parse(NET), threads=2, seed=1)

    def work(number: int) -> bool:
        if number == 0:
            for _ in range(40):
                program.step(fields)
        elif number == 1:
            for _ in range(60):
                program.predict({"x": fields["x"]})
        else:
            return all(
                succeeds_in_child(lambda: program.predict({"x": fields["x"]})["p"].tobytes() in states)
                for _ in range(5)
            )
        return True

    assert all(in_threads(work, 4))


@fork
@no_warning
def test_a_fork_waits_for_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that, the child's parameters would be half written."""
    fields = fields_of(24)
    program = netc.Program(netc.parse(NET), threads=2, seed=1)
    program.predict({"x": fields["x"]})
    real, is_inside = Step.run, threading.Event()

    def run(self: Step, *arguments: Any) -> Any:
        if self.is_update:
            kept = {name: array.copy() for name, array in self.resources.state.arrays.items()}
            for array in self.resources.state.arrays.values():
                array[...] = 0
            is_inside.set()
            time.sleep(0.1)
            for name, array in kept.items():
                self.resources.state.arrays[name][...] = array
        return real(self, *arguments)

    monkeypatch.setattr(Step, "run", run)
    thread = threading.Thread(target=program.step, args=(fields,))
    thread.start()
    assert is_inside.wait(60)
    assert succeeds_in_child(lambda: np.array_equal(program.predict({"x": fields["x"]})["p"], after_each_step()[1]))
    thread.join()


_program: netc.Program


def _predicted(count: int) -> Array:
    return np.asarray(_program.predict({"x": fields_of(150)["x"][:count]})["p"])


@fork
@no_warning
@pytest.mark.every(2)
@pytest.mark.parametrize("workers", [2, 1])
def test_a_pool_of_four_processes(workers: int, is_long: bool) -> None:
    global _program
    _program = untrained(workers)
    expected = _predicted(150)
    counts = list(sizes(0, 150, is_long))
    with multiprocessing.get_context("fork").Pool(4) as pool:
        results = pool.map_async(_predicted, counts, chunksize=4)
        for count in counts:  # the parent continues meanwhile
            assert np.array_equal(_predicted(count), expected[:count])
        for count, result in zip(counts, results.get(timeout=300), strict=True):
            assert np.array_equal(result, expected[:count])

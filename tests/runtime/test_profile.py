"""`netc profile` lists every kernel of a step once, its shares add up to 1, and its counts are those of the graph."""

import re

import numpy as np
import pytest
from support import ROOT

import netc
from netc.compiler import pipeline
from netc.compiler.analysis.cost import flops
from netc.compiler.pipeline import run_passes, training_graph
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.insight.profile import fastest, lengths_by_dim, mean_sizes, pairs_share, profile

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("threads", [1, 2])
def test_shares_add_up_to_the_step(threads: int) -> None:
    model = netc.load(EXAMPLES / "mnist.net")
    program = netc.compile(model, threads=threads)
    measured = profile(program, synthetic_data(model, 256), seconds=0.2)
    graph = pipeline.run_passes(pipeline.training_graph(model))
    assert measured.threads == threads
    assert sum(row.flops for row in measured.rows) == pytest.approx(flops(graph, 64), rel=1e-3)
    assert sum(row.seconds for row in measured.rows) + measured.waiting == pytest.approx(measured.seconds)
    assert all(row.seconds > 0 for row in measured.rows)
    assert measured.waiting > 0
    assert all(row.bound.seconds >= 0 for row in measured.rows)
    assert all(len(phase.seconds) == threads and phase.waiting >= 0 for phase in measured.shared)
    assert [task for phase in measured.shared for task in phase.tasks] == [row.task for row in measured.rows]
    assert all(1 - 1e-9 <= speed <= count + 1e-9 for count, speed in measured.expected.items())
    assert measured.bound.seconds == pytest.approx(sum(line.bound.seconds for line in measured.lines))


def test_the_command_names_the_lines(capsys: pytest.CaptureFixture) -> None:
    from netc.commands.table import app_of

    app_of()(["profile", str(EXAMPLES / "iris.net"), "--threads", "1"], standalone_mode=False)
    rows = capsys.readouterr().out.splitlines()
    heads = ["line", "kernel", "gives", "us", "of step", "bound", "of bound", "lost us", "GFLOP/s", "GB/s"]
    assert re.split(r" {2,}", rows[0]) == heads
    at = rows[0].index("lost us") + len("lost us")
    lost = [float(row[:at].split()[-1]) for row in rows[1:-4]]
    assert lost == sorted(lost, reverse=True)
    lines = {row.split()[0] for row in rows[1:-4]}
    text = (EXAMPLES / "iris.net").read_text(encoding="utf-8").splitlines()
    logits = next(i for i, line in enumerate(text, 1) if "dense(16)" in line)
    assert str(logits) in lines
    assert "barriers" in rows[-4]
    assert "a step" in rows[-3]
    assert rows[-1].startswith("bounds of this machine: ")


def test_the_command_says_where_threads_wait(capsys: pytest.CaptureFixture) -> None:
    from netc.commands.table import app_of

    app_of()(["profile", str(EXAMPLES / "mnist.net"), "--threads", "2"], standalone_mode=False)
    rows = capsys.readouterr().out.splitlines()
    at = next(number for number, row in enumerate(rows) if row.startswith("a thread waits "))
    assert re.split(r" {2,}", rows[at + 1]) == ["phase", "line", "pieces", "us of each thread", "waits us"]
    waits = [float(row.split()[-1]) for row in rows[at + 2 : -2]]
    assert waits
    assert waits == sorted(waits, reverse=True)
    assert rows[-2].startswith("by the pieces of the plan, ")


def test_work_is_that_of_the_samples_whose_time_counts() -> None:
    """The shortest of several runs must not be the one with the shortest samples."""
    model = netc.parse(
        "model {\n  input x: float[time, 3]\n  target y: float\n  z = sum(last(x -> gru(4)))\n  loss mse(z, y)\n}"
    )
    program = netc.compile(model, threads=1)
    fields = synthetic_data(model, 300)
    step, runs = program.profiled(fields), list[np.ndarray]()

    def run(order: np.ndarray) -> None:
        runs.append(order)
        program.run_step(step, fields, order, 0)

    times = fastest(step, run, 300, seconds=0.0)
    measured = runs[2:]  # after two that prepare
    assert len(measured) > 1
    assert all(np.array_equal(order, times.order) for order in measured)
    sizes = mean_sizes(lengths_by_dim(step, fields, times.order), step.batch)
    lengths = fields["x"].lengths[times.order]
    assert sizes == {"batch": step.batch, "time": round(lengths.mean() * step.batch)}
    shortest = np.argsort(fields["x"].lengths)[: step.batch]
    other = mean_sizes(lengths_by_dim(step, fields, shortest), step.batch)
    assert other["time"] < sizes["time"]


def test_attention_has_as_many_pairs_as_each_sample_has() -> None:
    """Samples of 2 and 60 steps have more pairs than two of 31."""
    model = netc.parse(
        "model {\n  input x: float[time, 4]\n  z = x -> self_attention(2)\n  loss sum(z)\n}\ntrain { batch = 2 }"
    )
    values = run_passes(training_graph(model)).values()
    ratios = {value.operation: pairs_share(value, {"time": np.array([2, 60])}) for value in values}
    expected = (2**2 + 60**2) / 2 / 31**2
    assert ratios.pop("attend") == ratios.pop("attend_gradient") == pytest.approx(expected)
    assert {*ratios.values()} == {1.0}

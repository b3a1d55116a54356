"""`netc profile`: every kernel of the step is there once, the shares add up to the step, and the counts of work are the graph's."""

import pytest
from support import ROOT

import netc
from netc.compiler import pipeline
from netc.compiler.analysis.cost import flops
from netc.runtime.data.synthetic import synthetic_data
from netc.runtime.insight.profile import profile

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("threads", [1, 2])
def test_shares_add_up(threads: int) -> None:
    model = netc.load(EXAMPLES / "mnist.net")
    program = netc.compile(model, threads=threads)
    measured = profile(program, synthetic_data(model, 256), seconds=0.2)
    graph = pipeline.run_passes(pipeline.training_graph(model))
    assert measured.threads == threads
    assert sum(row.flops for row in measured.rows) == pytest.approx(flops(graph, 64), rel=1e-3)
    assert sum(row.seconds for row in measured.rows) + measured.waiting == pytest.approx(measured.seconds)
    assert all(row.seconds > 0 for row in measured.rows)
    assert measured.waiting > 0
    assert measured.peak > 0


def test_the_command_names_the_lines(capsys: pytest.CaptureFixture) -> None:
    from netc.commands.table import app_of

    app_of()(["profile", str(EXAMPLES / "iris.net")], standalone_mode=False)
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split() == ["line", "kernel", "gives", "us", "of", "step", "GFLOP/s", "of", "peak", "GB/s"]
    lines = {row.split()[0] for row in rows[1:-3]}
    text = (EXAMPLES / "iris.net").read_text(encoding="utf-8").splitlines()
    logits = next(i for i, line in enumerate(text, 1) if "dense(16)" in line)
    assert str(logits) in lines
    assert "barriers" in rows[-3]
    assert "a step" in rows[-2]

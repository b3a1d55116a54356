"""Models with long chains of operations: no pass recurses along them, and shared values are computed only once."""

from typing import Any

import numpy as np
import pytest

import netc
from netc.compiler import pipeline
from netc.compiler.lowering.fuse import fuse
from netc.compiler.lowering.lower import lower
from netc.compiler.lowering.units import Fusion
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.machine import host

LONG = 600


def model(links: int, link: str) -> netc.Model:
    """A model that applies `link` so many times in a row, with parameters before and after."""
    text = f"""
block f(h: float[n]) {{
  return {link}
}}
model {{
  input x: float[3]
  target y: float
  h = x -> dense(4) {"-> f" * links}
  output z = h -> dense(1) -> squeeze
  loss mse(z, y)
}}
"""
    return netc.parse(text)


CHAINS = {
    "one user each": ("tanh(h * 1.5)", lambda h: np.tanh(h * 1.5)),
    "two uses by one user": ("tanh(h * h + h)", lambda h: np.tanh(h * h + h)),
    "two users": ("0.5 * (sin(h) + cos(h) * h)", lambda h: 0.5 * (np.sin(h) + np.cos(h) * h)),
}


@pytest.mark.parametrize("kind", CHAINS)
def test_a_long_chain_is_computed(kind: str) -> None:
    link, reference = CHAINS[kind]
    built = model(60, link)
    program = netc.Program(built, seed=1)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    weights = [program.persistent[name].astype(np.float64) for name in built.parameters if name.endswith(".W")]
    h = x.astype(np.float64) @ weights[0]
    for _ in range(60):
        h = reference(h)
    np.testing.assert_allclose(program.predict({"x": x})["z"], (h @ weights[1])[:, 0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", CHAINS)
def test_a_training_step_of_a_long_chain_is_written_once(kind: str) -> None:
    """Twice as many links give twice as many lines of kernels.

    Inlined values are neither written nor visited again for each use.
    """
    lines, sources = [], []
    for links in (30, 60):
        graph = pipeline.run_passes(pipeline.training_graph(model(links, CHAINS[kind][0])))
        tasks = lower(graph, 8, host())
        lines.append(sum(source_of(task.kernel).text.count("\n") for task in tasks.tasks))
        fusion = fuse(graph)
        sources.append(sum(len(list(fusion.sources(value))) for unit in fusion.units for value in unit.values))
    assert lines[0] < lines[1] < 2.5 * lines[0]
    assert sources[1] < 2.5 * sources[0]


@pytest.mark.parametrize("link", ["tanh(h)", "h + 1", "h + h", "reshape(reshape(h, 2, 2), 4)"])
def test_no_pass_recurses_along_a_chain(link: str) -> None:
    graph = pipeline.run_passes(pipeline.training_graph(model(LONG, link)))
    assert lower(graph, 8, host()).tasks


def test_updates_look_for_readers_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many layers take twice as many reads: an update does not search through all reads."""
    real, looked_at = Fusion.sources, [0]

    def counted(*arguments: Any) -> Any:
        for source in real(*arguments):
            looked_at[0] += 1
            yield source

    monkeypatch.setattr(Fusion, "sources", counted)
    counts = []
    for layers in (12, 24):
        looked_at[0] = 0
        lower(pipeline.run_passes(pipeline.training_graph(model(layers, "h -> dense(4)"))), 8, host())
        counts.append(looked_at[0])
    assert 0 < counts[1] < 2.5 * counts[0]

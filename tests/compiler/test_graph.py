"""The printed graph reads back, and the passes' graphs are what the golden files say."""

from pathlib import Path

import netc
from netc.compiler import pipeline
from netc.compiler.graph import parse_graph, print_graph, verify
from netc.compiler.operations.shape import reshape

HERE = Path(__file__).parent
NEURON = """model {
  input x: float[3]
  target y: float
  output z = x -> dense(1) -> squeeze -> tanh
  loss mse(z, y)
}
train { optimizer = sgd(lr = 0.1) }
"""


def without_places(text: str) -> str:
    return "\n".join(line.split("  #")[0] for line in text.splitlines())


def test_the_printed_graph_reads_back() -> None:
    graph = pipeline.training_graph(netc.parse(NEURON))
    again = parse_graph(print_graph(graph))
    verify(again)
    assert without_places(print_graph(again)) == without_places(print_graph(graph))


def test_stages_of_one_neuron(golden) -> None:
    model = netc.parse(NEURON, "neuron.net")
    graph = pipeline.training_graph(model)
    golden(HERE / "neuron.elaborate.txt", print_graph(model.graph))
    golden(HERE / "neuron.update.txt", print_graph(graph))
    golden(HERE / "neuron.simplify.txt", print_graph(pipeline.run_passes(graph)))


def test_axes_have_names() -> None:
    model = netc.parse("""block spread(x: float[h, w, c]) {
  y = x * 2
  return mean(y, over = (h, w)) + sum(x[0, 0, :]) / c
}
model {
  input x: float[2, 5, 3]
  output y = spread(x)
  output z = mean(x - mean(x, over = batch), over = 0)
}""")
    assert model.outputs["y"].dims == ("batch", 3)
    assert model.outputs["z"].dims == ("batch", 5, 3)
    assert reshape.name == "reshape"

"""Long sequences in chunks: states are carried from chunk to chunk, and gradients are not."""

import numpy as np
import pytest
from support import run

import netc
from netc.compiler import pipeline
from netc.runtime.execution.memory import footprint
from netc.runtime.execution.resources import state_layout
from netc.runtime.execution.step_cost import step_memory

RNG = np.random.default_rng(5)
LENGTHS = (23, 7, 40, 12, 10, 31)
X = [RNG.standard_normal((n, 3)) for n in LENGTHS]
Y = [RNG.standard_normal((n, 2)) for n in LENGTHS]
MODELS = {
    "an RNN": "h = x -> rnn(5)",
    "two layers": "h = x -> lstm(4) -> gru(5)",
    "what was before": "h = concat(x, shift(x, first = ones(3)), over = -1) -> rnn(5)",
    "a step's number": "h = concat(x, unsqueeze(arange(time) / 40)) -> rnn(5)",
}


def text_of(statement: str, more: str = "", optimizer: str = "sgd(lr = 0.000001)") -> str:
    return (
        f"model {{\n  input x: float[time <= 40, 3]\n  target y: float[time, 2]\n  {statement}\n"
        f"  z = h -> dense(2)\n  output z = z\n  loss mse(z, y)\n}}\n"
        f"train {{\n  precision = f64\n  batch = 6\n  optimizer = {optimizer}\n{more}}}\n"
    )


@pytest.mark.parametrize("name", MODELS)
def test_states_are_carried_from_chunk_to_chunk(name: str) -> None:
    """With weights that hardly move, the loss is that of whole sequences, on all backends and on threads."""
    cut = text_of(MODELS[name], "  truncate = (time = 10)\n")
    untruncated = run(text_of(MODELS[name])).step({"x": X, "y": Y})["loss"]
    programs = [run(cut, "reference"), run(cut), run(cut, threads=2), run(cut, threads=3)]
    losses = [program.step({"x": X, "y": Y})["loss"] for program in programs]
    assert losses == pytest.approx([untruncated] * 4, rel=1e-4)
    for program in programs[1:]:
        for key, array in program.parameters.items():
            np.testing.assert_allclose(array, programs[0].parameters[key], rtol=1e-10)
            np.testing.assert_array_equal(array, programs[1].parameters[key])


def test_a_chunk_longer_than_the_sequences_changes_nothing() -> None:
    text = text_of(MODELS["two layers"], optimizer="sgd(lr = 0.1)")
    first, other = run(text), run(text.replace("batch = 6", "batch = 6\n  truncate = (time = 40)"))
    for _ in range(2):
        assert first.step({"x": X, "y": Y})["loss"] == pytest.approx(other.step({"x": X, "y": Y})["loss"], rel=1e-12)
    for key, array in first.parameters.items():
        np.testing.assert_allclose(array, other.parameters[key], rtol=1e-10)


def test_gradients_stop_at_the_beginning_of_a_chunk() -> None:
    torch = pytest.importorskip("torch")
    program = run(text_of(MODELS["an RNN"], "  truncate = (time = 10)\n", "sgd(lr = 0.1)"))
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in program.parameters.items()}
    program.step({"x": X, "y": Y})
    states = [torch.zeros(5, dtype=torch.float64) for _ in X]
    for begin in range(0, 40, 10):
        total, count = torch.zeros((), dtype=torch.float64), 0
        for i, (x, y) in enumerate(zip(X, Y, strict=True)):
            h = states[i].detach()
            for step in range(begin, min(begin + 10, len(x))):
                h = torch.tanh(torch.tensor(x[step]) @ tensors["h.rnn.W"] + h @ tensors["h.rnn.U"] + tensors["h.rnn.b"])
                z = h @ tensors["z.dense.W"] + tensors["z.dense.b"]
                total, count = total + ((z - torch.tensor(y[step])) ** 2).mean(), count + 1
            states[i] = h
        gradients = torch.autograd.grad(total / count, list(tensors.values()))
        tensors = {
            name: (value - 0.1 * gradient).detach().requires_grad_()
            for (name, value), gradient in zip(tensors.items(), gradients, strict=True)
        }
    for name, value in tensors.items():
        np.testing.assert_allclose(program.parameters[name], value.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_operations_on_all_steps_are_a_message() -> None:
    for statement in ("h = x -> bidirectional(gru(2))", "h = x - mean(x, over = time)", "h = x -> self_attention"):
        with pytest.raises(netc.Fault, match="`truncate` cuts `time` into chunks"):
            run(text_of(statement, "  truncate = (time = 10)\n"))


def test_random_numbers_differ_from_chunk_to_chunk() -> None:
    text = text_of("h = dropout(x * 0 + 1, 0.5)", "  truncate = (time = 10)\n").replace("mse(z, y)", "mse(h, x * 0)")
    text = text.replace("h = dropout", "w = x -> dense(3)\n  h = 0 * w + dropout")
    program = run(text)
    inputs = [np.ones((40, 3))] * 6
    untruncated = program.step({"x": inputs, "y": [np.zeros((40, 2))] * 6})["loss"]
    first = run(text).step({"x": [x[:10] for x in inputs], "y": [np.zeros((10, 2))] * 6})["loss"]
    assert untruncated != pytest.approx(first, rel=1e-9)


LIMITED = """
model {
  input x: float[time <= 200, 3]
  target y: float[time, 2]
  z = x -> LAYER -> dense(2)
  output z = z
  loss mse(z, y)
}
train {
  batch = 6
}
"""


# layers that keep their bits under a limit; `memory` must hold for each layer of the library
LAYERS = (
    "lstm(32)",
    "gru(32)",
    "lstm_peephole(32)",
    "lstm(16) -> gru(32)",
    "bidirectional(lstm(16))",
    "bidirectional(gru(16)) -> bidirectional(gru(32))",  # two products are added to the gradient of the first layer
)
KEPT = 6 * 200 * 32 * 4  # 32 numbers for each step of the longest batch, in bytes


def limited_to(text: str, nbytes: int) -> netc.Model:
    return netc.parse(text.replace("batch = 6", f'batch = 6\n  memory = "{nbytes} B"'))


@pytest.mark.every(3)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_memory_limit_does_not_change_bits(layer: str) -> None:
    """The tightest limit is computed for each number of workers, because the memory of a step depends on the caches."""
    text = LIMITED.replace("LAYER", layer)
    model = netc.parse(text)
    programs, limits = [netc.compile(model, threads=1)], []
    fields = {"x": [x.astype(np.float32) for x in X], "y": [y.astype(np.float32) for y in Y]}
    for threads in (1, 8):
        free, least = (
            sum(step_memory(model, threads, model.bounds, rematerialises)) for rematerialises in (False, True)
        )
        assert free - least > 4 * KEPT, "a layer keeps at least four such values for its gradient"
        programs.append(netc.compile(limited_to(text, least), threads=threads))
        limits.append(least)
    for _ in range(3):
        assert len({program.step(fields)["loss"] for program in programs}) == 1
    for program in programs[1:]:
        for name, array in programs[0].parameters.items():
            np.testing.assert_array_equal(array, program.parameters[name], err_msg=name)
    assert [memory_of_the_longest_step(program, fields) for program in programs[1:]] == limits


def memory_of_the_longest_step(program: netc.Program, fields: dict[str, list[np.ndarray]]) -> int:
    """The bytes that a step of the longest sequences allocates."""
    program.step({name: [arrays[0][:1].repeat(200, axis=0)] * 6 for name, arrays in fields.items()})
    step = program.training({})
    assert step.plan is not None
    kept = footprint(state_layout(program.model, pipeline.training_graph(program.model))[2])
    return kept + footprint(step.plan.shared) + step.members * footprint(step.plan.private)


def test_a_limit_that_cannot_be_kept_is_a_message() -> None:
    text = LIMITED.replace("LAYER", "gru(8)")
    model = netc.parse(text)
    least = sum(step_memory(model, 2, model.bounds, rematerialises=True))
    netc.compile(limited_to(text, least), threads=2)
    with pytest.raises(netc.Fault, match=f"takes {least:,} bytes at least"):
        netc.compile(limited_to(text, least - 1), threads=2)
    with pytest.raises(netc.Fault, match="bytes at least"):
        netc.compile(
            netc.parse(LIMITED.replace("LAYER", "lstm(16)").replace("batch = 6", 'batch = 6\n  memory = "10 kB"'))
        )
    text = LIMITED.replace("LAYER", "lstm(16)").replace("time <= 200", "time").replace("batch = 6", 'memory = "1 GB"')
    with pytest.raises(netc.Fault, match="how long `time` is at most must be known"):
        netc.compile(netc.parse(text))


def test_a_scan_over_a_count_is_not_truncated() -> None:
    """All of its steps run in every chunk, because the truncated dimension is another one."""
    text = (
        "model {\n  input x: class(2)[time]\n  h = scan i in 0..3 with c = 0 {\n    c = c + 1\n    yield i\n  }\n"
        "  z = h -> dense(1)\n"
        "  e = x -> embed(2)\n  loss a = z ** 2\n  loss b = e ** 2\n}\ntrain {\n  truncate = (time = 1)\n"
        "  precision = f64\n}\n"
    )
    fields = {"x": [np.array([0, 1]), np.array([1])]}
    losses = [run(text, backend).step(fields)["loss"] for backend in ("cpu", "reference")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_a_truncated_dimension_that_no_loss_reads() -> None:
    text = (
        "model {\n  input x: float[time]\n  target y: float\n  param w: float = normal(1)\n  loss square(w - y)\n}\n"
        "train {\n  truncate = (time = 1)\n}\n"
    )
    with pytest.raises(netc.Fault, match="no loss reads it"):
        run(text)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_other_dimensions_are_not_truncated(backend: str) -> None:
    """A sequence that no loss reads, along another dimension, may be shorter or longer than a chunk."""
    text = (
        "model {\n  input x: float[time, 2]\n  input z: float[s, 2]\n  target y: float[time, 2]\n"
        "  h = x -> dense(2)\n  output k = z -> dense(2)\n"
        "  loss mse(h, y)\n}\ntrain {\n  precision = f64\n  truncate = (time = 3)\n}\n"
    )
    rng = np.random.default_rng(0)
    lengths = {"x": (4, 6), "z": (2, 5), "y": (4, 6)}
    fields = {name: [rng.standard_normal((n, 2)) for n in counts] for name, counts in lengths.items()}
    program = run(text, backend)
    first = program.step(fields)["loss"]
    for _ in range(5):
        last = program.step(fields)["loss"]
    assert last < first

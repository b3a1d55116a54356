"""Long sequences in chunks: states go on from each to the next, gradients do not."""

import numpy as np
import pytest

import netc

RNG = np.random.default_rng(5)
LENGTHS = (23, 7, 40, 12, 10, 31)
X = [RNG.standard_normal((n, 3)) for n in LENGTHS]
Y = [RNG.standard_normal((n, 2)) for n in LENGTHS]
MADE = {
    "an RNN": "h = x -> rnn(5)",
    "two layers": "h = x -> lstm(4) -> gru(5)",
    "what was before": "h = concat(x, shift(x, first = ones(3)), over = -1) -> rnn(5)",
    "a step's number": "h = concat(x, unsqueeze(arange(time) / 40)) -> rnn(5)",
}


def text_of(made: str, more: str = "", optimizer: str = "sgd(lr = 0.000001)") -> str:
    return (
        f"model {{\n  input x: float[time <= 40, 3]\n  target y: float[time, 2]\n  {made}\n  z = h -> dense(2)\n  output z = z\n  loss mse(z, y)\n}}\n"
        f"train {{\n  precision = f64\n  batch = 6\n  optimizer = {optimizer}\n{more}}}\n"
    )


def run(text: str, backend: str = "numba", threads: int = 1) -> netc.Program:
    return netc.compile(netc.parse(text), backend=backend, threads=threads)


@pytest.mark.parametrize("name", MADE)
def test_states_go_on(name: str) -> None:
    """With weights that hardly move the loss is that of whole sequences; compiled, interpreted and on threads alike."""
    cut = text_of(MADE[name], "  truncate = (time = 10)\n")
    whole = run(text_of(MADE[name])).step({"x": X, "y": Y})["loss"]
    programs = [run(cut, "reference"), run(cut), run(cut, threads=2), run(cut, threads=3)]
    losses = [program.step({"x": X, "y": Y})["loss"] for program in programs]
    assert losses == pytest.approx([whole] * 4, rel=1e-4)
    for program in programs[1:]:
        for key, array in program.parameters.items():
            np.testing.assert_allclose(array, programs[0].parameters[key], rtol=1e-10)
            np.testing.assert_array_equal(array, programs[1].parameters[key])


def test_a_chunk_that_holds_all_is_no_chunk() -> None:
    text = text_of(MADE["two layers"], optimizer="sgd(lr = 0.1)")
    one, other = run(text), run(text.replace("batch = 6", "batch = 6\n  truncate = (time = 40)"))
    for _ in range(2):
        assert one.step({"x": X, "y": Y})["loss"] == pytest.approx(other.step({"x": X, "y": Y})["loss"], rel=1e-12)
    for key, array in one.parameters.items():
        np.testing.assert_allclose(array, other.parameters[key], rtol=1e-10)


def test_gradients_stop_at_the_chunks_beginning() -> None:
    torch = pytest.importorskip("torch")
    program = run(text_of(MADE["an RNN"], "  truncate = (time = 10)\n", "sgd(lr = 0.1)"))
    own = {name: torch.tensor(array, requires_grad=True) for name, array in program.parameters.items()}
    program.step({"x": X, "y": Y})
    states = [torch.zeros(5, dtype=torch.float64) for _ in X]
    for begin in range(0, 40, 10):
        total, count = torch.zeros((), dtype=torch.float64), 0
        for i, (x, y) in enumerate(zip(X, Y, strict=True)):
            h = states[i].detach()
            for step in range(begin, min(begin + 10, len(x))):
                h = torch.tanh(torch.tensor(x[step]) @ own["h.rnn.W"] + h @ own["h.rnn.U"] + own["h.rnn.b"])
                z = h @ own["z.dense.W"] + own["z.dense.b"]
                total, count = total + ((z - torch.tensor(y[step])) ** 2).mean(), count + 1
            states[i] = h
        gradients = torch.autograd.grad(total / count, list(own.values()))
        own = {
            name: (value - 0.1 * gradient).detach().requires_grad_()
            for (name, value), gradient in zip(own.items(), gradients, strict=True)
        }
    for name, value in own.items():
        np.testing.assert_allclose(program.parameters[name], value.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_what_sees_all_steps_is_told() -> None:
    for made in ("h = x -> bidirectional(gru(2))", "h = x - mean(x, over = time)", "h = x -> self_attention"):
        with pytest.raises(netc.Fault, match="`truncate` cuts `time` into chunks"):
            run(text_of(made, "  truncate = (time = 10)\n"))


def test_random_numbers_differ_from_chunk_to_chunk() -> None:
    text = text_of("h = dropout(x * 0 + 1, 0.5)", "  truncate = (time = 10)\n").replace("mse(z, y)", "mse(h, x * 0)")
    text = text.replace("h = dropout", "w = x -> dense(3)\n  h = 0 * w + dropout")
    program = run(text)
    ones = [np.ones((40, 3))] * 6
    whole = program.step({"x": ones, "y": [np.zeros((40, 2))] * 6})["loss"]
    first = run(text).step({"x": [x[:10] for x in ones], "y": [np.zeros((10, 2))] * 6})["loss"]
    assert whole != pytest.approx(first, rel=1e-9)

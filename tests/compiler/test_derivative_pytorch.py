"""Gradients of gradients, as PyTorch has them: the losses of test_derivative.py once more, a sample at a time, in f64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import run
from test_derivative import LOSSES, fields_of, text_of

torch = pytest.importorskip("torch")
F = torch.nn.functional
Parameters = dict[str, Any]
Sample = dict[str, Any]


def grad(y: Any, x: Any) -> Any:
    return torch.autograd.grad(y, x, create_graph=True)[0]


def dense(x: Any, p: Parameters, name: str) -> Any:
    return x @ p[f"{name}.W"] + p[f"{name}.b"]


def conv(x: Any, p: Parameters, name: str, stride: int = 1) -> Any:
    """Of an image [h, w, c] with a 3x3 kernel; `same` puts the odd row and column at the end."""
    before = 1 if stride == 1 else 0
    padded = F.pad(x.permute(2, 0, 1)[None], (before, 1, before, 1))
    return F.conv2d(padded, p[f"{name}.W"].permute(3, 2, 0, 1), p[f"{name}.b"], stride=stride)[0].permute(1, 2, 0)


def gru(x: Any, p: Parameters, name: str) -> Any:
    h = torch.zeros(4, dtype=torch.float64)
    for xt in x:
        (xr, xz, xn), (hr, hz, hn) = (
            (xt @ p[f"{name}.W"] + p[f"{name}.b"]).split(4),
            (h @ p[f"{name}.U"] + p[f"{name}.c"]).split(4),
        )
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        h = (1 - z) * torch.tanh(xn + r * hn) + z * h
    return h


def lstm(x: Any, p: Parameters, name: str) -> Any:
    h = c = torch.zeros(4, dtype=torch.float64)
    for xt in x:
        i, f, g, o = (xt @ p[f"{name}.W"] + h @ p[f"{name}.U"] + p[f"{name}.b"]).split(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h


def penalty(p: Parameters, s: Sample) -> Any:
    h = dense(torch.tanh(dense(s["x"], p, "h.dense")), p, "h.dense_2")[0]
    return (h - s["y"]) ** 2 + (grad(h, s["x"]) ** 2).sum()


def contractive(p: Parameters, s: Sample) -> Any:
    c = torch.sigmoid(dense(s["x"], p, "c.dense"))
    return (c.sum() - s["y"]) ** 2 + sum((grad(component, s["x"]) ** 2).sum() for component in c)


def equation(p: Parameters, s: Sample) -> Any:
    u = dense(torch.tanh(dense(s["x"][:1], p, "u.dense")), p, "u.dense_2")[0]
    return (grad(u, s["x"])[0] + u - s["y"]) ** 2


def second_order(p: Parameters, s: Sample) -> Any:
    u = dense(torch.tanh(dense(s["x"][:2], p, "u.dense")), p, "u.dense_2")[0]
    d = grad(u, s["x"])
    return (grad(d[0], s["x"])[0] + grad(d[1], s["x"])[1] - s["y"]) ** 2


def third_order(p: Parameters, s: Sample) -> Any:
    u = dense(torch.sin(dense(s["x"], p, "u.dense")), p, "u.dense_2")[0]
    return (grad(grad(grad(u, s["x"])[0], s["x"])[1], s["x"])[0] - s["y"]) ** 2


def softplus(p: Parameters, s: Sample) -> Any:
    u = dense(F.softplus(dense(s["x"], p, "u.dense")), p, "u.dense_2")[0]
    return (grad(u, s["x"]) ** 2).sum() + u * s["y"]


def products(p: Parameters, s: Sample) -> Any:
    a = dense(s["x"], p, "A.dense").reshape(4, 4)
    u = (a @ a * torch.outer(s["x"], s["x"])).sum()
    return (grad(u, s["x"]).sum() - s["y"]) ** 2


def softmax(p: Parameters, s: Sample) -> Any:
    chances = torch.softmax(dense(s["x"], p, "p.dense"), dim=0)
    u = (chances * chances.log()).sum()
    return (grad(u, s["x"]) ** 2).sum() + s["y"] * u


def layernorm(p: Parameters, s: Sample) -> Any:
    h = F.layer_norm(dense(s["x"], p, "u.dense"), (6,), p["u.layernorm.scale"], p["u.layernorm.shift"], 1e-5)
    return grad(torch.tanh(h).sum(), s["x"]).norm() * s["y"]


def convolution(p: Parameters, s: Sample) -> Any:
    u = conv(torch.tanh(conv(s["im"], p, "u.conv")), p, "u.conv_2", stride=2).sum()
    return (grad(u, s["im"]) ** 2).sum() + s["y"] * u


def pool(p: Parameters, s: Sample) -> Any:
    pooled = F.avg_pool2d(torch.tanh(conv(s["im"], p, "u.conv")).permute(2, 0, 1), 2)
    u = (pooled**2).sum()
    return (grad(u, s["im"]) ** 2).mean() + s["y"] * u


def line(p: Parameters, s: Sample) -> Any:
    convolved = F.conv1d(s["f"].T[None], p["u.conv.W"].permute(2, 1, 0), p["u.conv.b"], padding=1)
    return (grad((torch.tanh(convolved) ** 2).sum(), s["f"]) ** 2).sum() * s["y"]


def through_lstm(p: Parameters, s: Sample) -> Any:
    u = dense(lstm(s["f"], p, "h.lstm"), p, "u.dense")[0]
    return (grad(u, s["f"]) ** 2).sum() + s["y"] * u


def through_gru(p: Parameters, s: Sample) -> Any:
    u = dense(gru(s["s"], p, "h.gru"), p, "u.dense")[0]
    return (grad(u, s["s"]) ** 2).sum() + s["y"] * u


def attention(p: Parameters, s: Sample) -> Any:
    q, k, v = (s["s"] @ p["u.self_attention.W"] + p["u.self_attention.b"]).split(3, dim=1)
    seen = torch.softmax(q @ k.T / 3**0.5, dim=1) @ v
    attended = seen @ p["u.self_attention.W_out"] + p["u.self_attention.b_out"]
    return (grad(torch.tanh(attended).sum(), s["s"]) ** 2).sum() * s["y"]


def middle(p: Parameters, s: Sample) -> Any:
    h = torch.tanh(dense(s["x"], p, "h.dense"))
    u = dense(torch.sigmoid(dense(h, p, "u.dense")), p, "u.dense_2")[0]
    return (grad(u, h) ** 2).sum() + s["y"] * u


def gelu(p: Parameters, s: Sample) -> Any:
    u = (F.gelu(dense(s["x"], p, "u.dense")) * torch.cos(dense(s["x"], p, "u.dense_2"))).sum()
    return (grad(u, s["x"]) ** 2).sum() * s["y"]


def square_root(p: Parameters, s: Sample) -> Any:
    u = torch.sqrt(1 + (dense(s["x"], p, "u.dense") ** 2).sum())
    return (grad(u, s["x"]).sum() - s["y"]) ** 2


THEIRS: dict[str, Callable[[Parameters, Sample], Any]] = {
    "a penalty on a gradient": penalty,
    "contractive": contractive,
    "an equation": equation,
    "of second order": second_order,
    "of third order": third_order,
    "softplus": softplus,
    "products": products,
    "softmax": softmax,
    "logsumexp": lambda p, s: grad(dense(s["x"], p, "u.dense").logsumexp(0), s["x"]).exp().sum() * s["y"],
    "layernorm": layernorm,
    "a convolution": convolution,
    "a pool": pool,
    "a line": line,
    "an LSTM of known length": through_lstm,
    "a GRU of any length": through_gru,
    "attention": attention,
    "with respect to a middle value": middle,
    "gelu, erf, cos": gelu,
    "a square root": square_root,
}


def test_no_loss_is_left_out() -> None:
    assert set(THEIRS) == set(LOSSES)


@pytest.mark.parametrize("name", THEIRS)
def test_gradients_of_gradients_are_pytorchs(name: str) -> None:
    program = run(text_of(LOSSES[name]), threads=2)
    fields = fields_of(program)
    loss, gradients = program.gradients(fields)
    parameters = {key: torch.tensor(np.array(array), requires_grad=True) for key, array in program.parameters.items()}
    samples = [
        {key: torch.tensor(array[i], requires_grad=key != "y") for key, array in fields.items()}
        for i in range(len(fields["y"]))
    ]
    theirs = sum(THEIRS[name](parameters, sample) for sample in samples) / len(samples)
    theirs.backward()
    assert loss == pytest.approx(theirs.item(), rel=1e-10)
    for key, gradient in gradients.items():
        expected = parameters[key].grad
        expected = np.zeros_like(gradient) if expected is None else expected.numpy()
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-11, err_msg=key)

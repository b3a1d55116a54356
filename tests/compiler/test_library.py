"""The losses, metrics and normalisations of the library, compared with PyTorch or with their definition in NumPy."""

import numpy as np
import pytest

import netc

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, 40, 5)) * 2
Y = RNG.integers(0, 5, 40).astype(np.int32)
T = {"a": torch.tensor(A), "b": torch.tensor(B), "y": torch.tensor(Y).long()}
FIELDS = {"a": A, "b": B, "y": Y, "s": RNG.random((40, 5))}

LOSSES = {
    "mse(a, b)": lambda a, b, y, s: F.mse_loss(a, b),
    "mae(a, b)": lambda a, b, y, s: F.l1_loss(a, b),
    "huber(a, b)": lambda a, b, y, s: F.huber_loss(a, b),
    "cross_entropy(a, y)": lambda a, b, y, s: F.cross_entropy(a, y),
    "binary_cross_entropy(a, s)": lambda a, b, y, s: F.binary_cross_entropy_with_logits(a, s),
    "nll(log_softmax(a), y)": lambda a, b, y, s: F.nll_loss(F.log_softmax(a, -1), y),
    "hinge(a, y)": lambda a, b, y, s: F.multi_margin_loss(a, y) * 5,  # PyTorch divides by the classes
    "kl(a, b)": lambda a, b, y, s: (-0.5 * (1 + b - a**2 - b.exp())).sum(-1).mean(),
    "cosine_distance(a, b)": lambda a, b, y, s: (1 - F.cosine_similarity(a, b)).mean(),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_and_their_gradients(loss: str) -> None:
    """The loss of a * w, and its gradient with respect to the vector w."""
    text = "model {\n" + "".join(
        {
            "a": "  input a: float[5]\n",
            "b": "  input b: float[5]\n",
            "y": "  target y: class(5)\n",
            "s": "  target s: float[5]\n",
        }[name]
        for name in "abys"
    )
    text += (
        f"  param w: float[5] = ones\n  u = a\n  a = a * w\n  output p = u + b\n  output q = a\n  loss {loss}\n}}\n"
        f"train {{\n  precision = f64\n  batch = 40\n}}\n"
    )
    program = netc.compile(netc.parse(text))
    actual, gradients = program.gradients(FIELDS)
    w = torch.ones(5, dtype=torch.float64, requires_grad=True)
    expected = LOSSES[loss](T["a"] * w, T["b"], T["y"], torch.tensor(FIELDS["s"]))
    expected.backward()
    assert actual == pytest.approx(expected.item(), abs=1e-9)
    np.testing.assert_allclose(gradients["w"], w.grad.numpy(), atol=1e-9)


def figure(metric: str) -> float:
    text = (
        f"model {{\n  input a: float[5]\n  target y: class(5)\n  target b: float[5]\n  output p = a\n"
        f"  metric m = {metric}\n}}\ntrain {{\n  batch = 16\n  precision = f64\n}}\n"
    )
    return netc.compile(netc.parse(text)).evaluate({"a": A, "y": Y, "b": B})["m"]


def test_metrics_are_computed_over_the_whole_split() -> None:
    ranks = (A[np.arange(40), Y][:, None] < A).sum(1)
    assert figure("accuracy(a, y)") == pytest.approx((ranks == 0).mean())
    assert figure("top_k(a, y, 2)") == pytest.approx((ranks < 2).mean())
    assert figure("top_k(a, y, 5)") == 1
    assert figure("perplexity(a, y)") == pytest.approx(float(F.cross_entropy(T["a"], T["y"]).exp()))
    assert figure("rmse(a, b)") == pytest.approx(float(F.mse_loss(T["a"], T["b"]).sqrt()))
    assert figure("mae(a, b)") == pytest.approx(float(F.l1_loss(T["a"], T["b"])))


@pytest.mark.parametrize(("dims", "groups"), [("6", 2), ("5, 6", 3), ("4, 3, 6", 1), ("4, 3, 6", 6)])
def test_groupnorm_is_that_of_pytorch(dims: str, groups: int) -> None:
    """The result, and the gradients of input, scale and shift. PyTorch has the channels behind the batch."""
    lines = (f"input x: float[{dims}]", f"y = x -> groupnorm({groups})", "output y = y", "loss mean(y * y * y)")
    text = "model {\n" + "\n".join(lines) + "\n}\ntrain { precision = f64 }"
    program = netc.compile(netc.parse(text), backend="reference", batch=4)
    random = np.random.default_rng(3)
    for name in ("y.groupnorm.scale", "y.groupnorm.shift"):
        program.parameters[name][...] = random.standard_normal(6)
    x = random.standard_normal((4, *map(int, dims.split(", "))))
    ours, gradients = program.predict({"x": x})["y"], program.gradients({"x": x}, wrt=("x",))[1]
    theirs = torch.tensor(np.moveaxis(x, -1, 1), requires_grad=True)
    layer = torch.nn.GroupNorm(groups, 6, dtype=torch.float64)
    with torch.no_grad():
        layer.weight[...] = torch.tensor(program.parameters["y.groupnorm.scale"])
        layer.bias[...] = torch.tensor(program.parameters["y.groupnorm.shift"])
    result = layer(theirs)
    (result**3).mean().backward()
    np.testing.assert_allclose(ours, np.moveaxis(result.detach().numpy(), 1, -1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradients["x"], np.moveaxis(theirs.grad.numpy(), 1, -1), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(gradients["y.groupnorm.scale"], layer.weight.grad.numpy(), rtol=1e-8)
    np.testing.assert_allclose(gradients["y.groupnorm.shift"], layer.bias.grad.numpy(), rtol=1e-8)

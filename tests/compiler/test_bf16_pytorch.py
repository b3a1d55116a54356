"""A network with `precision = bf16`, compared with PyTorch on operands that PyTorch rounds to bf16, sums in f64.

All sums are exact, so gradients are compared to the bit.
"""

from typing import Any

import numpy as np
import pytest
from exact_sums import TEXT, fields, set_parameters
from support import run

torch = pytest.importorskip("torch")
F = torch.nn.functional


class Rounded(torch.autograd.Function):
    """Rounds a number; its derivative is taken as one."""

    @staticmethod
    def forward(context: Any, x: Any) -> Any:
        return x.to(torch.bfloat16).to(torch.float64)

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        return gradient


class RoundedBack(torch.autograd.Function):
    """Rounds the gradient of a number, and not the number."""

    @staticmethod
    def forward(context: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Any) -> Any:
        return gradient.to(torch.bfloat16).to(torch.float64)


def product(function: Any, x: Any, w: Any) -> Any:
    """A product whose own gradients read rounded operands too."""
    return RoundedBack.apply(function(Rounded.apply(x), Rounded.apply(w)))


def by_pytorch(p: dict[str, Any], x: Any, y: Any) -> Any:
    image = product(lambda x, w: F.conv2d(x, w, padding=1), x.permute(0, 3, 1, 2), p["h.conv.W"].permute(3, 2, 0, 1))
    h = F.max_pool2d(torch.relu(image + p["h.conv.b"][:, None, None]), 2).permute(0, 2, 3, 1).flatten(1)
    h = torch.relu(product(torch.matmul, h, p["z.dense.W"]) + p["z.dense.b"])
    z = product(torch.matmul, h, p["z.dense_2.W"]) + p["z.dense_2.b"]
    return (z * y).sum(1).mean()


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_gradients_are_those_of_pytorch_to_the_bit(backend: Any) -> None:
    narrow, wide = (run(TEXT.replace("PRECISION", name), backend) for name in ("bf16", "f32"))
    set_parameters(narrow, wide)
    batch, parameters = fields(), narrow.parameters
    p = {name: torch.tensor(array, dtype=torch.float64, requires_grad=True) for name, array in parameters.items()}
    loss = by_pytorch(p, *(torch.tensor(array, dtype=torch.float64) for array in batch.values()))
    expected = dict(zip(p, torch.autograd.grad(loss, list(p.values())), strict=True))
    own_loss, gradients = narrow.gradients(batch)
    assert own_loss == pytest.approx(loss.item(), rel=1e-6)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, expected[name].numpy(), err_msg=name)
    _, unrounded = wide.gradients(batch)
    for name in ("h.conv.W", "z.dense.W", "z.dense_2.W"):
        assert np.abs(gradients[name] - unrounded[name]).max() > 1e-4, name

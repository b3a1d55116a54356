"""Layers along lines, dilated depthwise convolutions and layers that enlarge an image agree with PyTorch."""

from typing import Any

import numpy as np
import pytest

import netc

torch = pytest.importorskip("torch")
F = torch.nn.functional

CASES: dict[str, tuple[str, str, Any]] = {  # the type of x, the layer, and PyTorch's function of x[b, c, ...], W and b
    "two kernels, a stride and a dilation": (
        "float[13, 4]",
        "depthwise(3, stride = 2, dilation = 2, pad = valid, m = 2)",
        lambda x, w, b: F.conv1d(x, w.permute(2, 1, 0), b, stride=2, dilation=2, groups=4),
    ),
    "depthwise without the future": (
        "float[9, 5]",
        "depthwise(4, pad = causal)",
        lambda x, w, b: F.conv1d(F.pad(x, (3, 0)), w.permute(2, 1, 0), b, groups=5),
    ),
    "depthwise of an image, dilated": (
        "float[7, 8, 3]",
        "depthwise(3, pad = 2, dilation = 2)",
        lambda x, w, b: F.conv2d(x, w.permute(2, 3, 0, 1), b, padding=2, dilation=2, groups=3),
    ),
    "transposed, with a stride of 3 and a border": (
        "float[5, 4]",
        "conv_transpose(2, kernel = 5, stride = 3, pad = 1)",
        lambda x, w, b: F.conv_transpose1d(x, w.permute(1, 2, 0), b, stride=3, padding=1),
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_layer_agrees_with_pytorch(name: str) -> None:
    type_, layer, function = CASES[name]
    text = f"model {{\n  input x: {type_}\n  y = x -> {layer}\n  output y = y\n  loss e = sum(sin(y))\n}}\n"
    program = netc.compile(netc.parse(text + "train {\n  precision = f64\n  batch = 3\n}\n"))
    kind = layer.partition("(")[0]
    shape = [int(n) for n in type_[6:-1].split(",")]
    x = np.random.default_rng(0).standard_normal((3, *shape))
    program.parameters[f"y.{kind}.b"][...] = np.random.default_rng(1).standard_normal(
        len(program.parameters[f"y.{kind}.b"])
    )
    w, b = (torch.tensor(program.parameters[f"y.{kind}.{n}"].copy(), requires_grad=True) for n in ("W", "b"))
    expected = function(torch.tensor(x).movedim(-1, 1), w, b).movedim(1, -1)
    loss = torch.sin(expected).sum() / 3
    loss.backward()
    np.testing.assert_allclose(program.predict({"x": x})["y"], expected.detach().numpy(), atol=1e-12)
    actual, gradients = program.gradients({"x": x})
    assert actual == pytest.approx(loss.item(), abs=1e-12)
    for n, tensor in (("W", w), ("b", b)):
        np.testing.assert_allclose(gradients[f"y.{kind}.{n}"], tensor.grad.numpy(), atol=1e-12)


def test_depth_to_space_has_the_channels_of_a_pixel_in_rows() -> None:
    """PyTorch's channels are those of each colour side by side."""
    text = "model {\n  input x: float[3, 2, 12]\n  output y = x -> depth_to_space(2)\n}\ntrain { precision = f64 }\n"
    x = np.random.default_rng(0).standard_normal((4, 3, 2, 12))
    by_colour = torch.tensor(x).reshape(4, 3, 2, 4, 3).transpose(3, 4).reshape(4, 3, 2, 12).permute(0, 3, 1, 2)
    expected = F.pixel_shuffle(by_colour, 2).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(netc.compile(netc.parse(text)).predict({"x": x})["y"], expected)


def test_interpolation_is_that_of_pytorch() -> None:
    text = (
        "model {\n  input x: float[3, 5, 2]\n  output y = x -> upsample_bilinear\n"
        "  output z = x -> upsample_bilinear(3)\n}\ntrain { precision = f64 }\n"
    )
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 2))
    predicted = netc.compile(netc.parse(text)).predict({"x": x})
    for name, size in (("y", 2), ("z", 3)):
        expected = F.interpolate(torch.tensor(x).permute(0, 3, 1, 2), scale_factor=size, mode="bilinear")
        np.testing.assert_allclose(predicted[name], expected.permute(0, 2, 3, 1).numpy(), atol=1e-12)


def test_a_depthwise_convolution_along_a_varying_dimension_is_that_of_each_sample_alone() -> None:
    layer = "depthwise(3, dilation = 2)"
    text = "model {{\n  input x: float[{}, 4]\n  output y = x -> {}\n}}\ntrain {{ precision = f64 }}\n"
    program = netc.compile(netc.parse(text.format("t", layer)))
    samples = [np.random.default_rng(n).standard_normal((n, 4)) for n in (3, 8)]
    for sample, result in zip(samples, program.predict({"x": samples})["y"], strict=True):
        alone = netc.compile(netc.parse(text.format(len(sample), layer)))
        for name, values in program.parameters.items():
            alone.parameters[name][...] = values
        np.testing.assert_allclose(result, alone.predict({"x": sample[None]})["y"][0], atol=1e-14)


STEPS = {
    "rnn": ("h = cell(xt, h)", "h = zeros(5)"),
    "gru": ("h = cell(xt, h)", "h = zeros(5)"),
    "lstm": ("h, c = cell(xt, h, c)", "h = zeros(5), c = zeros(5)"),
}


@pytest.mark.parametrize("kind", sorted(STEPS))
def test_a_cell_in_a_scan_is_the_recurrent_layer(kind: str) -> None:
    """Bit for bit, with the gradients of the parameters."""
    step, start = STEPS[kind]
    ends = "  z = last(hs)\n  output z = z\n  loss e = sum(z * z)\n}\ntrain { batch = 3 }\n"
    head = "model {\n  input x: float[t, 3]\n"
    scan = f"  layer cell = {kind}_cell\n  hs = scan xt in x with {start} {{\n    {step}\n    yield h\n  }}\n"
    ours, theirs = (
        netc.compile(netc.parse(head + body + ends))
        for body in (scan, f"  hs{', cs' if kind == 'lstm' else ''} = x -> {kind}(5)\n")
    )
    for name, values in ours.parameters.items():
        theirs.parameters[name.replace("cell.", f"hs.{kind}.")][...] = values
    rng = np.random.default_rng(0)
    fields = {"x": [rng.standard_normal((n, 3)) for n in (4, 1, 7)]}
    (loss, gradients), (expected, others) = ours.gradients(fields), theirs.gradients(fields)
    assert loss == expected
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, others[name.replace("cell.", f"hs.{kind}.")])

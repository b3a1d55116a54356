"""Convolution, pooling and normalisation: compared with PyTorch in f64, on both backends, and by known identities."""

import itertools

import numpy as np
import pytest
from both import BATCH, compiled, evaluate

import netc
from netc.compiler.ir.graph import Graph, print_graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import apply
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.simplify import expand


def window_count(size: int, kernel: int, stride: int, dilation: int, pad: int) -> int:
    return (size + pad - dilation * (kernel - 1) - 1) // stride + 1


COMBINATIONS = [
    (size, kernel, stride, pad, dilation, groups, channels, outputs)
    for size, kernel, stride, pad, dilation, (groups, channels, outputs) in itertools.product(
        ((5, 7), (8, 8), (1, 1)),
        ((3, 3), (1, 1), (5, 2)),
        ((1, 1), (2, 1), (3, 2)),
        ((1, 1, 1, 1), (0, 0, 0, 0), (2, 1, 0, 3)),
        ((1, 1), (2, 1)),
        ((1, 3, 4), (1, 1, 17), (2, 4, 6), (3, 3, 3), (2, 10, 10)),
    )
    if all(window_count(size[n], kernel[n], stride[n], dilation[n], pad[2 * n] + pad[2 * n + 1]) >= 1 for n in (0, 1))
]
CHOSEN = COMBINATIONS[::11]  # a step that the number of choices of no option shares, so that all of them occur


def test_many_combinations_of_options_are_tested() -> None:
    assert len(CHOSEN) >= 40
    for option in range(len(COMBINATIONS[0])):
        assert {case[option] for case in CHOSEN} == {case[option] for case in COMBINATIONS}
    assert {case[2:6:3] for case in CHOSEN} == {case[2:6:3] for case in COMBINATIONS}  # strides with groups


@pytest.mark.every(2)
@pytest.mark.parametrize("combination", CHOSEN, ids=str)
def test_convolution_agrees_with_pytorch(combination: tuple) -> None:
    """Outputs, gradients and second gradients agree to 1e-9.

    Every sixth case runs all of them in machine code. For the others the interpreter computes the second gradients,
    which consist of the same operations.
    """
    torch = pytest.importorskip("torch")
    size, kernel, stride, pad, dilation, groups, channels, outputs = combination
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.standard_normal((BATCH, *size, channels)),
        "w": rng.standard_normal((*kernel, channels // groups, outputs)),
    }
    graph = Graph()
    graph.precision = "f64"
    x = graph.leaf(Role.INPUT, "x", Type("f64", ("batch", *size, channels)))
    w = graph.leaf(Role.PARAMETER, "w", Type("f64", arrays["w"].shape))
    y = apply("conv2d", x, w, stride=stride, dilation=dilation, pad=pad, groups=groups)
    arrays["v"] = rng.standard_normal(y.type.shape(BATCH))
    v = graph.leaf(Role.INPUT, "v", y.type)
    loss = apply("sum", y * y * v, over=(0, 1, 2, 3))
    first = differentiate(graph, loss, [x, w])
    again = apply("sum", first[x] * first[x], over=(0, 1, 2, 3)) + apply("sum", first[w] * first[w], over=(0, 1, 2, 3))
    second = differentiate(graph, again, [x, w])
    names = {"y": y, "gx": first[x], "gw": first[w], "ggx": second[x], "ggw": second[w]}
    graph.results = {parse_result(name): value for name, value in names.items()}
    tx, tw = (torch.tensor(arrays[name], requires_grad=True) for name in ("x", "w"))
    border = torch.nn.functional.pad(tx.permute(0, 3, 1, 2), (pad[2], pad[3], pad[0], pad[1]))
    ty = torch.nn.functional.conv2d(border, tw.permute(3, 2, 0, 1), None, stride, 0, dilation, groups).permute(
        0, 2, 3, 1
    )
    gx, gw = torch.autograd.grad((ty * ty * torch.tensor(arrays["v"])).sum(), (tx, tw), create_graph=True)
    ggx, ggw = torch.autograd.grad((gx * gx).sum() + (gw * gw).sum(), (tx, tw))
    meaning = evaluate(graph, arrays, BATCH)
    inputs = {name: arrays[name] for name in ("x", "v")}
    by_kernels = graph if CHOSEN.index(combination) % 6 == 0 else graph.only(*map(parse_result, ("y", "gx", "gw")))
    results = {**meaning, **compiled_with(by_kernels, inputs, {"w": arrays["w"]})}
    for name, expected in {"y": ty, "gx": gx, "gw": gw, "ggx": ggx, "ggw": ggw}.items():
        derivative = expected.detach().numpy()
        scale = max(1.0, np.abs(derivative).max())
        np.testing.assert_allclose(results[name] / scale, derivative / scale, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(meaning[name] / scale, derivative / scale, atol=1e-9, err_msg=f"reference, {name}")


def compiled_with(graph: Graph, inputs: dict, parameters: dict) -> dict:
    """The same as `compiled`, but parameters are inputs without a batch."""
    text = Graph()
    text.precision = "f64"
    copies = {}
    for value in graph.values():
        kind = "given" if value.operation == "parameter" else value.operation
        copies[value] = text.add(kind, [copies[operand] for operand in value.operands], value.attributes, value.type)
    text.results = {name: copies[value] for name, value in graph.results.items()}
    return compiled(text, {**inputs, **parameters})


@pytest.mark.parametrize("kind", ["maxpool", "avgpool"])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad"),
    [
        ((6, 8), (2, 2), (2, 2), 0),
        ((7, 5), (2, 2), (2, 2), 0),
        ((7, 7), (3, 3), (2, 2), 1),
        ((6, 9), (3, 2), (1, 2), 0),
        ((5, 5), (5, 5), (5, 5), 0),
        ((4, 4), (2, 2), (1, 1), 1),
        ((3, 1), (3, 1), (1, 1), 0),
    ],
)
def test_pooling_agrees_with_pytorch(kind: str, size: tuple, kernel: tuple, stride: tuple, pad: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    array = rng.standard_normal((BATCH, *size, 3))
    graph = Graph()
    graph.precision = "f64"
    x = graph.leaf(Role.INPUT, "x", Type("f64", ("batch", *size, 3)))
    y = apply(f"{kind}2d", x, size=kernel, stride=stride, pad=(pad,) * 4)
    loss = apply("sum", y * y, over=(0, 1, 2, 3))
    graph.results = {parse_result("y"): y, parse_result("g"): differentiate(graph, loss, [x])[x]}
    tx = torch.tensor(array, requires_grad=True)
    image = tx.permute(0, 3, 1, 2)
    pool = torch.nn.functional
    ty = (
        pool.max_pool2d(image, kernel, stride, pad)
        if kind == "maxpool"
        else pool.avg_pool2d(image, kernel, stride, pad, count_include_pad=False)
    ).permute(0, 2, 3, 1)
    (ty * ty).sum().backward()
    for results in (compiled(graph, {"x": array}), evaluate(graph, {"x": array}, BATCH)):
        np.testing.assert_allclose(results["y"], ty.detach().numpy(), atol=1e-12)
        np.testing.assert_allclose(results["g"], tx.grad.numpy(), atol=1e-12)


NET = """model {
  input x: float[9, 8, 2]
  target y: class(3)
  a = x -> conv(6) -> batchnorm -> relu -> maxpool(2) -> dropout(0.2)
  b = a -> residual(8, stride = 2) -> conv(8, kernel = (1, 2), groups = 2, pad = valid)
  c = b -> depthwise(3) -> layernorm -> avgpool(2, stride = 1, pad = same)
  z = concat(c -> flatten, a -> upsample(2) -> conv_transpose(2) -> global_avgpool) -> dense(3)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
train {
  precision = f64
  batch = 7
}
"""


def fields_of(count: int) -> dict:
    rng = np.random.default_rng(1)
    return {"x": rng.standard_normal((count, 9, 8, 2)), "y": rng.integers(0, 3, count).astype(np.int32)}


def test_a_network_of_all_layers_runs_on_both_backends() -> None:
    model, fields = netc.parse(NET), fields_of(7)
    ours, meaning = netc.compile(model), netc.compile(model, backend="reference")
    loss, gradients = ours.gradients(fields, wrt=("x",))
    expected_loss, expected = meaning.gradients(fields, wrt=("x",))
    assert abs(loss - expected_loss) < 1e-12
    for key in expected:
        np.testing.assert_allclose(gradients[key], expected[key], atol=1e-11, err_msg=key)
    for _ in range(3):
        assert abs(ours.step(fields)["loss"] - meaning.step(fields)["loss"]) < 1e-10
    for key in meaning.persistent:
        np.testing.assert_allclose(ours.persistent[key], meaning.persistent[key], atol=1e-9, err_msg=key)
    np.testing.assert_allclose(
        ours.predict({"x": fields["x"]})["p"], meaning.predict({"x": fields["x"]})["p"], atol=1e-9
    )


@pytest.mark.every(3)
@pytest.mark.parametrize(("threads", "precision"), [(2, "f64"), (3, "f32"), (8, "f32")])
def test_the_same_bits_on_any_number_of_threads(threads: int, precision: str) -> None:
    """A model with batch normalisation and dropout whose last batch is short. It is so large that workers share it.

    In f64 most of its kernels are those of the test above.
    """
    text = NET.replace("f64", precision).replace("conv(6)", "conv(48)")
    floats = np.float32 if precision == "f32" else np.float64
    fields = {name: array.astype(floats if name == "x" else np.int32) for name, array in fields_of(60).items()}
    results = []
    for count in (1, threads):
        program = netc.Program(netc.parse(text.replace("batch = 7", "batch = 25")), threads=count)
        losses = [program.steps(fields, np.random.default_rng(e).permutation(60), e).values["loss"] for e in range(2)]
        results.append([*losses, *program.persistent.values(), program.predict(fields)["p"]])
    assert all(np.array_equal(first, other) for first, other in zip(*results, strict=True))


def test_a_convolution_commutes_with_a_translation() -> None:
    """Away from the border, a shift of the input shifts the output, with the same bits."""
    program = netc.compile(
        netc.parse("model {\n  input x: float[12, 12, 3]\n  output y = x -> conv(5) -> relu -> conv(4)\n}")
    )
    x = np.zeros((1, 12, 12, 3), np.float32)
    x[:, 4:8, 3:7] = np.random.default_rng(0).standard_normal((1, 4, 4, 3))
    program.parameters["y.conv.b"][...] = program.parameters["y.conv_2.b"][...] = 0
    still, moved = (program.predict({"x": image})["y"] for image in (x, np.roll(x, (1, 2), (1, 2))))
    np.testing.assert_array_equal(np.roll(still, (1, 2), (1, 2)), moved)


def test_a_normalised_batch_has_mean_0_and_variance_1_and_prediction_needs_no_batch() -> None:
    model = netc.parse(
        "model {\n  input x: float[4, 4, 3]\n  target t: float\n  y = x -> batchnorm\n  output z = y\n"
        "  loss mse(mean(y), t)\n  watch y = y\n}\ntrain { precision = f64\n batch = 50\n optimizer = sgd(1e-12) }"
    )
    program, rng = netc.compile(model), np.random.default_rng(0)
    fields = {"x": rng.standard_normal((50, 4, 4, 3)) * 3 + 5, "t": np.zeros(50)}
    for _ in range(200):
        program.step(fields)
    flat = fields["x"].reshape(-1, 3)
    np.testing.assert_allclose(program.persistent["y.batchnorm.mean"], flat.mean(0), rtol=1e-6)
    np.testing.assert_allclose(program.persistent["y.batchnorm.var"], flat.var(0), rtol=1e-6)
    used = program.predict({"x": fields["x"]})["z"].reshape(-1, 3)
    np.testing.assert_allclose(used.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(used.std(0), 1, atol=1e-3)
    np.testing.assert_array_equal(
        program.predict({"x": fields["x"][:1]})["z"], program.predict({"x": fields["x"]})["z"][:1]
    )


def test_a_transposed_convolution_is_the_adjoint() -> None:
    """<conv(x), y> = <x, conv_transpose(y)>, with the same weights."""
    torch = pytest.importorskip("torch")
    model = netc.parse(
        "model {\n  input x: float[5, 4, 3]\n  param W: float[3, 3, 3, 6] = normal(1)\n"
        "  output y = conv_transpose2d(x, W, stride = 2, pad = 1)\n"
        "  output same = conv_transpose2d(x, W, stride = 2)\n}\ntrain { precision = f64 }"
    )
    program, x = netc.compile(model), np.random.default_rng(0).standard_normal((2, 5, 4, 3))
    predicted = program.predict({"x": x})
    assert predicted["same"].shape == (2, 10, 8, 6)
    weights = torch.tensor(program.parameters["W"].copy()).permute(2, 3, 0, 1)
    expected = torch.nn.functional.conv_transpose2d(torch.tensor(x).permute(0, 3, 1, 2), weights, stride=2, padding=1)
    np.testing.assert_allclose(predicted["y"], expected.permute(0, 2, 3, 1).numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "stride", "phases"), [(3, 2, 1), (4, 2, 1), (5, 2, 4), (3, 3, 1), (7, 3, 9), (7, 1, 1)]
)
def test_zeros_between_elements_of_a_stride_are_multiplied_only_by_channel_and_if_they_are_few(
    kernel: int, stride: int, phases: int
) -> None:
    graph = Graph()
    for groups, count in ((4, phases), (2, stride * stride)):
        y = graph.leaf(Role.INPUT, f"y{groups}", Type("f64", ("batch", 3, 3, 4)))
        w = graph.leaf(Role.PARAMETER, f"w{groups}", Type("f64", (kernel, kernel, 4 // groups, 4)))
        size = (2 * stride + kernel,) * 2
        how = {"stride": (stride, stride), "dilation": (1, 1), "pad": (0, 0, 0, 0), "groups": groups, "size": size}
        graph.results = {parse_result("x"): apply("conv2d_input", y, w, **how)}
        expanded = print_graph(expand(graph))
        assert expanded.count("= einsum") == count


def test_sequences_are_images_one_column_wide() -> None:
    torch = pytest.importorskip("torch")
    model = netc.parse(
        "model {\n  input x: float[11, 2]\n  y = x -> conv(4, kernel = 3, stride = 2, dilation = 2, pad = valid)\n"
        "  output y = y\n  output top = y -> maxpool(2)\n  output mean = y -> global_avgpool\n}\n"
        "train { precision = f64 }"
    )
    program, x = netc.compile(model), np.random.default_rng(0).standard_normal((3, 11, 2))
    predicted = program.predict({"x": x})
    weights, bias = (torch.tensor(program.parameters[f"y.conv.{name}"].copy()) for name in ("W", "b"))
    expected = torch.nn.functional.conv1d(torch.tensor(x).permute(0, 2, 1), weights.permute(2, 1, 0), bias, 2, 0, 2)
    np.testing.assert_allclose(predicted["y"], expected.permute(0, 2, 1).numpy(), atol=1e-12)
    np.testing.assert_allclose(
        predicted["top"], torch.nn.functional.max_pool1d(expected, 2).permute(0, 2, 1).numpy(), atol=1e-12
    )
    np.testing.assert_allclose(predicted["mean"], expected.mean(2).numpy(), atol=1e-12)


def test_a_frozen_normalisation_uses_its_running_statistics() -> None:
    model = netc.parse(
        "model {\n  input x: float[4, 4, 3]\n  target t: float\n  features = x -> conv(4) -> batchnorm -> relu\n"
        "  z = features -> global_avgpool -> dense(1) -> squeeze\n  output z = z\n  loss mse(z, t)\n}\n"
        'train { precision = f64\n freeze = "features.*" }'
    )
    program, rng = netc.compile(model), np.random.default_rng(0)
    fields = {"x": rng.standard_normal((9, 4, 4, 3)) * 3 + 5, "t": rng.standard_normal(9)}
    program.persistent["features.batchnorm.mean"][...] = rng.standard_normal(4)
    before = {name: array.copy() for name, array in program.persistent.items()}
    expected = program.evaluate(fields)["loss"]
    assert program.step(fields)["loss"] == pytest.approx(expected, rel=1e-12)
    for name, array in program.persistent.items():
        assert np.array_equal(array, before[name]) == name.startswith("features."), name


@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_gradients_of_a_batch_that_is_not_full(precision: str) -> None:
    """With fewer samples than shards, some shards are empty. They add zero to a sum over the batch."""
    model = netc.parse(
        "model {\n  input x: float[10, 10, 3]\n  target y: float[2]\n"
        "  h = x -> conv(5, kernel = 3, pad = valid) -> batchnorm\n"
        "  z = h -> global_avgpool -> dense(2)\n  loss mse(z, y)\n}\n"
        f"train {{\n  precision = {precision}\n  batch = 40\n}}\n"
    )
    programs = [netc.compile(model, seed=3, backend=backend) for backend in ("cpu", "reference")]
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 40):
        fields = {"x": rng.standard_normal((count, 10, 10, 3)), "y": rng.standard_normal((count, 2))}
        (_, gradients), (_, expected) = (program.gradients(fields) for program in programs)
        largest = max(np.abs(gradient).max() for gradient in expected.values())
        for name, gradient in expected.items():
            tolerance = {"f32": 1e-4, "f64": 1e-10}[precision] * largest
            np.testing.assert_allclose(
                gradients[name], gradient, atol=tolerance, rtol=0, err_msg=f"{name}, {count} samples"
            )


@pytest.mark.parametrize("line", ["float[20, 3]", "float[t, 3]"])
def test_causal_borders_are_as_wide_as_windows_reach(line: str) -> None:
    """On lines of fixed and of varying length, with dilations and strides, for convolutions and pools."""
    text = "model {{\n  input x: {line}\n  output y = x -> {layer}\n}}\n"
    for layer, border in (
        ("conv(4, kernel = 3, pad = PAD)", "(2, 0)"),
        ("conv(4, kernel = 2, dilation = 5, pad = PAD)", "(5, 0)"),
        ("conv(4, kernel = 4, stride = 2, pad = PAD)", "(3, 0)"),
        ("maxpool(3, stride = 1, pad = PAD)", "(2, 0)"),
    ):
        causal, explicit = (
            netc.parse(text.format(line=line, layer=layer.replace("PAD", pad))) for pad in ("causal", border)
        )
        assert print_graph(causal.graph) == print_graph(explicit.graph)

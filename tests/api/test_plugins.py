"""Plug-ins: a right definition is part of the language, and a wrong one is a message at its place."""

import math
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import netc
from netc.compiler.ir.value import OPERATIONS
from netc.dsl.structs import replace
from netc.extend import (
    Expansion,
    Fold,
    Graph,
    Operation,
    Own,
    Pass,
    Type,
    Value,
    apply,
    elementwise,
    rebuild,
)
from netc.testing import check, findings

MISH = {
    "scalar": "x * tanh(log1p(exp(x)))",
    "reference": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "gradient": lambda g, r, x: g * _slope(x),
}


def _slope(x):
    t = apply("tanh", apply("log1p", apply("exp", x)))
    return t + x * (1 - t * t) * apply("sigmoid", x)


mish = elementwise("mish", "x * tanh(softplus(x)) (Misra 2019).", **MISH)
hill = elementwise(
    "hill",
    "How far x is from y, flattened beyond a width.",
    scalar="(x - y) * exp(-(x - y) * (x - y) / (width * width))",
    reference=lambda x, y, width: (x - y) * np.exp(-((x - y) ** 2) / width**2),
    gradient=lambda g, r, x, y, width: (
        (slope := g * apply("exp", -(x - y) * (x - y) / width**2) * (1 - 2 * (x - y) * (x - y) / width**2)),
        -slope,
    ),
    operands=2,
    numbers={"width": 1.5},
)
WIDE = {"examples": ((("f64[3, 4]",), {"over": (1,)}), (("f64[batch, 4]",), {"over": (1,)}))}


def _along(x: Type, over: tuple[int, ...]) -> Type:
    return x.with_dims(tuple(dim for axis, dim in enumerate(x.dims) if axis not in over))


sum_of_cubes = Operation(
    "sum_of_cubes",
    "The sum of x ** 3 along axes.",
    type=_along,
    reference=lambda x, over: (x**3).sum(axis=over),
    lower=Expansion(lambda x, over: apply("sum", x * x * x, over=over)),
    gradient=lambda g, r, x, over: (
        apply("broadcast", apply("reshape", g, dims=(*g.type.dims, 1)), dims=x.type.dims) * 3 * x * x
    ),
    arguments={"x": "value", "over": "axes"},
    **WIDE,
)
largest = Operation(
    "largest_square",
    "The largest square along axes.",
    type=_along,
    reference=lambda x, over: x.max(axis=over),
    lower=Fold("-inf", "max(a, b)"),
    arguments={"x": "value", "over": "axes"},
    **WIDE,
)


def steps_up(out, x, least):
    """The sum of the upward steps of a row x[n]. Steps below `least` are left out."""
    for j in range(x.shape[1]):
        total = 0.0
        for i in range(len(x) - 1):
            step = x[i + 1, j] - x[i, j]
            if step > least:
                total += math.log1p(step)
        out[j] = total


def steps_up_back(out, g, x, least):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = 0.0
    for j in range(x.shape[1]):
        for i in range(len(x) - 1):
            step = x[i + 1, j] - x[i, j]
            if step > least:
                out[i + 1, j] += g[j] / (1 + step)
                out[i, j] -= g[j] / (1 + step)


def _climbed(x, least):
    steps = np.diff(x, axis=-2)
    return np.where(steps > least, np.log1p(np.maximum(steps, 0)), 0).sum(axis=-2)


def _climbed_back(g, x, least):
    steps = np.diff(x, axis=-2)
    each = np.where(steps > least, g[..., None, :] / (1 + np.maximum(steps, 0)), 0)
    result = np.zeros(x.shape)
    result[..., 1:, :] += each
    result[..., :-1, :] -= each
    return result


climb_back = Operation(
    "climb_back",
    "The gradient of climb.",
    type=lambda g, x, least: x,
    reference=_climbed_back,
    lower=Own(steps_up_back),
    gradient=lambda h, r, g, x, least: _second(h, g, x, least),
)


def _second(h, g, x, least):
    """The gradients of `climb`'s gradient with respect to g and x.

    They are those of the sum over steps s = x[i + 1] - x[i] of g * (h[i + 1] - h[i]) / (1 + s).
    """
    n = int(x.type.dims[-2])
    axis = x.type.rank - 2

    def steps(sequence):
        later = apply("slice", sequence, axis=axis, start=1, stop=n)
        return later - apply("slice", sequence, axis=axis, start=0, stop=n - 1)

    s, d = steps(x), steps(h)
    zero = s * 0.0
    counted = s > least
    to_g = apply("sum", apply("where", counted, d / (1 + s), zero), over=(axis,))
    wide = apply("reshape", g, dims=(*g.type.dims[:-1], 1, g.type.dims[-1]))
    each = apply("where", counted, -wide * d / ((1 + s) * (1 + s)), zero)
    before = apply("pad", each, axes=(axis,), before=(1,), after=(0,), step=(1,))
    after = apply("pad", each, axes=(axis,), before=(0,), after=(1,), step=(1,))
    return to_g, before - after


climb = Operation(
    "climb",
    "How far each column of x[n, m] climbs: the sum of log(1 + step) over steps above `least`.",
    type=lambda x, least: x.with_dims((*x.dims[:-2], x.dims[-1])),
    reference=_climbed,
    lower=Own(steps_up),
    gradient=lambda g, r, x, least: climb_back(g, x, least=least),
    arguments={"x": "value", "least": "real = 0.25"},
    examples=((("f64[batch, 5, 3]",), {"least": 0.25}), (("f64[4, 2]",), {"least": 0.0})),
)
polar = Operation(
    "polar",
    "Length and slope of x and y.",
    type=lambda x, y: x,
    reference=lambda x, y: None,
    lower=Expansion(lambda x, y: (apply("sqrt", x * x + y * y + 0.1), x / (1 + y * y))),
    arguments={"x": "value", "y": "value"},
    examples=((("f64[3, 4]", "f64[3, 4]"), {}), (("f64[batch, 2]", "f64[batch, 2]"), {})),
)
jitter = Operation(
    "jitter",
    "x with noise.",
    type=lambda x, stream, amount: x,
    reference=lambda *_: None,
    lower=Expansion(lambda x, stream, amount: x + amount * apply("normal_like", x, stream=stream)),
    arguments={"x": "value", "amount": "real = 0.1", "stream": "stream"},
)


@pytest.fixture
def registered() -> Iterator[None]:
    """Registers these operations as a plug-in would, and removes them after the test."""
    for operation in (climb, climb_back, polar, jitter):
        netc.register(operation)
    yield
    for operation in (climb, climb_back, polar, jitter):
        del OPERATIONS[operation.name]


@pytest.mark.usefixtures("registered")
def test_a_custom_kernel() -> None:
    check(climb)
    text = """model {
  input x: float[6, 4]
  target y: float[2]
  h = x -> dense(2) -> tanh
  z = climb(h, least = 0.1) + climb(transpose(x)[1:, 2:4])
  output z = z
  loss mse(z, y)
}
train { batch = 7 }
"""
    rng = np.random.default_rng(0)
    fields = {
        "x": rng.standard_normal((7, 6, 4)).astype(np.float32),
        "y": rng.standard_normal((7, 2)).astype(np.float32),
    }
    reference, *others = (
        netc.compile(netc.parse(text), backend=b, threads=n) for b, n in (("reference", 1), ("cpu", 1), ("cpu", 3))
    )
    for program in others:
        np.testing.assert_allclose(program.predict(fields)["z"], reference.predict(fields)["z"], rtol=1e-4, atol=1e-6)
        for name, gradient in program.gradients(fields)[1].items():
            np.testing.assert_allclose(gradient, reference.gradients(fields)[1][name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["real", "number", "share"])
def test_a_missing_number_is_a_message(kind: str) -> None:
    netc.register(replace(climb, name="climbing", arguments={"x": "value", "least": kind}))
    try:
        with pytest.raises(netc.Fault, match=r"E0301.*`climbing` lacks its argument `least`"):
            netc.parse("model {\n  input x: float[3, 2]\n  output y = climbing(x)\n}\n")
    finally:
        del OPERATIONS["climbing"]


@pytest.mark.usefixtures("registered")
def test_operations_with_several_results_and_with_noise() -> None:
    check(polar)
    text = (
        "model {\n  input x: float[3]\n  r, a = polar(x, 2 * x)\n  output a = a\n  output r = polar(x, x) + r\n"
        "  output j = jitter(x, amount = 0.5)\n}\n"
    )
    x = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    predicted = netc.compile(netc.parse(text)).predict({"x": x})
    np.testing.assert_allclose(predicted["a"], x / (1 + 4 * x * x), rtol=1e-5)
    np.testing.assert_allclose(predicted["r"], np.sqrt(2 * x * x + 0.1) + np.sqrt(5 * x * x + 0.1), rtol=1e-5)
    noise = predicted["j"] - x
    assert abs(noise.std() - 0.5) < 0.03
    assert abs(noise.mean()) < 0.05


@pytest.mark.parametrize("operation", [mish, hill, sum_of_cubes, largest], ids=lambda operation: operation.name)
def test_right_definitions_pass_their_checks(operation: Operation) -> None:
    check(operation)
    assert operation.name not in OPERATIONS, "a test leaves it registered"


def wrong_scalar(**changes: object) -> Operation:
    return elementwise("mish", "x * tanh(softplus(x)).", **{**MISH, **changes})


def _in_place(x):
    x *= 2
    return x


def _strict(*types: Type, **_: object) -> Type:
    raise TypeError("unhashable")


def past_the_end(out, x, least):
    for j in range(x.shape[1]):
        out[j] = 0.0
        for i in range(len(x)):
            out[j] += max(x[i + 1, j] - x[i, j], least)


def half_done(out, x, least):
    for j in range(x.shape[1] - 1):
        out[j] = x[0, j]


def to_its_operand(out, x, least):
    for j in range(x.shape[1]):
        x[0, j] = 0.0
        out[j] = x[0, j]


def of_the_world(out, x, least):
    for j in range(x.shape[1]):
        out[j] = np.exp(x[0, j])


# a wrong definition, the place of its message, and a part of the message
WRONG: dict[str, tuple[Callable[[], Operation], str, str]] = {
    "a gradient of the wrong sign": (
        lambda: wrong_scalar(gradient=lambda g, r, x: -g * _slope(x)),
        "gradient, mish(f64[3, 4])",
        "of operand 1 the rule gives",
    ),
    "a gradient for one operand of two": (
        lambda: replace(hill, gradient=lambda g, r, x, y, width: (hill.gradient(g, r, x, y, width=width)[0], None)),
        "gradient, hill(f64[3, 4], f64[3, 4], width = 1.5)",
        "of operand 2 the rule gives 0",
    ),
    "a gradient that is right once, and not twice": (
        lambda: wrong_scalar(gradient=lambda g, r, x: g * apply("stop_gradient", _slope(x))),
        "second gradient, mish(f64[3, 4])",
        "of operand 1 the rule gives 0",
    ),
    "a gradient of another shape": (
        lambda: replace(sum_of_cubes, gradient=lambda g, r, x, over: g * 3.0),
        "gradient, sum_of_cubes(f64[3, 4], over = (1,))",
        "of operand 1 it is f64[3], the operand f64[3, 4]",
    ),
    "a gradient that raises": (
        lambda: wrong_scalar(gradient=lambda g, r, x: g * apply("tahn", x)),
        "gradient, mish(f64[3, 4])",
        "it raises KeyError: 'tahn'",
    ),
    "a reference that differs": (
        lambda: wrong_scalar(reference=lambda x: x * np.tanh(np.log1p(np.exp(x))) + 1e-6),
        "kernel, mish(f64[3, 4])",
        "the kernel in f64 gives",
    ),
    "a reference that is another beyond a vector's end": (
        lambda: wrong_scalar(reference=lambda x: np.where(np.arange(x.shape[-1]) < 16, MISH["reference"](x), x)),
        "kernel, mish(f64[17, 18])",
        "the reference",
    ),
    "a reference that changes its operand": (
        lambda: wrong_scalar(reference=_in_place),
        "reference, mish(f64[3, 4])",
        "it changes its operand 1",
    ),
    "a type rule that lies about the shape": (
        lambda: replace(sum_of_cubes, type=lambda x, over: x),
        "type rule, sum_of_cubes(f64[3, 4], over = (1,))",
        "the type rule says f64[3, 4], [3, 4] for 5 samples; the reference gives [3]",
    ),
    "a type rule that lies about the kind": (
        lambda: wrong_scalar(type=lambda x: Type("bool", x.dims)),
        "type rule, mish(f64[3, 4])",
        "the type rule says bool[3, 4]; the reference gives a float",
    ),
    "a type rule that raises": (
        lambda: wrong_scalar(type=_strict),
        "type rule, mish(f64[3, 4])",
        "it raises TypeError: unhashable",
    ),
    "a type rule that takes no attribute": (
        lambda: replace(hill, type=lambda x, y: x),
        "type rule, hill(f64[3, 4], f64[3, 4], width = 1.5)",
        "unexpected keyword argument 'width'",
    ),
    "a kernel of words that there are not": (
        lambda: wrong_scalar(scalar="x * tannh(log1p(exp(x)))"),
        "kernel, mish(f64[3, 4])",
        "no word of kernels is called `tannh`, did you mean `tanh`?",
    ),
    "a kernel that takes another operand": (
        lambda: replace(
            hill, lower=replace(hill.lower, expression="(y - x) * exp(-(x - y) * (x - y) / (width * width))")
        ),
        "kernel, hill(f64[3, 4], f64[3, 4], width = 1.5)",
        "the kernel in f64 gives",
    ),
    "a fold that begins with another number": (
        lambda: replace(largest, lower=Fold("0.0", "max(a, b)")),
        "kernel, largest_square(f64[batch, 4], over = (1,))",
        "the kernel in f64 gives 0",
    ),
    "a kernel that reads past the end": (
        lambda: replace(climb, lower=Own(past_the_end)),
        "kernel, climb(f64[batch, 5, 3], least = 0.25)",
        "it goes to x[5, 0], beyond its end: [5, 3]",
    ),
    "a kernel that leaves a part": (
        lambda: replace(climb, lower=Own(half_done)),
        "kernel, climb(f64[batch, 5, 3], least = 0.25)",
        "it leaves out[2] unwritten",
    ),
    "a kernel that writes to its operand": (
        lambda: replace(climb, lower=Own(to_its_operand)),
        "kernel, climb(f64[batch, 5, 3], least = 0.25)",
        "a kernel writes to its result alone, and not to `x[0, j]`",
    ),
    "a kernel that knows the world": (
        lambda: replace(climb, lower=Own(of_the_world)),
        "kernel, climb(f64[batch, 5, 3], least = 0.25)",
        "np",
    ),
    "no example": (lambda: replace(mish, examples=()), "examples, mish", "there is none to test it with"),
    "no name": (lambda: replace(mish, name="my mish"), "name, 'my mish'", "this is not a name"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_definitions_are_reported(what: str) -> None:
    make, where, message = WRONG[what]
    first = next(findings(make()), None)
    assert first is not None, "nothing was found"
    assert str(first).startswith(f"{where}: "), str(first)
    assert message in first.message, str(first)
    with pytest.raises(AssertionError, match=first.point):
        check(make())


EXAMPLE = (
    "model {\n  input x: float[3]\n  target y: float\n  param w: float[3] = ones\n  loss mse(sum(x * w + x * w), y)\n"
    "}\n"
)


def twins(rule: Callable[..., object], example: str = EXAMPLE) -> Pass:
    return Pass("twins", "x + x becomes 2 * x.", lambda graph: rebuild(graph, rule), "simplify", example)


def doubled(copy: Graph, value: Value, operands: list[Value], factor: float = 2.0) -> Value:
    if value.operation == "add" and operands[0] is operands[1]:
        return operands[0] * factor
    return copy.add(value.operation, operands, value.attributes, value.type)


def summed(copy: Graph, value: Value, operands: list[Value]) -> Value:
    """Removes an axis, so that the type of the result is wrong."""
    if value.operation == "add" and operands[0] is operands[1]:
        return copy.add("multiply", operands, {}, operands[0].type.with_dims(operands[0].type.dims[:1]))
    return copy.add(value.operation, operands, value.attributes, value.type)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            twins(lambda *operands: doubled(*operands, factor=3.0)),
            "pass, twins, its example: with it the loss `mse` is",
        ),
        (twins(summed), "pass, twins, its example: it raises"),
        (twins(doubled, ""), "example, twins: there is none to test it with"),
        (twins(doubled, EXAMPLE.replace("x * w + x * w", "x * w")), "pass, twins, its example: it changes nothing"),
    ],
)
def test_a_wrong_pass_is_reported(wrong: Pass, message: str) -> None:
    check(twins(doubled))
    with pytest.raises(AssertionError, match=re.escape(message)):
        check(wrong)


def test_a_script_registers_its_definitions() -> None:
    netc.register(mish)
    try:
        text = "model {\n  input x: float[3]\n  output y = mish(x) + mish(2 * x)\n}\n"
        x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
        predicted = netc.compile(netc.parse(text)).predict({"x": x})["y"]
        np.testing.assert_allclose(predicted, MISH["reference"](x) + MISH["reference"](2 * x), rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match="an operation `mish` is registered already"):
            netc.register(mish)
        text = "model {\n  input x: class(3)\n  output y = mish(x)\n}\n"
        with pytest.raises(netc.Fault, match="a class is a label"):
            netc.parse(text)
    finally:
        del OPERATIONS["mish"]

"""Operations of somebody else: a wrong definition is told at its point, a plug-in is part of the language, or a message."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import netc_command

import netc
from netc.compiler.value import OPERATIONS
from netc.extend import Expansion, Fold, Mismatch, Operation, Type, apply, elementwise
from netc.testing import check, findings

MISH = {
    "scalar": "x * tanh(log1p(exp(x)))",
    "reference": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "gradient": lambda g, r, x: g * _slope(x),
    "flops": 40,
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


@pytest.mark.parametrize("operation", [mish, hill, sum_of_cubes, largest], ids=lambda one: one.name)
def test_right_definitions_are_right(operation: Operation) -> None:
    check(operation)
    assert operation.name not in OPERATIONS, "a test leaves it registered"


def wrong_scalar(**changes: object) -> Operation:
    return elementwise("mish", "x * tanh(softplus(x)).", **{**MISH, **changes})


def _in_place(x):
    x *= 2
    return x


def _strict(*types: Type, **_: object) -> Type:
    raise TypeError("unhashable")


# what is wrong, where it is told, and with which words
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
        lambda: wrong_scalar(scalar="x * tahn(log1p(exp(x)))"),
        "kernel, mish(f64[3, 4])",
        "no word of kernels is called `tahn`, did you mean `tanh`?",
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
    "no example": (lambda: replace(mish, examples=()), "examples, mish", "there is none to test it with"),
    "no name": (lambda: replace(mish, name="my mish"), "name, 'my mish'", "this is no name"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_definitions_are_told(what: str) -> None:
    make, where, told = WRONG[what]
    first = next(findings(make()), None)
    assert first is not None, "nothing was found"
    assert str(first).startswith(f"{where}: "), str(first)
    assert told in first.told, str(first)
    with pytest.raises(AssertionError, match=first.point):
        check(make())


MODULE = """
import numpy as np
from netc.extend import apply, elementwise

soft = elementwise(
    "NAME",
    "x / (scale + |x|).",
    scalar="x / (scale + abs(x))",
    reference=lambda x, scale: x / (scale + np.abs(x)),
    gradient=lambda g, r, x, scale: g * scale / ((scale + apply("abs", x)) * (scale + apply("abs", x))),
    numbers={"scale": 1.0},
)
"""
NET = """
data {
  source = csv("d.csv")
  x = columns("a", "b")
  y = column("c")
  split = (train = 1.0)
}
model {
  input x: float[2]
  target y: float
  z = NAME(x -> dense(4), scale = 2) -> dense(1) -> squeeze
  output z = z
  loss mse(z, y)
}
train { epochs = 2 }
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODULE.replace("NAME", "softly"))
    (tmp_path / "m.net").write_text(NET.replace("NAME", "softly"))
    (tmp_path / "d.csv").write_text("a,b,c\n" + "\n".join(f"{i % 5},{i % 3},{(i % 5) - (i % 3)}" for i in range(40)))
    return tmp_path


def run(project: Path, *arguments: object) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        netc_command(*arguments), cwd=project, capture_output=True, text=True, check=False, env=environment
    )


def test_a_plugin_is_part_of_the_language(project: Path) -> None:
    unknown = run(project, "check", "m.net")
    assert unknown.returncode == 1
    assert "E0201" in unknown.stderr
    assert run(project, "check", "m.net", "--plugin", "mine").returncode == 0
    done = run(project, "train", "m.net", "--plugin", "mine")
    assert done.returncode == 0, done.stderr
    told = run(project, "predict", "runs/m", "d.csv")  # the run knows what it needs
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.splitlines()) == 41
    page = run(project, "ops", "softly", "--plugin", "mine").stdout
    assert page.startswith("softly(x, scale = 1.0)    (operation)\nx / (scale + |x|).\nOf the plug-in `mine`.\n")
    tested = run(project, "ops", "softly", "--test", "--plugin", "mine")
    assert tested.stdout == "softly: type rule, reference, kernel and gradients agree, in f32 and f64, in 2 cases\n"
    kernels = run(project, "explain", "m.net", "--line", "11", "--plugin", "mine").stdout
    assert "softly" in kernels


def test_an_installed_plugin_needs_no_option(project: Path) -> None:
    made = project / "mine-1.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text("[netc.operations]\nsoftly = mine:soft\n")
    done = run(project, "train", "m.net")
    assert done.returncode == 0, done.stderr
    assert "softly(x, scale = 1.0)" in run(project, "ops").stdout
    (made / "entry_points.txt").write_text("[netc.operations]\nsoftly = mine:hard\n")
    broken = run(project, "check", "m.net")
    assert broken.returncode == 1
    assert broken.stderr.startswith(
        "error[E1101]: the plug-in `mine:hard` cannot be imported\n --> the plug-in mine:hard:1:1\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODULE.replace("NAME", "relu"), "error[E1102]: `mine` defines `relu`, which is defined by netc itself"),
        (MODULE.replace("NAME", "dense"), "error[E1102]: `mine` defines `dense`, which is defined by netc itself"),
        (MODULE.replace("NAME", "split"), "error[E1102]: `mine` defines `split`, which is defined by netc itself"),
        ("import nowhere_to_be_found", "error[E1101]: the plug-in `mine` cannot be imported"),
        ("1 / 0", "error[E1101]: the plug-in `mine` cannot be imported"),
        ("def f(:", "error[E1101]: the plug-in `mine` cannot be imported"),
        ("x = 1", "error[E1101]: the plug-in `mine` gives no operation"),
    ],
)
def test_a_plugin_that_does_not_load_is_a_message(text: str, message: str, project: Path) -> None:
    (project / "mine.py").write_text(text)
    told = run(project, "check", "m.net", "--plugin", "mine")
    assert told.returncode == 1
    assert told.stderr.startswith(message + "\n"), told.stderr
    assert "Traceback" not in told.stderr


def test_a_script_registers_what_it_defines() -> None:
    netc.register(mish)
    try:
        text = "model {\n  input x: float[3]\n  output y = mish(x) + mish(2 * x)\n}\n"
        x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
        found = netc.compile(netc.parse(text)).predict({"x": x})["y"]
        np.testing.assert_allclose(found, MISH["reference"](x) + MISH["reference"](2 * x), rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match="an operation `mish` is registered already"):
            netc.register(mish)
        text = "model {\n  input x: class(3)\n  output y = mish(x)\n}\n"
        with pytest.raises(netc.Fault, match="a class is a label"):
            netc.parse(text)
    finally:
        del OPERATIONS["mish"]
    assert issubclass(Mismatch, Exception)

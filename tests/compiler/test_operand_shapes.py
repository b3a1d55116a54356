"""Operations applied to samples of any shape: each gives a value or a message, never an exception of Python."""

import itertools

import numpy as np
import pytest

import netc
from netc.compiler.elaborate import elaborator  # noqa: F401  registers the operations
from netc.compiler.elaborate.library import library_names
from netc.compiler.ir.value import OPERATIONS

_KINDS = ("float", "float[3]", "float[2, 3]", "class(3)", "float[t]", "float[t, 3]")
_IMAGES = ("float[4, 5, 3]", "float[t, 5, 3]", "float[t, 3]", "float[3]")
_OF_ONE = ("{}(x)", "{}(x, over = 0)", "{}(x, over = -1)", "{}(x, over = (0, 1))", "{}(x, 0)", "x -> {}")
_OF_TWO = ("{}(x, z)", "{}(x, z, over = 0)", "{}(x, z, over = -1)", "{}(x, z, x)")
_FORMS = (
    "split(x, 2)",
    "split(x, 2, over = 0)",
    "stack(x, z)",
    "shift(x, z)",
    "x[0]",
    "x[z]",
    "x[0:1]",
    "x[:, 0]",
    "pad(x, 1)",
)
_NAMES = [name for name, operation in OPERATIONS.items() if operation.is_callable]


def check_no_exception(first: str, second: str, expression: str) -> None:
    netc_file = f"model {{\n  input x: {first}\n  {second}\n  output p = {expression}\n}}\n"
    try:
        netc.parse(netc_file)
    except netc.Fault:
        pass
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error} for\n{netc_file}") from error


@pytest.mark.parametrize("name", _NAMES)
def test_an_operation_of_any_samples_gives_a_value_or_a_message(name: str) -> None:
    for kind, form in itertools.product(_KINDS, _OF_ONE):
        check_no_exception(kind, "input z: float", form.format(name))


@pytest.mark.parametrize("name", [name for name in _NAMES if len(OPERATIONS[name].arguments) != 1])
def test_an_operation_of_two_samples_gives_a_value_or_a_message(name: str) -> None:
    for first, second, form in itertools.product(_KINDS, _KINDS, _OF_TWO):
        check_no_exception(first, f"input z: {second}", form.format(name))
    for first, second in itertools.product(_KINDS, ("float", "float[3]", "float[2, 3]", "float[2, 3, 4]")):
        check_no_exception(first, f"param z: {second}", f"{name}(x, z)")


@pytest.mark.every(2)
@pytest.mark.parametrize("name", [*_NAMES, *sorted(library_names())])
def test_images_and_lines_give_a_value_or_a_message(name: str) -> None:
    forms = ("{}(x, -1, pad = same)", "{}(x, z, pad = causal)", "x -> {}(2)", "x -> {}(2, pad = same)", "x -> {}(2, 2)")
    for kind, form in itertools.product(_IMAGES, forms):
        check_no_exception(kind, "param z: float[3, 3, 3, 8]", form.format(name))


@pytest.mark.parametrize("form", _FORMS)
def test_a_form_of_any_samples_gives_a_value_or_a_message(form: str) -> None:
    for first, second in itertools.product((*_KINDS, *_IMAGES[:2]), _KINDS):
        check_no_exception(first, f"input z: {second}", form)


def test_samples_are_broadcast_to_more_dimensions() -> None:
    text = "model {\n  input x: float[3, 1]\n  output p = broadcast(x, 2, 3, 4)\n}\n"
    x = np.arange(15.0).reshape(5, 3, 1)
    repeated = netc.compile(netc.parse(text), backend="reference").predict({"x": x})["p"]
    assert np.array_equal(repeated, np.broadcast_to(x[:, None], (5, 2, 3, 4)))

"""The translation of kernels' texts into LLVM's instructions: texts compute what Python computes."""

import itertools

import numpy as np
import pytest
from native import FLOATS, TARGETS, Kernel

from netc.compiler.targets.cpu.source import KernelSource
from netc.compiler.targets.named import machine_for

_HEAD = "def kernel(p0, p1, n0):\n"
FLOWS = {
    "a loop with a sum": """
total = 0.0
for i in range(n0):
    total += load_f64_1(p1, i)
store_f64_0(p0, 0, total)
""",
    "a variable that a loop widens": """
total = 0
for i in range(n0):
    for j in range(2):
        total = total + load_f64_1(p1, i) * j
store_f64_0(p0, 0, total)
""",
    "a variable that a loop widens, in expressions behind it": """
total = 0
for i in range(n0):
    total += load_f64_1(p1, i)
store_f64_0(p0, 0, -total)
store_f64_0(p0, 1, int(total * 8) // 3 + 7 // int(total * 100))
store_f64_0(p0, 2, abs(min(total, 3)) % total)
""",
    "a variable from the turn before": """
last = 0.0
for i in range(n0):
    if i > 0:
        store_f64_0(p0, i, before - last)
        last = before
    before = load_f64_1(p1, i)
""",
    "names that two loops use for other types": """
for i in range(n0):
    x = i * 2
    store_f64_0(p0, i, x)
for i in range(n0 - 1, -1, -2):
    x = load_f64_1(p1, i)
    store_f64_0(p0, i, x / 2)
""",
    "branches": """
for i in range(n0):
    x = load_f64_1(p1, i)
    if x > 0 and i % 2 == 0:
        y = x
    elif x < -0.5 or not i:
        y = -2.0 * x
    else:
        y = 1
        x = 3
    store_f64_0(p0, i, y * x)
""",
    "break and continue": """
count = 0
for i in range(n0):
    x = load_f64_1(p1, i)
    if x < 0:
        continue
    if count == 3:
        count = 10
        break
    count += 1
    store_f64_0(p0, i, x + count)
store_f64_0(p0, n0 - 1, count)
""",
    "while": """
i = 0
step = 1
while i < n0 and step < 100:
    i, step = i + step, step + 1
    if i == 6:
        continue
    if i >= n0:
        break
    store_f64_0(p0, i, step)
store_f64_0(p0, 0, i)
""",
    "a range with a step that is not known": """
step = n0 // 4 - 4
for i in range(n0 - 1, 1, step):
    store_f64_0(p0, i, 1.0 * i)
for i in range(0, n0, -step):
    store_f64_0(p0, i, i - 0.5)
""",
    "choices": """
for i in range(n0):
    x = load_f64_1(p1, i)
    store_f64_0(p0, i, (load_f64_1(p1, i - 1) if i > 0 else 7) + (1 if x > 0 else 2.5))
""",
    "chains of comparisons": """
for i in range(n0):
    x = load_f64_1(p1, i)
    store_f64_0(p0, i, 1.0 if -0.5 < x <= 0.5 else 0.0)
    if 0 <= i - 1 < n0 and load_f64_1(p1, i - 1) < x:
        store_f64_0(p0, i, 4.0)
""",
    "functions of numbers": """
for i in range(n0):
    x = load_f64_1(p1, i)
    store_f64_0(p0, i, max(x, abs(x) - 1, 0) + min(i, 3) + int(x * 10) + float(i) + abs(i - 4))
""",
    "a row": """
for i in row(n0):
    store_f64_0(p0, i, load_f64_1(p1, i) * 2)
for i in row(1, 5):
    store_f64_0(p0, i, load_f64_1(p1, i) - 1)
""",
    "a loop that is not unrolled": """
for i in rolled(4):
    for j in range(n0 // 2, n0):
        store_f64_0(p0, j, load_f64_1(p1, i) * j)
""",
    "an index behind its loop": """
i = 3
for i in range(1, n0, 3):
    pass
store_f64_0(p0, 0, i)
""",
}
OPERATORS = ("+", "-", "*", "/", "//", "%")


def _run(text: str, *arguments: int) -> None:
    kernel = Kernel(KernelSource(text, len(arguments)), machine_for(TARGETS[-1]))
    kernel.call(*arguments)


def _both(text: str, count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """The result of a text, compiled and run by Python. Numbers that it does not write are 0."""
    x = np.random.default_rng(0).normal(size=count)
    compiled, expected = np.zeros((2, count))
    _run(text, compiled.ctypes.data, x.ctypes.data, count)
    names = {"load_f64_1": lambda array, i: float(array[i]), "store_f64_0": lambda array, i, x: array.__setitem__(i, x)}
    names["row"] = names["rolled"] = range
    exec(text, names)
    names["kernel"](expected, x, count)
    return compiled, expected


@pytest.mark.parametrize("name", FLOWS)
def test_a_text_computes_what_python_computes(name: str) -> None:
    text = _HEAD + "".join(f"    {line}\n" for line in FLOWS[name].strip().splitlines())
    np.testing.assert_array_equal(*_both(text))


def test_operators_divide_and_round_as_python_does() -> None:
    operands = [*itertools.product((-7, -2, 3, 8), (-3, -1, 2, 8)), *itertools.product((-7.5, -0.0, 2.0), (-2.0, 0.5))]
    lines = [f"{x!r} {operator} {y!r}" for x, y in operands for operator in OPERATORS]
    lines += [f"{x} {operator} {y}" for x, y in ((6, 3), (-6, 5)) for operator in ("&", "|", "^", "<<", ">>")]
    lines += ["~5", "-(-3)", "2.5 ** 3", "2.5 ** -2", "3 ** 4", "2.0 ** 0.5", "not 3", "(1 < 2) + (2 < 3)"]
    stores = [f"    store_f64_0(p0, {i}, {line})\n" for i, line in enumerate(lines)]
    np.testing.assert_array_equal(*_both(_HEAD + "".join(stores), len(lines)))


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_between_variables(operator: str) -> None:
    text = f"{_HEAD}    for i in range(n0):\n        for j in range(1, 4):\n"
    text += f"            x = load_f64_1(p1, i) {operator} (j - 5)\n            y = (i - 6) {operator} (j - 5)\n"
    np.testing.assert_array_equal(*_both(f"{text}            store_f64_0(p0, i, x + y * 0.125)\n"))


def test_division_by_zero_stops_nothing() -> None:
    text = f"{_HEAD}    zero = n0 - 1\n    store_f64_0(p0, 0, (7 // zero) * 10 + 7 % zero)\n"
    result = np.ones(1)
    _run(text, result.ctypes.data, 0, 1)
    assert result == 0


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("x + x", np.float32(0.1) + np.float32(0.1)),
        ("x * 3", float(np.float32(0.1)) * 3),
        ("x * n", float(np.float32(0.1)) * 7),
        ("x * (x < 1)", float(np.float32(0.1))),
        ("n * n", 49.0),
        ("I32(n << 30) * 2", float(np.array(7 << 30).astype(np.int32)) * 2),
        ("x ** 2", np.float32(0.1) * np.float32(0.1)),
        ("F32(0.1)", float(np.float32(0.1))),
        ("x if n < 0 else n", 7.0),
        ("n / 2", 3.5),
        ("int(2.75) + int(-2.75)", 0.0),
        ("F64(x)", float(np.float32(0.1))),
        ("INF", np.inf),
        ("NAN", np.nan),
        ("F32(1e39)", np.inf),
        ("(x != x) | (n == 7)", 1.0),
    ],
)
def test_types_meet_as_in_numpy(expression: str, expected: float) -> None:
    """x is an f32, n a whole number of 32 bits."""
    text = "def kernel(p0, p1, p2):\n    x = load_f32_1(p1, 0)\n    n = load_i32_2(p2, 0)\n"
    x, n, result = np.array([0.1], np.float32), np.array([7], np.int32), np.zeros(1)
    _run(f"{text}    store_f64_0(p0, 0, {expression})\n", *(array.ctypes.data for array in (result, x, n)))
    np.testing.assert_array_equal(result[0], expected)


SPECIAL = (0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan, 1e-40)
EXTREMES = """\
def kernel(p0, p1, p2, p3, p4, n0):
    for i in range(n0):
        x = load_{dtype}_0(p0, i)
        y = load_{dtype}_1(p1, i)
        store_{dtype}_2(p2, i, x if (x >= y) | (x != x) else y)
        store_{dtype}_3(p3, i, x if x <= y or x != x else y)
        store_{dtype}_4(p4, i, x if (x >= {word}(0.0)) | (x != x) else {word}(0.0))
"""


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("target", TARGETS)
def test_extremes_have_the_bits_of_their_choice_in_vectors_and_alone(target: str, dtype: str) -> None:
    """The sign of a zero too, but for one beside a number of the text. If both are NaN, the result is either."""
    kernel = Kernel(KernelSource(EXTREMES.format(dtype=dtype, word=dtype.upper()), 6), machine_for(target))
    pairs = np.array(list(itertools.product(SPECIAL, SPECIAL)), FLOATS[dtype]).T
    bits = f"i{pairs.itemsize}"
    for count in (*range(1, 8), 19, 64):
        for x, y in (np.ascontiguousarray(pairs[:, start : start + count]) for start in range(0, 64, count)):
            results = np.zeros((3, len(x)), x.dtype)
            kernel.call(x.ctypes.data, y.ctypes.data, *(result.ctypes.data for result in results), len(x))
            np.testing.assert_array_equal(results, [np.maximum(x, y), np.minimum(x, y), np.maximum(x, 0)])
            choices = np.where((x >= y) | (x != x), x, y), np.where((x <= y) | (x != x), x, y)
            for result, choice in zip(results, choices, strict=False):
                number = choice == choice
                np.testing.assert_array_equal(result.view(bits)[number], choice.view(bits)[number])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("with p1: pass", "a kernel has no `with p1:`"),
        ("x = y", "a kernel does not know `y`"),
        ("x = [1]", r"a kernel has no `\[1\]`"),
        ("x = unknown(1)", r"a kernel has no `unknown\(1\)`"),
        ("for i in p1: pass", "a kernel has no `p1`"),
        ("x = 1.5 & 2", "a kernel has no `&` of f64"),
        ("for i in range(n0, interleave=n0): pass", r"a kernel has no `range\(n0, interleave=n0\)`"),
        ("for i in range(n0, step=2): pass", r"a kernel has no `range\(n0, step=2\)`"),
        ("x = n0 ** n0", r"a kernel has no `\*\*` of i64"),
    ],
)
def test_what_a_text_may_not_contain(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Kernel(KernelSource(f"{_HEAD}    {line}\n", 3), machine_for(TARGETS[-1]))

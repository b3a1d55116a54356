"""Cases for the table of operations: every operation, and every block of the library, on small, odd and large shapes.

Most are generated: an element-wise operation takes rows of numbers, another one the first example of its definition
with longer axes, and a block the arguments that its signature names. The others are listed here. `uncovered` names what
has no case, and tests keep it empty.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal

from netc.compiler.elaborate.library import LIBRARIES, Library
from netc.compiler.ir.forms import Scalar
from netc.compiler.ir.value import OPERATIONS, Operation
from netc.compiler.operations import elementwise  # noqa: F401  registers the operations
from netc.dsl.printer import parameter_text

Size = Literal["small", "odd", "large"]
# The sizes of a batch and of axes. `n` and `m` are widths, `wide` the width of a row of numbers; t and s are steps, h
# and w an image, c its channels, k the classes or the rows of a table.
GRID: dict[Size, SimpleNamespace] = {
    "small": SimpleNamespace(batch=4, n=24, m=16, wide=64, t=6, s=6, h=6, w=6, c=4, units=8, k=10),
    "odd": SimpleNamespace(batch=13, n=66, m=37, wide=333, t=17, s=19, h=13, w=11, c=19, units=37, k=101),
    "large": SimpleNamespace(batch=64, n=256, m=256, wide=4096, t=32, s=32, h=28, w=28, c=32, units=128, k=1000),
}
_Built = tuple[tuple[str, ...], dict[str, Any]]  # types of the operands, and attributes


@dataclass(frozen=True, slots=True)
class Case:
    """One operation or block on one shape.

    `text` is a model with an output y for cases that the language states; the others have the `operation` with the
    `types` of its operands (f64 stands for the precision) and its `attributes`.
    """

    name: str
    variant: str
    size: Size
    dtype: str
    batch: int
    text: str = ""
    operation: Operation | None = None
    types: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name, with the variant if there are several."""
        return f"{self.name}, {self.variant}" if self.variant else self.name

    def __str__(self) -> str:
        return f"{self.title} {self.size} {self.dtype}"


def _conv(
    kernel: int, stride: int = 1, groups: str = "1", inputs: str = "c", depth: str = "c", outputs: str = "c"
) -> Any:
    """A convolution with a border; `inputs` are the channels of the image, `depth` those of a group, `outputs` those of
    the result."""

    def build(d: SimpleNamespace) -> _Built:
        sizes = {"c": d.c, "4c": 4 * d.c, "1": 1, "4": 4}
        around = kernel // 2
        attributes = {"stride": (stride, stride), "dilation": (1, 1), "pad": (around,) * 4, "groups": sizes[groups]}
        image = f"f64[batch, {d.h}, {d.w}, {sizes[inputs]}]"
        return (image, f"f64[{kernel}, {kernel}, {sizes[depth]}, {sizes[outputs]}]"), attributes

    return build


def _einsum(subscripts: str) -> Callable[[SimpleNamespace], _Built]:
    """A product by named indices: b is the batch, i the steps t, j the steps s, k and l the widths n and m."""

    def build(d: SimpleNamespace) -> _Built:
        sizes = {"b": "batch", "i": d.t, "j": d.s, "k": d.n, "l": d.m}
        operands = subscripts.partition("->")[0].split(",")
        types = tuple(f"f64[{', '.join(str(sizes[letter]) for letter in operand)}]" for operand in operands)
        return types, {"subscripts": subscripts}

    return build


# Operations on operands that their examples do not show: by variant, what makes the operands of a size.
LISTED: dict[str, dict[str, Callable[[SimpleNamespace], _Built]]] = {
    "conv2d": {
        "3x3": _conv(3),
        "1x1": _conv(1),
        "3x3, stride 2": _conv(3, 2),
        "3x3, one channel": _conv(3, inputs="1", depth="1"),
        "3x3, depthwise": _conv(3, groups="c", depth="1"),
        "7x7, depthwise": _conv(7, groups="c", depth="1"),
        "3x3, groups of 4": _conv(3, groups="c", inputs="4c", depth="4", outputs="4c"),
    },
    "einsum": {
        "bk,kl->bl": _einsum("bk,kl->bl"),
        "bik,kl->bil": _einsum("bik,kl->bil"),
        "bik,bjk->bij": _einsum("bik,bjk->bij"),
        "bij,bjk->bik": _einsum("bij,bjk->bik"),
        "bk,k->b": _einsum("bk,k->b"),
    },
    "matmul": {"": lambda d: ((f"f64[batch, {d.n}]", f"f64[{d.n}, {d.m}]"), {})},
    "outer": {"": lambda d: ((f"f64[{d.n}]", f"f64[{d.wide}]"), {})},
    "where": {"": lambda d: ((f"bool[batch, {d.wide}]", *[f"f64[batch, {d.wide}]"] * 2), {})},
    "cast": {
        "to f32": lambda d: ((f"f64[batch, {d.wide}]",), {"dtype": "f32"}),
        "from bool": lambda d: ((f"bool[batch, {d.wide}]",), {"dtype": "f64"}),
    },
    "unit": {"": lambda d: ((f"i32[batch, {d.wide}]",), {"dtype": "f64"})},
    "gather": {"": lambda d: ((f"f64[{d.k}, {d.m}]", f"class({d.k})[batch, {d.t}]"), {})},
    "scatter_add": {"": lambda d: ((f"f64[batch, {d.m}]", f"class({d.k})[batch]"), {"rows": d.k})},
    "segment_max": {"": lambda d: ((f"f64[batch, {d.m}]", f"class({d.k})[batch]"), {"rows": d.k})},
    "first_equal": {"": lambda d: ((f"class({d.k})[batch, {d.t}]",), {})},
    "sum_at": {"": lambda d: ((f"f64[batch, {d.t}, {d.m}]", f"class({d.batch * d.t})[batch, {d.t}]"), {})},
    "softmax": {"": lambda d: ((f"f64[batch, {d.wide}]",), {"over": (1,)})},
    "log_softmax": {"": lambda d: ((f"f64[batch, {d.wide}]",), {"over": (1,)})},
    "logsumexp": {"": lambda d: ((f"f64[batch, {d.wide}]",), {"over": (1,)})},
    "argmax": {"": lambda d: ((f"f64[batch, {d.wide}]",), {"over": (1,)})},
    "cumsum": {"": lambda d: ((f"f64[batch, {d.t}, {d.m}]",), {"over": (1,)})},
    "one_hot": {"": lambda d: ((f"class({d.k})[batch]",), {"n": d.k})},
    "reshape": {"": lambda d: ((f"f64[batch, {d.n * 2}]",), {"dims": ("batch", 2, d.n)})},
    "transpose": {"": lambda d: ((f"f64[batch, {d.t}, {d.n}]",), {"order": (0, 2, 1)})},
    "broadcast": {"": lambda d: ((f"f64[batch, 1, {d.n}]",), {"dims": ("batch", d.t, d.n)})},
    "slice": {"": lambda d: ((f"f64[batch, {d.t}, {d.n}]",), {"axis": 1, "start": 1, "stop": d.t})},
    "reverse": {"": lambda d: ((f"f64[batch, {d.t}, {d.n}]",), {"over": (1,)})},
    "concat": {"": lambda d: ((f"f64[batch, {d.n}]", f"f64[batch, {d.m}]"), {"axis": 1})},
    "pad": {
        "": lambda d: (
            (f"f64[batch, {d.h}, {d.w}, {d.c}]",),
            {"axes": (1, 2), "before": (1, 1), "after": (1, 1), "step": (1, 1)},
        )
    },
    **{
        name: {
            "rows": lambda d: ((f"f64[batch, {d.wide}]",), {"over": (1,)}),
            "batch": lambda d: ((f"f64[batch, {d.wide}]",), {"over": (0,)}),
            "channels": lambda d: ((f"f64[batch, {d.h * d.w}, {d.c}]",), {"over": (0, 1)}),
        }
        for name in ("sum", "max", "min", "mean", "variance", "norm")
    },
}

# Operations that the language states more simply than a graph: the inputs, and the expression.
STATED: dict[str, tuple[str, str]] = {
    "maxpool": ("x: float[{h}, {w}, {c}]", "maxpool(x, 2)"),
    "avgpool": ("x: float[{h}, {w}, {c}]", "avgpool(x, 2)"),
    "conv1d": ("x: float[{t}, {c}], param w: float[3, {c}, {c}]", "conv1d(x, w)"),
    "depthwise_conv2d": ("x: float[{h}, {w}, {c}], param w: float[3, 3, {c}, 1]", "depthwise_conv2d(x, w, pad = 1)"),
    "conv_transpose2d": ("x: float[{h}, {w}, {c}], param w: float[3, 3, {c}, {c}]", "conv_transpose2d(x, w)"),
    "conv_transpose1d": ("x: float[{t}, {c}], param w: float[3, {c}, {c}]", "conv_transpose1d(x, w)"),
    "upsample": ("x: float[{h}, {w}, {c}]", "upsample(x, 2)"),
    "dropout": ("x: float[{wide}]", "dropout(x, 0.5)"),
    "uniform_like": ("x: float[{wide}]", "uniform_like(x)"),
    "normal_like": ("x: float[{wide}]", "normal_like(x)"),
}

# Operations without a case of their own, and where their kernels are measured.
ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(("conv2d_input", "conv2d_weights"), "the gradients of conv2d"),
    **dict.fromkeys(("maxpool2d", "maxplace2d"), "maxpool and its gradient"),
    "avgpool2d": "avgpool",
    "interleave": "the input gradient of conv2d with a stride",
    "variance_whole": "variance",
    **dict.fromkeys(("scan", "part", "to_steps", "from_steps"), "the recurrent layers"),
    **dict.fromkeys(("flatten", "squeeze", "unsqueeze", "stop_gradient", "window"), "nothing is computed"),
    **dict.fromkeys(("auc", "ranked_above", "quantile", "edits", "edit_distance"), "the reference computes them once"),
    **dict.fromkeys(("calibration_error", "conformal_quantile", "temperature"), "the reference computes them once"),
    **dict.fromkeys(("arange", "extent"), "a number for each axis"),
    **dict.fromkeys(("attend", "attend_sums", "attend_gradient"), "the block attention"),
    "grad": "a pass replaces it",
    "put": "the updates of rows that `--only lookups` measures",
}

_ARGUMENTS = {"units": "units", "n": "c"}  # of blocks: the size that an argument without a default takes
_BLOCKS = {  # by name, or with the first parameter if several blocks have the name
    "conformal, z: float[...]": ("z: float[{n}], target y: float[{n}]", "conformal(z, y, 0.9)"),
    "conformal, z: float[..., 2]": ("z: float[2], target y: float", "conformal(z, y, 0.9)"),
    "conformal, p: float[..., n]": ("p: float[{n}], target y: class({n})", "conformal(p, y, 0.9)"),
    "conformal_adaptive": ("p: float[{n}], target y: class({n})", "conformal_adaptive(p, y, 0.9)"),
    "pinball, z: float[..., k]": ("z: float[2], y: float", "pinball(z, y, [0.1, 0.9])"),
    "groupnorm, x: float[c]": ("x: float[{n}]", "groupnorm(x, 2)"),
    "groupnorm, x: float[t, c]": ("x: float[{t}, {n}]", "groupnorm(x, 2)"),
    "groupnorm, x: float[h, w, c]": ("x: float[{h}, {w}, {n}]", "groupnorm(x, 2)"),
    "depth_to_space": ("x: float[{h}, {w}, 12]", "depth_to_space(x, 2)"),
    "embed": ("x: class({k})[{t}]", "embed(x, {m})"),
    "rnn_cell": ("x: float[{n}], h: float[{m}]", "rnn_cell(x, h)"),
    "gru_cell": ("x: float[{n}], h: float[{m}]", "gru_cell(x, h)"),
    "lstm_cell": ("x: float[{n}], h: float[{m}], c: float[{m}]", "lstm_cell(x, h, c)"),
    "bidirectional": ("x: float[{t}, {n}]", "bidirectional(x, lstm({units}))"),
}


def cases(name: str = "") -> Iterator[Case]:
    """Yields the cases of all operations and blocks whose text, such as `conv2d, 1x1 large f32`, contains `name`."""
    for dtype in ("f32", "f64"):
        for size in GRID:
            for case in (*_operations(size, dtype), *_blocks(size, dtype)):
                if name in str(case):
                    yield case


def uncovered() -> set[str]:
    """Returns the operations and blocks that have no case."""
    names = {case.name for case in (*_operations("small", "f32"), *_blocks("small", "f32"))}
    blocks = {name for name, _ in _all_blocks()}
    return (set(OPERATIONS) - set(ELSEWHERE) | blocks) - names


def _operations(size: Size, dtype: str) -> Iterator[Case]:
    d = GRID[size]
    for name, operation in OPERATIONS.items():
        if name in LISTED:
            for variant, build in LISTED[name].items():
                types, attributes = build(d)
                yield Case(name, variant, size, dtype, d.batch, "", operation, types, attributes)
        elif name in STATED:
            yield Case(name, "", size, dtype, d.batch, _model(*STATED[name], d, dtype))
        elif isinstance(operation.lower, Scalar) and operation.examples:
            examples, attributes = operation.examples[0]
            types = tuple(re.sub(r"\[.*", f"[batch, {d.wide}]", text) for text in examples)
            yield Case(name, "", size, dtype, d.batch, "", operation, types, attributes)


@cache
def _signatures(library: Library) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The blocks of a library: the name of each, and its parameters as text."""
    blocks = library.blocks()
    return tuple((block.name.text, tuple(map(parameter_text, block.parameters))) for block in blocks)


def _all_blocks() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields the blocks of all libraries but those of schedules, which have no kernel."""
    for library in LIBRARIES.values():
        if library.kind != "schedule":
            yield from _signatures(library)


def _blocks(size: Size, dtype: str) -> Iterator[Case]:
    d = GRID[size]
    names = [name for name, _ in _all_blocks()]
    for name, parameters in _all_blocks():
        key = next((key for key in (name, f"{name}, {parameters[0]}") if key in _BLOCKS), None)
        inputs, call = _BLOCKS[key] if key is not None else _signature(name, parameters)
        axes = re.sub(r"[{}]", "", inputs.partition("[")[2].partition("]")[0])
        kind = " of a class" if "class" in inputs else ""
        variant = f"[{axes}]{kind}" if names.count(name) > 1 else ""
        yield Case(name, variant, size, dtype, d.batch, _model(inputs, call, d, dtype))


def _signature(name: str, parameters: Iterable[str]) -> tuple[str, str]:
    """The inputs and the call of a block, from the parameters without defaults."""
    inputs, arguments, parameters = [], [], [*parameters]
    has_axes = any("..., " in parameter or ", ..." in parameter for parameter in parameters)
    for parameter in parameters:
        argument, _, type_ = parameter.partition(": ")
        if " = " in parameter:
            continue
        if type_:
            type_ = type_.replace("..., ", "").replace(", ...", "")
            type_ = type_.replace("[...]", "" if has_axes or type_.startswith("class") else "[{n}]")
            inputs.append(f"{argument}: " + re.sub(r"(?<![\w{])([a-z])(?![\w}])", r"{\1}", type_))
            arguments.append(argument)
        else:
            arguments.append("{" + _ARGUMENTS.get(argument, argument) + "}")
    return ", ".join(inputs), f"{name}({', '.join(arguments)})"


def _model(inputs: str, call: str, d: SimpleNamespace, dtype: str) -> str:
    """A model with an output y: `inputs` are separated by commas behind brackets or names of types."""
    declared = re.split(r", (?=(?:param |target )?[a-z]+: )", inputs.format(**vars(d)))
    lines = [line if line.startswith(("param ", "target ")) else f"input {line}" for line in declared]
    body = "\n  ".join([*lines, f"output y = {call.format(**vars(d))}"])
    return f"model {{\n  {body}\n}}\ntrain {{\n  batch = {d.batch}\n  precision = {dtype}\n}}\n"

"""A model in use as one file of Python that needs NumPy alone: its numbers, and a function `predict` that reads as the model does."""

import base64
import inspect
import keyword
import re
import textwrap
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from netc.compiler.export import helpers
from netc.compiler.export.scalar import Term, translate
from netc.compiler.export.writer import Array, Exported, Rows, Writer, bounded_lengths
from netc.compiler.kernels.own import definition
from netc.compiler.operations.random import SAMPLE
from netc.compiler.operations.scan import Scan
from netc.compiler.types import BATCH, NUMPY, Dim, Type, describe_sample
from netc.compiler.value import OPERATIONS, Fold, Own, Value

_WIDTH, _SHORT = 116, 60
_INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
    "floor_divide": "//",
    "and": "&",
    "or": "|",
}
_CALLS = {
    **{
        name: f"np.{name}"
        for name in ("exp", "log", "log1p", "expm1", "sqrt", "tanh", "sin", "cos", "floor", "rint", "where", "abs")
    },
    "min": "np.minimum",
    "max": "np.maximum",
    "not": "np.logical_not",
    "sigmoid": "_sigmoid",
    "erf": "_erf",
    "pow": "_pow",
    "scramble": "_scramble",
    "unit": "_unit",
}
_DTYPES = {
    "f32": "np.float32",
    "f64": "np.float64",
    "i32": "np.int32",
    "i64": "np.int64",
    "u8": "np.uint8",
    "bool": "np.bool_",
}


def numpy_file(exported: Exported, random: Callable[[str], Array]) -> str:
    """The text of the file. `random` gives the words that a stream of random numbers begins with. Faults E1201 for what NumPy has no word for."""
    return _NumpyFile(exported, random).text()


class _NumpyFile(Writer):
    KIND = "NumPy"

    def __init__(self, exported: Exported, random: Callable[[str], Array]) -> None:
        super().__init__(exported)
        self.random = random
        self.arrays: dict[str, Array] = {}
        self.lines: list[str] = []
        self.indent, self.samples = 1, "_samples"
        self.line = (-1, "")
        self.names = 0
        self.functions: dict[str, str] = {}
        self.arguments = _identifiers(exported.inputs)

    # ------------------------------------------------------------ words

    def number(self, value: float | int | bool, dtype: str) -> Term:
        if dtype == "bool":
            return Term(str(bool(value)), dtype)
        if dtype in ("f32", "f64"):
            told = repr(float(value)) if np.isfinite(value) else f"np.float32({str(float(value))!r})"
            return Term(told if value >= 0 or np.isnan(value) else f"({told})", dtype)
        return Term(str(int(value)) if value >= 0 else f"({int(value)})", dtype)

    def cast(self, x: Term, dtype: str) -> Term:
        if x.dtype == dtype:
            return x
        if _is_number(x.text):
            return self.number(float(x.text.strip("()")), dtype)
        if {x.dtype, dtype} == {"i32", "i64"}:
            return Term(x.text, dtype)
        return Term(f"np.asarray({x.text}, {_DTYPES[dtype]})", dtype)

    def word(self, name: str, operands: list[Term], dtype: str) -> Term:
        if name == "neg":
            return Term(f"(-{operands[0].text})", dtype)
        if name in _INFIX:
            left, right = (one.text for one in operands)
            return Term(f"({left} {_INFIX[name]} {right})", dtype)
        return Term(f"{_CALLS[name]}({', '.join(one.text for one in operands)})", dtype)

    def take(self, x: Term, index: Term) -> Term:
        return Term(f"{x.text}[{index.text}]", x.dtype)

    def parameter(self, name: str, array: Array) -> Term:
        self.arrays[name] = array
        return Term(f"_weights[{name!r}]", _dtype_of(array))

    def made_rows(self, dim: str, length: Term) -> Rows:
        own = self.fresh("length", length)
        first = self.fresh("first", Term(f"np.cumsum({own.text}) - {own.text}", "i64"))
        sample = self.fresh("sample", Term(f"np.repeat(np.arange(len({own.text})), {own.text})", "i64"))
        step = self.fresh("step", Term(f"np.arange(len({sample.text})) - {first.text}[{sample.text}]", "i64"))
        return self.indexed(own, first, sample, step, Term(f"{own.text}.max()", "i64"))

    def given_lengths(self, dim: str) -> Term:
        name = next(name for name, type_ in self.exported.inputs.items() if type_.rows == dim)
        return Term(f"np.array([len(one) for one in {self.arguments[name]}])", "i64")

    def same_lengths(self, steps: int) -> Term:
        return Term(f"np.full(_samples, {steps})", "i64")

    def counted(self, count: int) -> Term:
        return Term(f"np.arange({count})", "i64")

    def column(self, x: Term) -> Term:
        return Term(f"{x.text}[:, None]", x.dtype)

    def dim(self, dim: Dim) -> str:
        if isinstance(dim, int):
            return str(dim)
        return self.samples if dim == BATCH else f"len({self.rows(dim).sample.term.text})"

    def random_words(self, value: Value) -> Term:
        name = str(value.attributes["name"])
        if name == SAMPLE:
            return Term("np.arange(_samples, dtype=np.int32)", "i32")
        self.arrays[name] = self.random(name)
        return Term(f"_weights[{name!r}]", "i32")

    def own_kernel(self, value: Value, operands: Sequence[Term]) -> Term | None:
        lower = OPERATIONS[value.operation].lower
        if isinstance(lower, Fold):
            pair = {name: Term(name, value.type.dtype) for name in ("a", "b")}
            combine = f"lambda a, b: {translate(lower.combine, pair, {}, value.type.dtype, self).text}"
            initial = {"inf": "np.inf", "-inf": "-np.inf"}.get(lower.initial, lower.initial)
            over = value.attributes["over"]
            return Term(f"_fold({combine}, {initial}, {operands[0].text}, {over!r})", value.type.dtype)
        if not isinstance(lower, Own):
            return None
        node = definition(lower.function)
        self.functions[node.name] = textwrap.dedent(inspect.getsource(lower.function))
        taken = [argument.arg for argument in node.args.args][1 + len(operands) :]
        numbers = {name: value.attributes[name] for name in taken}
        batched = [one.type.is_batched for one in value.operands]
        shape = value.type.dims[1:] if value.type.is_batched else value.type.dims
        own = ", ".join(one.text for one in operands)
        return Term(
            f"_each({node.name}, {tuple(map(int, shape))!r}, {_DTYPES[value.type.dtype]}, {batched!r}, [{own}], {numbers!r})",
            value.type.dtype,
        )

    def shape(self, lead: str, dims: Sequence[Dim]) -> str:
        return f"({', '.join([lead, *self.dims(dims)])})" if dims else f"({lead},)"

    # ------------------------------------------------------------ lines

    def put(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    def fresh(self, prefix: str, term: Term) -> Term:
        """A term under a new name."""
        name = self.called(prefix)
        self.put(f"{name} = {_bare(term.text)}")
        return Term(name, term.dtype)

    def called(self, prefix: str) -> str:
        """A name that nothing else has."""
        self.names += 1
        name = f"{prefix}{self.names}"
        return self.called(prefix) if name in self.arguments.values() else name

    def kept(self, prefix: str, term: Term) -> Term:
        return term if re.fullmatch(r"\w+|_weights\['[^']*'\]", term.text) else self.fresh(prefix, term)

    def named(self, value: Value, term: Term, uses: int) -> Term:
        if value.operation in ("constant", "input", "given", "parameter", "state") or term.text.isidentifier():
            return term
        self.told(value)
        if uses == 1 and len(term.text) < _SHORT and "lambda" not in term.text:
            return term
        return self.fresh("v", term)

    def told(self, value: Value) -> None:
        """The line of the `.net` file that the next lines come from, as a comment."""
        source, line = value.span.source, value.span.line
        if source.text and (line, source.name) != self.line:
            self.line = (line, source.name)
            self.put(f"# {source.name}:{line}  {source.line(line).strip()}")

    # ------------------------------------------------------------ the file

    def text(self) -> str:
        exported = self.exported
        leaves = {name: Term(own, exported.inputs[name].dtype) for name, own in self.arguments.items()}
        for name, type_ in exported.inputs.items():
            own, kind = self.arguments[name], _DTYPES[type_.dtype]
            if type_.is_varying:
                rest = "".join(f", {dim}" for dim in type_.dims[1:])
                leaves[name] = Term(f"{own}_rows", type_.dtype)
                self.put(f"{own}_rows = np.concatenate([np.asarray(one, {kind}) for one in {own}]).reshape(-1{rest})")
            else:
                rest = "".join(f", {dim}" for dim in type_.dims[1:])
                self.put(f"{own} = np.asarray({own}, {kind}).reshape(-1{rest})")
        first = next(iter(self.arguments.values()))
        self.put(f"_samples = len({first})")
        made = self.walk(exported.graph, leaves)
        results = {name: made[value].text for name, value in exported.graph.results.items()}
        told = bounded_lengths(exported, results)
        answers = []
        for name, type_ in exported.outputs.items():
            text = results[f"output.{name}"]
            if type_.is_varying:
                length = self.rows(str(type_.rows)).length.term.text
                text = f"np.split({text}, np.cumsum({length})[:-1])"
            elif name in told:
                cuts = ", ".join(":" if end is None else f": {results[end]}[i]" for end in told[name])
                text = f"[one[{cuts}] for i, one in enumerate({text})]"
            elif not type_.is_batched:
                text = f"np.asarray({text})"
            answers.append(f"{name!r}: {_bare(text)},")
        self.put("return {")
        for line in answers:
            self.put(f"    {line}")
        self.put("}")
        return self.whole("\n".join(self.lines))

    def whole(self, body: str) -> str:
        exported = self.exported
        listing = [
            *(
                f"    {self.arguments[name]}: {_told(type_)}{_note(exported, name)}"
                for name, type_ in exported.inputs.items()
            ),
        ]
        given = [f"    {name}: {_told(type_)}{_note(exported, name)}" for name, type_ in exported.outputs.items()]
        used = _helpers_in(body)
        arguments = ", ".join(self.arguments.values())
        head = [
            f'"""{exported.name}, exported by netc: `predict` needs NumPy alone.',
            "",
            "Arrays come with the samples in front; of a varying dimension, a list of arrays, one a sample. What is given:",
            *listing,
            "What comes back, by name:",
            *given,
            '"""',
            "",
            *(["import base64", "import math", "import zlib"] if "_erf" in used else ["import base64", "import zlib"]),
            "",
            "import numpy as np",
            "",
        ]
        functions = [
            inspect.getsource(getattr(helpers, name)).replace(": Any", "").replace(" -> Any", "") for name in used
        ]
        functions += list(self.functions.values())
        blocks = [re.sub(r"(\w+): (?:int|float)(?=[,)])", r"\1", one).rstrip() for one in functions]
        # numbers last: whoever opens the file reads the model first
        return "\n".join(
            [
                *head,
                *(f"\n{block}\n" for block in blocks),
                f"\ndef predict({arguments}):",
                '    """The outputs by name, for any number of samples."""',
                body,
                "",
                *(
                    [f"labels = {dict(exported.labels)!r}  # of classes, by their numbers", ""]
                    if exported.labels
                    else []
                ),
                _numbers(self.arrays),
            ]
        )

    # ------------------------------------------------------------ scans

    def run_scan(self, one: Scan, given: Mapping[str, Term]) -> dict[str, Term]:
        rows, types = self.rows(one.dim), {name: leaf.type for name, leaf in one.leaves().items()}
        given = {name: self.kept("v", term) for name, term in given.items()}
        self.told(one.value)
        step, sample = rows.step.term.text, rows.sample.term.text
        carries = {
            name: self.fresh("carry", Term(f"np.array({term.text})", term.dtype))
            for name, term in given.items()
            if name[0] == "c"
        }
        yields = {name: value for name, value in one.body.results.items() if name.startswith("yield")}
        stacks = {
            name: self.fresh(
                "stack",
                Term(
                    f"np.zeros({self.shape(f'len({step})', value.type.dims[1:])}, {_DTYPES[value.type.dtype]})",
                    value.type.dtype,
                ),
            )
            for name, value in yields.items()
        }
        times = f"range({rows.most.text})"
        here, running = self.called("rows"), self.called("running")
        self.put(f"for t in {f'reversed({times})' if one.is_reversed else times}:")
        self.indent += 1
        self.put(f"{here} = np.flatnonzero({step} == t)")
        self.put(f"{running} = {sample}[{here}]")
        leaves = {}
        for name, term in given.items():
            if name not in types:
                continue
            if name[0] == "k" and not types[name].is_batched:
                leaves[name] = term
            else:
                source, index = (
                    (carries[name], running) if name[0] == "c" else (term, here if name[0] == "x" else running)
                )
                leaves[name] = self.fresh(f"{name}_", Term(f"{source.text}[{index}]", term.dtype))
        self.samples = f"len({running})"  # in a body they are those that still run
        made = self.walk(one.body, leaves)
        self.samples = "_samples"
        for name, value in one.body.results.items():
            if name in stacks:
                self.put(f"{stacks[name].text}[{here}] = {_bare(made[value].text)}")
        for name, value in one.body.results.items():
            if name.startswith("next."):
                self.put(f"{carries['c' + name[5:]].text}[{running}] = {_bare(made[value].text)}")
        self.indent -= 1
        self.line = (-1, "")
        return {**stacks, **{f"last.{name[1:]}": term for name, term in carries.items()}}

    # ------------------------------------------------------------ whole operations

    def _reshape(self, value: Value, x: Term) -> Term:
        wanted = ["-1" if isinstance(dim, str) else str(int(dim)) for dim in value.type.dims]
        return Term(f"np.reshape({_bare(x.text)}, ({', '.join(wanted)}{',' * (len(wanted) == 1)}))", x.dtype)

    def _broadcast(self, value: Value, x: Term) -> Term:
        dims = self.dims(value.type.dims)
        return Term(f"np.broadcast_to({_bare(x.text)}, ({', '.join(dims)}{',' * (len(dims) == 1)}))", x.dtype)

    def _slice(self, value: Value, x: Term) -> Term:
        axis, start, stop = (value.attributes[name] for name in ("axis", "start", "stop"))
        step = value.attributes.get("step", 1)
        assert isinstance(axis, int)
        where = ":, " * axis + f"{start}:{stop}" + (f":{step}" if step != 1 else "")
        return Term(f"{x.text}[{where}]", x.dtype)

    def _pad(self, value: Value, x: Term) -> Term:
        one = value.attributes
        told = ", ".join(f"{one[name]!r}" for name in ("axes", "before", "after", "step"))
        return Term(f"_pad({_bare(x.text)}, {told}, {one.get('value', 0.0)!r})", x.dtype)

    def _concat(self, value: Value, *parts: Term) -> Term:
        own = ", ".join(_bare(part.text) for part in parts)
        return Term(f"np.concatenate([{own}], axis={value.attributes['axis']})", value.type.dtype)

    def _einsum(self, value: Value, x: Term, y: Term) -> Term:
        subscripts = str(value.attributes["subscripts"])
        if re.fullmatch(r"(\w)*(\w),\2(\w)->.*", subscripts) and _is_matmul(subscripts):
            return Term(f"({x.text} @ {y.text})", x.dtype)
        return Term(f'np.einsum("{subscripts}", {_bare(x.text)}, {_bare(y.text)}, optimize=True)', x.dtype)

    def _argmax(self, value: Value, x: Term) -> Term:
        over = value.attributes["over"]
        assert isinstance(over, tuple)
        return Term(f"np.argmax({_bare(x.text)}, {over[0]})", "i32")

    def _from_steps(self, value: Value, x: Term, place: Term) -> Term:
        return Term(f"_from_steps({_bare(x.text)}, {place.text}, {self.samples}, {value.attributes['size']})", x.dtype)

    def _extent(self, value: Value) -> Term:
        dims = value.attributes["dims"]
        assert isinstance(dims, tuple)
        return Term(f"{_DTYPES[value.type.dtype]}({' * '.join(self.dims(dims))})", value.type.dtype)

    FORMS: ClassVar[Mapping[str, Callable[..., Term]]] = {
        "reshape": _reshape,
        "broadcast": _broadcast,
        "slice": _slice,
        "pad": _pad,
        "concat": _concat,
        "einsum": _einsum,
        "argmax": _argmax,
        "from_steps": _from_steps,
        "extent": _extent,
        "relu": lambda self, value, x: Term(f"np.maximum({_bare(x.text)}, 0)", x.dtype),
        "minimum": lambda self, value, x, y: Term(f"np.minimum({_bare(x.text)}, {_bare(y.text)})", value.type.dtype),
        "maximum": lambda self, value, x, y: Term(f"np.maximum({_bare(x.text)}, {_bare(y.text)})", value.type.dtype),
        "transpose": lambda self, value, x: Term(
            f"np.transpose({_bare(x.text)}, {value.attributes['order']!r})", x.dtype
        ),
        "reverse": lambda self, value, x: Term(f"np.flip({_bare(x.text)}, {value.attributes['over']!r})", x.dtype),
        "gather": lambda self, value, table, index: Term(f"{table.text}[{_bare(index.text)}]", table.dtype),
        "to_steps": lambda self, value, x, place: Term(
            f"np.concatenate({_bare(x.text)})[{_bare(place.text)}]", x.dtype
        ),
        "arange": lambda self, value: Term(f"np.arange({value.attributes['n']})", "i32"),
        "interleave": lambda self, value, *parts: Term(
            f"_interleave([{', '.join(one.text for one in parts)}], {value.attributes['size']!r})", value.type.dtype
        ),
        **{
            name: lambda self, value, x, name=name: Term(
                f"np.{name}({_bare(x.text)}, axis={value.attributes['over']!r})", x.dtype
            )
            for name in ("sum", "max", "min")
        },
        **{
            name: lambda self, value, x, name=name: Term(
                f"_{name}({_bare(x.text)}, {value.attributes['over'][0]})", x.dtype
            )
            for name in ("softmax", "log_softmax", "logsumexp")
        },
        **{
            name: lambda self, value, *operands, name=name: Term(
                f"_{name}({', '.join([*(_bare(one.text) for one in operands), *(f'{key}={item!r}' for key, item in value.attributes.items())])})",
                value.type.dtype,
            )
            for name in ("conv2d", "conv2d_input", "maxpool2d", "avgpool2d", "window")
        },
        **{
            name: lambda self, value, x, index, combine=combine: Term(
                f"_scatter({combine}, {_bare(x.text)}, {_bare(index.text)}, {self.dim(value.type.dims[0])})", x.dtype
            )
            for name, combine in (("scatter_add", "np.add, 0"), ("segment_max", "np.maximum, -np.inf"))
        },
    }


def _identifiers(inputs: Mapping[str, Type]) -> dict[str, str]:
    """What an input's argument is called: its name, if Python takes that and nothing else here has it."""
    taken = {"np", "math", "zlib", "base64", "predict", "labels", "t", "i", "one", "len", "range", "enumerate"}
    return {name: f"{name}_" if keyword.iskeyword(name) or name in taken else name for name in inputs}


def _is_number(text: str) -> bool:
    try:
        float(text.strip("()"))
    except ValueError:
        return False
    return True


def _bare(text: str) -> str:
    """A text without brackets around the whole of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for character in text[:-1]:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text
    return text[1:-1]


def _is_matmul(subscripts: str) -> bool:
    """Whether a product is x[..., k] @ y[k, m], or y has the same axes before."""
    inputs, _, out = subscripts.partition("->")
    x, y = inputs.split(",")
    is_plain = len(y) == 2 and y[0] == x[-1] and out == x[:-1] + y[1] and y[1] not in x
    is_stack = len(x) == len(y) > 2 and x[:-2] == y[:-2] and y[-2] == x[-1] and out == x[:-1] + y[-1]
    return is_plain or is_stack


def _dtype_of(array: Array) -> str:
    return next(name for name, kind in NUMPY.items() if kind == array.dtype)


def _told(type_: Type) -> str:
    return f"a list of {describe_sample(type_)}" if type_.is_varying else describe_sample(type_)


def _note(exported: Exported, name: str) -> str:
    return f" ({exported.notes[name]})" if name in exported.notes else ""


def _helpers_in(body: str) -> list[str]:
    """The helpers that a text calls, and those that they call, in the order in which they are defined."""
    known = [name for name, one in vars(helpers).items() if inspect.isfunction(one)]
    used: set[str] = set()
    waiting = [body]
    while waiting:
        text = waiting.pop()
        for name in known:
            if name not in used and re.search(rf"\b{name}\(", text):
                used.add(name)
                waiting.append(inspect.getsource(getattr(helpers, name)))
    return [name for name in known if name in used]


def _numbers(arrays: Mapping[str, Array]) -> str:
    """The parameters and states, as text."""
    places, whole = [], b""
    for name, array in arrays.items():
        places.append(f"    {name!r}: ({array.dtype.name!r}, {tuple(map(int, array.shape))!r}, {len(whole)}),")
        whole += np.ascontiguousarray(array).tobytes()
    coded = textwrap.wrap(base64.b64encode(zlib.compress(whole, 6)).decode(), _WIDTH)
    return "\n".join(
        [
            "_places = {  # each parameter: element type, shape, the first of its bytes",
            *places,
            "}",
            '_bytes = zlib.decompress(base64.b64decode("""',
            *coded,
            '"""))',
            "_weights = {",
            "    name: np.frombuffer(_bytes, dtype, int(np.prod(shape)), start).reshape(shape)",
            "    for name, (dtype, shape, start) in _places.items()",
            "}",
            "",
        ]
    )

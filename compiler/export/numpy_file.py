"""A model in use as one file of Python that needs NumPy alone: its numbers, and a function `predict` that reads as the model does."""

import base64
import inspect
import re
import textwrap
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from netc.compiler.export import helpers
from netc.compiler.export.numpy_forms import FORMS, NUMPY_WORDS, bare
from netc.compiler.export.scalar import Term, translate
from netc.compiler.export.writer import Array, Exported, Rows, Writer, bounded_lengths
from netc.compiler.ir.attributes import Over
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, DTYPES, Dim, Type, describe_sample
from netc.compiler.ir.value import OPERATIONS, Fold, Own, Value
from netc.compiler.kernels.own import definition
from netc.compiler.operations.random import SAMPLE
from netc.compiler.operations.scan import Scan
from netc.dsl.quoting import python_comment, python_docstring, python_name, python_string

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


def numpy_file(exported: Exported, random: Callable[[str], Array]) -> str:
    """The text of the file. `random` gives the words that a stream of random numbers begins with. Faults E1201 for what NumPy has no word for."""
    return _NumpyFile(exported, random).text()


class _NumpyFile(Writer):
    KIND = "NumPy"
    FORMS = FORMS

    def __init__(self, exported: Exported, random: Callable[[str], Array]) -> None:
        super().__init__(exported)
        self.random = random
        self.arrays: dict[str, Array] = {}
        self.lines: list[str] = []
        self.indent, self.samples = 1, "_samples"
        self.line, self.comment = (-1, ""), ""  # of the last value, and what is to be told before the next line
        self.names = 0
        self.functions: dict[str, str] = {}
        self.arguments, self.rows_names = _identifiers(exported.inputs)

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
        return Term(f"np.asarray({x.text}, {NUMPY_WORDS[dtype]})", dtype)

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
        return Term(f"_weights[{python_string(name)}]", _dtype_of(array))

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
        name = value.name
        if name == SAMPLE:
            return Term("np.arange(_samples, dtype=np.int32)", "i32")
        self.arrays[name] = self.random(name)
        return Term(f"_weights[{python_string(name)}]", "i32")

    def own_kernel(self, value: Value, operands: Sequence[Term]) -> Term | None:
        lower = OPERATIONS[value.operation].lower
        if isinstance(lower, Fold):
            pair = {name: Term(name, value.type.dtype) for name in ("a", "b")}
            combine = f"lambda a, b: {translate(lower.combine, pair, {}, value.type.dtype, self).text}"
            initial = {"inf": "np.inf", "-inf": "-np.inf"}.get(lower.initial, lower.initial)
            over = value.attributes_as(Over).over
            return Term(f"_fold({combine}, {initial}, {operands[0].text}, {over!r})", value.type.dtype)
        if not isinstance(lower, Own):
            return None
        node = definition(lower.function)
        self.functions[node.name] = textwrap.dedent(inspect.getsource(lower.function))
        taken = [argument.arg for argument in node.args.args][1 + len(operands) :]
        numbers = {name: value.keywords[name] for name in taken}
        batched = [one.type.is_batched for one in value.operands]
        shape = value.type.dims[1:] if value.type.is_batched else value.type.dims
        own = ", ".join(one.text for one in operands)
        return Term(
            f"_each({node.name}, {tuple(map(int, shape))!r}, {NUMPY_WORDS[value.type.dtype]}, {batched!r}, [{own}], {numbers!r})",
            value.type.dtype,
        )

    def shape(self, lead: str, dims: Sequence[Dim]) -> str:
        return f"({', '.join([lead, *self.dims(dims)])})" if dims else f"({lead},)"

    # ------------------------------------------------------------ lines

    def put(self, line: str) -> None:
        told, self.comment = [self.comment] if self.comment else [], ""
        self.lines += ["    " * self.indent + text for text in (*told, line)]

    def fresh(self, prefix: str, term: Term) -> Term:
        """A term under a new name."""
        name = self.called(prefix)
        self.put(f"{name} = {bare(term.text)}")
        return Term(name, term.dtype)

    def called(self, prefix: str) -> str:
        """A name that nothing else has."""
        self.names += 1
        name = f"{prefix}{self.names}"
        return self.called(prefix) if name in (*self.arguments.values(), *self.rows_names.values()) else name

    def kept(self, prefix: str, term: Term) -> Term:
        return term if re.fullmatch(r"\w+|_weights\['[^']*'\]", term.text) else self.fresh(prefix, term)

    def named(self, value: Value, term: Term, uses: int) -> Term:
        if (
            value.role in (Role.CONSTANT, Role.INPUT, Role.GIVEN, Role.PARAMETER, Role.STATE)
            or term.text.isidentifier()
        ):
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
            self.comment = f"# {python_comment(f'{source.file_name}:{line}  {source.line(line).strip()}')}"

    # ------------------------------------------------------------ the file

    def text(self) -> str:
        exported = self.exported
        leaves = {name: Term(own, exported.inputs[name].dtype) for name, own in self.arguments.items()}
        for name, type_ in exported.inputs.items():
            own, kind = self.arguments[name], NUMPY_WORDS[type_.dtype]
            if type_.is_varying:
                rest = "".join(f", {dim}" for dim in type_.dims[1:])
                rows = self.rows_names[name]
                leaves[name] = Term(rows, type_.dtype)
                self.put(f"{rows} = np.concatenate([np.asarray(one, {kind}) for one in {own}]).reshape(-1{rest})")
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
            answers.append(f"{python_string(name)}: {bare(text)},")
        self.put("return {")
        for line in answers:
            self.put(f"    {line}")
        self.put("}")
        return self.whole("\n".join(self.lines))

    def whole(self, body: str) -> str:
        exported = self.exported
        listing = [f"{own}: {_described(exported, name)}" for name, own in self.arguments.items()]
        given = [f"{name}: {_described(exported, name)}" for name in exported.outputs]
        used = _helpers_in(body)
        arguments = ", ".join(self.arguments.values())
        head = [
            f'"""{python_docstring(exported.name)}, exported by netc: `predict` needs NumPy alone.',
            "",
            "Arrays come with the samples in front; of a varying dimension, a list of arrays, one a sample. What is given:",
            *(f"    {python_docstring(line)}" for line in listing),
            "What comes back, by name:",
            *(f"    {python_docstring(line)}" for line in given),
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
                    [f"labels = {_labels(exported.labels)}  # of classes, by their numbers", ""]
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
                    f"np.zeros({self.shape(f'len({step})', value.type.dims[1:])}, {NUMPY_WORDS[value.type.dtype]})",
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
                self.put(f"{stacks[name].text}[{here}] = {bare(made[value].text)}")
        for name, value in one.body.results.items():
            if name.startswith("next."):
                self.put(f"{carries['c' + name[5:]].text}[{running}] = {bare(made[value].text)}")
        self.indent -= 1
        self.line = (-1, "")
        return {**stacks, **{f"last.{name[1:]}": term for name, term in carries.items()}}


_OWN_NAMES = frozenset(
    {"np", "math", "zlib", "base64", "predict", "labels", "t", "i", "one", "len", "range", "reversed", "enumerate"}
)


def _identifiers(inputs: Mapping[str, Type]) -> tuple[dict[str, str], dict[str, str]]:
    """The argument of each input, named as the input is if Python takes that and nothing else here has it; and the rows of those that vary."""
    taken = set(_OWN_NAMES)
    arguments, rows = dict[str, str](), dict[str, str]()
    for name in inputs:
        arguments[name] = python_name(name, taken)
        taken.add(arguments[name])
    for name in (name for name, type_ in inputs.items() if type_.is_varying):
        rows[name] = python_name(f"{arguments[name]}_rows", taken)
        taken.add(rows[name])
    return arguments, rows


def _labels(labels: Mapping[str, Sequence[str]]) -> str:
    """A literal of a dict: the labels of classes by the name of what has them."""
    entries = [
        f"{python_string(name)}: ({', '.join(map(python_string, own))}{',' * (len(own) == 1)})"
        for name, own in labels.items()
    ]
    return f"{{{', '.join(entries)}}}"


def _is_number(text: str) -> bool:
    """Whether a term is a literal. The name of an argument is none, though `float` takes `nan` and `inf`."""
    try:
        float(text.strip("()"))
    except ValueError:
        return False
    return not text.isidentifier()


def _dtype_of(array: Array) -> str:
    return next(name for name, kind in DTYPES.items() if kind.numpy == array.dtype)


def _described(exported: Exported, name: str) -> str:
    """The type of an input or output, and what is to be known of it."""
    type_ = {**exported.outputs, **exported.inputs}[name]
    shown = f"a list of {describe_sample(type_)}" if type_.is_varying else describe_sample(type_)
    return f"{shown} ({exported.notes[name]})" if name in exported.notes else shown


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
        places.append(
            f"    {python_string(name)}: ({array.dtype.name!r}, {tuple(map(int, array.shape))!r}, {len(whole)}),"
        )
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

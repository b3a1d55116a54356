"""Writes a model as a Python file that needs only NumPy: a function `predict`, and the model's parameters."""

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from netc.compiler.export.exportable import Array, Exported
from netc.compiler.export.numpy_forms import FORMS, NUMPY_WORDS, bare
from netc.compiler.export.numpy_frame import assembled, identifiers
from netc.compiler.export.scalar import Term, translate
from netc.compiler.export.writer import RowTerms, Writer, bounded_lengths
from netc.compiler.ir.attributes import Over
from netc.compiler.ir.forms import Custom, Fold
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind, parse_supplied
from netc.compiler.ir.types import BATCH, DTYPES, Dim, Type
from netc.compiler.ir.value import Value
from netc.compiler.operations.elementwise import COMPARISONS
from netc.compiler.operations.scan import Scan, Slot, SlotKind
from netc.compiler.program.custom import definition
from netc.dsl.quoting import python_comment, python_string

_SHORT = 60  # characters of a term that is repeated rather than named
_INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    **COMPARISONS,
    "floor_divide": "//",
    "and": "&",
    "or": "|",
}
_CALLS = {
    **{
        name: f"np.{name}"
        for name in ("exp", "log", "log1p", "expm1", "sqrt", "tanh", "sin", "cos", "floor", "rint", "where", "abs")
    },
    **{name: f"np.{name}" for name in ("tan", "sinh", "cosh")},
    **{name: f"np.arc{name[1:]}" for name in ("asin", "acos", "atan", "atan2")},
    "min": "np.minimum",
    "max": "np.maximum",
    "not": "np.logical_not",
    "sigmoid": "_sigmoid",
    "softplus": "_softplus",
    "erf": "_erf",
    "normal_cdf": "_normal_cdf",
    "gelu": "_gelu",
    "pow": "_pow",
    "as_bf16": "_as_bf16",
    "scramble": "_scramble",
    "unit": "_unit",
}


def numpy_file(exported: Exported, random: Callable[[str], Array]) -> str:
    """Returns the text of the file. `random` returns the initial words of a stream of random numbers.

    Raises E1201 at an operation that cannot be written with NumPy.
    """
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
        self.line, self.comment = (-1, ""), ""  # the last value's source line; the comment before the next line
        self.names = 0
        self.functions: dict[str, str] = {}
        self.arguments, self.rows_names = identifiers(exported.inputs)

    # ------------------------------------------------------------ words

    def number(self, value: float | int | bool, dtype: str) -> Term:
        if dtype == "bool":
            return Term(str(bool(value)), dtype)
        if dtype in ("f32", "f64"):
            text = repr(float(value)) if np.isfinite(value) else f"np.float32({str(float(value))!r})"
            return Term(text if value >= 0 or np.isnan(value) else f"({text})", dtype)
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
            left, right = (operand.text for operand in operands)
            return Term(f"({left} {_INFIX[name]} {right})", dtype)
        return Term(f"{_CALLS[name]}({', '.join(operand.text for operand in operands)})", dtype)

    def take(self, x: Term, index: Term) -> Term:
        return Term(f"{x.text}[{index.text}]", x.dtype)

    def parameter(self, name: str, array: Array) -> Term:
        self.arrays[name] = array
        return Term(f"_weights[{python_string(name)}]", _dtype_of(array))

    def make_rows(self, dim: str, length: Term) -> RowTerms:
        length = self.fresh("length", length)
        first = self.fresh("first", Term(f"np.cumsum({length.text}) - {length.text}", "i64"))
        sample = self.fresh("sample", Term(f"np.repeat(np.arange(len({length.text})), {length.text})", "i64"))
        step = self.fresh("step", Term(f"np.arange(len({sample.text})) - {first.text}[{sample.text}]", "i64"))
        return self.indexed(length, first, sample, step, Term(f"{length.text}.max()", "i64"))

    def input_lengths(self, dim: str) -> Term:
        name = next(name for name, type_ in self.exported.inputs.items() if type_.rows == dim)
        return Term(f"np.array([len(one) for one in {self.arguments[name]}])", "i64")

    def constant_lengths(self, steps: int) -> Term:
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
        if parse_supplied(name) == SuppliedKind.SAMPLES.named():
            return Term("np.arange(_samples, dtype=np.int32)", "i32")
        self.arrays[name] = self.random(name)
        return Term(f"_weights[{python_string(name)}]", "i32")

    def custom_kernel(self, value: Value, operands: Sequence[Term]) -> Term | None:
        lower = value.lower
        if isinstance(lower, Fold):
            pair = {name: Term(name, value.type.dtype) for name in ("a", "b")}
            combine = f"lambda a, b: {translate(lower.combine, pair, {}, value.type.dtype, self).text}"
            initial = {"inf": "np.inf", "-inf": "-np.inf"}.get(lower.initial, lower.initial)
            over = value.attributes_as(Over).over
            return Term(f"_fold({combine}, {initial}, {operands[0].text}, {over!r})", value.type.dtype)
        if not isinstance(lower, Custom):
            return None
        node = definition(lower.function)
        self.functions[node.name] = textwrap.dedent(inspect.getsource(lower.function))
        keywords = [argument.arg for argument in node.args.args][1 + len(operands) :]
        arguments = (
            node.name,
            repr(tuple(map(int, value.type.dims[1:] if value.type.is_batched else value.type.dims))),
            NUMPY_WORDS[value.type.dtype],
            repr([operand.type.is_batched for operand in value.operands]),
            f"[{', '.join(operand.text for operand in operands)}]",
            repr({name: value.keywords[name] for name in keywords}),
        )
        return Term(f"_each({', '.join(arguments)})", value.type.dtype)

    def shape(self, lead: str, dims: Sequence[Dim]) -> str:
        return f"({', '.join([lead, *self.dims(dims)])})" if dims else f"({lead},)"

    # ------------------------------------------------------------ lines

    def put(self, line: str) -> None:
        """Appends a line to `predict`, after the comment about its place in the model if there is a new one."""
        comments, self.comment = [self.comment] if self.comment else [], ""
        self.lines += ["    " * self.indent + text for text in (*comments, line)]

    def fresh(self, prefix: str, term: Term) -> Term:
        """Assigns the term to a new name."""
        name = self.called(prefix)
        self.put(f"{name} = {bare(term.text)}")
        return Term(name, term.dtype)

    def called(self, prefix: str) -> str:
        """Returns a new name."""
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
        self.comment_on(value)
        if uses == 1 and len(term.text) < _SHORT and "lambda" not in term.text:
            return term
        return self.fresh("v", term)

    def comment_on(self, value: Value) -> None:
        """Sets the comment before the next line to the value's line of the `.net` file, if that is a new one."""
        source, line = value.span.source, value.span.line
        if source.text and (line, source.name) != self.line:
            self.line = (line, source.name)
            self.comment = f"# {python_comment(f'{source.file_name}:{line}  {source.line(line).strip()}')}"

    # ------------------------------------------------------------ the file

    def text(self) -> str:
        """Returns the text of the file."""
        terms = self.walk(self.exported.graph, self._inputs())
        self._outputs({result: terms[value].text for result, value in self.exported.graph.results.items()})
        body = "\n".join(self.lines)
        return assembled(self.exported, body, self.arguments, [*self.functions.values()], self.arrays)

    def _inputs(self) -> dict[str, Term]:
        """Writes the conversion of the arguments to arrays, and returns the inputs' terms."""
        leaves = {name: Term(argument, self.exported.inputs[name].dtype) for name, argument in self.arguments.items()}
        for name, type_ in self.exported.inputs.items():
            argument, dtype = self.arguments[name], NUMPY_WORDS[type_.dtype]
            rest = "".join(f", {dim}" for dim in type_.dims[1:])
            if type_.is_varying:
                rows = self.rows_names[name]
                leaves[name] = Term(rows, type_.dtype)
                self.put(f"{rows} = np.concatenate([np.asarray(one, {dtype}) for one in {argument}]).reshape(-1{rest})")
            else:
                self.put(f"{argument} = np.asarray({argument}, {dtype}).reshape(-1{rest})")
        first = next(iter(self.arguments.values()))
        self.put(f"_samples = len({first})")
        return leaves

    def _outputs(self, results: Mapping[Result, str]) -> None:
        """Writes the dictionary that `predict` returns. `results` are the texts of the graph's results."""
        bounded = bounded_lengths(self.exported, results)
        entries = []
        for name, type_ in self.exported.outputs.items():
            text = results[ResultKind.OUTPUT.named(name)]
            if type_.is_varying:
                length = self.rows(str(type_.rows)).length.term.text
                text = f"np.split({text}, np.cumsum({length})[:-1])"
            elif name in bounded:
                cuts = ", ".join(":" if end is None else f": {results[end]}[i]" for end in bounded[name])
                text = f"[one[{cuts}] for i, one in enumerate({text})]"
            elif not type_.is_batched:
                text = f"np.asarray({text})"
            entries.append(f"{python_string(name)}: {bare(text)},")
        self.put("return {")
        for entry in entries:
            self.put(f"    {entry}")
        self.put("}")

    # ------------------------------------------------------------ scans

    def run_scan(self, scan: Scan, operands: Mapping[Slot, Term]) -> dict[Result, Term]:
        rows = self.rows(scan.dim)
        operands = {slot: self.kept("v", term) for slot, term in operands.items()}
        self.comment_on(scan.value)
        step, sample = rows.step.term.text, rows.sample.term.text
        carries = {
            slot: self.fresh("carry", Term(f"np.array({term.text})", term.dtype))
            for slot, term in operands.items()
            if slot.kind is SlotKind.CARRY
        }
        stacks = {
            result: self._stack(value.type, step)
            for result, value in scan.body.results.items()
            if result.kind is ResultKind.YIELD
        }
        times = f"range({rows.most.text})"
        present, running = self.called("rows"), self.called("running")
        self.put(f"for t in {f'reversed({times})' if scan.is_reversed else times}:")
        self.indent += 1
        self.put(f"{present} = np.flatnonzero({step} == t)")
        self.put(f"{running} = {sample}[{present}]")
        leaves = self._step_operands(scan, {**operands, **carries}, present, running)
        self.samples = f"len({running})"  # the batch of a body is the samples that still run
        terms = self.walk(scan.body, leaves)
        self.samples = "_samples"
        for result, stack in stacks.items():
            self.put(f"{stack.text}[{present}] = {bare(terms[scan.body.results[result]].text)}")
        for name, value in scan.body.results_of(ResultKind.NEXT).items():
            carry = carries[SlotKind.CARRY.slot(int(name))]
            self.put(f"{carry.text}[{running}] = {bare(terms[value].text)}")
        self.indent -= 1
        self.line = (-1, "")
        return {**stacks, **{ResultKind.LAST.named(slot.index): term for slot, term in carries.items()}}

    def _stack(self, type_: Type, step: str) -> Term:
        """Writes the array that collects a result of every step."""
        shape = self.shape(f"len({step})", type_.dims[1:])
        return self.fresh("stack", Term(f"np.zeros({shape}, {NUMPY_WORDS[type_.dtype]})", type_.dtype))

    def _step_operands(self, scan: Scan, operands: Mapping[Slot, Term], present: str, running: str) -> dict[str, Term]:
        """Writes what a step reads of the scan's operands, and returns the terms of the body's leaves.

        `present` is the name of the step's rows, `running` the name of their samples.
        """
        types = {slot: leaf.type for slot, leaf in scan.leaves().items()}
        leaves = {}
        for slot, term in operands.items():
            if slot not in types:
                continue
            if slot.kind is SlotKind.CAPTURED and not types[slot].is_batched:
                leaves[str(slot)] = term
            else:
                index = present if slot.kind is SlotKind.STEP_INPUT else running
                leaves[str(slot)] = self.fresh(f"{slot}_", Term(f"{term.text}[{index}]", term.dtype))
        return leaves


def _is_number(text: str) -> bool:
    """Whether a term is a literal. An argument called `nan` or `inf` is not, although `float` accepts its name."""
    try:
        float(text.strip("()"))
    except ValueError:
        return False
    return not text.isidentifier()


def _dtype_of(array: Array) -> str:
    return next(name for name, kind in DTYPES.items() if kind.numpy == array.dtype)

"""The names that a `.net` file can use, with signatures and descriptions, for `netc ops` and docs/operations.md."""

import re
from collections.abc import Iterator

from msgspec import Struct

from netc.compiler.elaborate.forms.table import FORMS
from netc.compiler.elaborate.initialisers import INITIALISERS
from netc.compiler.elaborate.library import LIBRARIES
from netc.compiler.ir.forms import Expansion, Form, Scalar, SpecialForm, View
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import parse_type
from netc.compiler.ir.value import OPERATIONS, Operation
from netc.compiler.operations import elementwise  # noqa: F401  registers the operations
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.compiler.pipeline import PASSES
from netc.dsl.printer import parameter_text
from netc.dsl.words import WORDS
from netc.runtime.data.pictures.augment import AUGMENTATIONS
from netc.runtime.data.readers.readers import READERS
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.plugins import origin_of
from netc.runtime.studies.declarations import PRUNES, SEARCHES
from netc.runtime.studies.distributions import EXAMPLES

_OF_MODELS = ("operation", "form", "layer", "loss", "metric", "schedule", "optimizer", "initialiser")
KINDS = ("word", *_OF_MODELS, "reader", "data step", "augmentation", "pass")


class Entry(Struct, frozen=True):
    """One name: its kind, signature and description, facts about it, and its text if it is defined in the language."""

    name: str
    kind: str
    signature: str
    doc: str
    details: tuple[str, ...] = ()
    text: str = ""

    @property
    def summary(self) -> str:
        """The first sentence of the description, without its full stop."""
        match = re.match(r"(.*?)[.:]?(?:(?<=[.:]) [A-Z]|$)", self.doc)
        return match[1] if match else self.doc


def plural(kind: str) -> str:
    """The plural of a kind, as a heading."""
    return kind + ("es" if kind.endswith("s") else "s")


def entries() -> list[Entry]:
    """Returns all entries, sorted by kind and name."""
    all_entries = [*_words(), *_operations(), *_forms(), *_library(), *_settings(), *_data()]
    return sorted(all_entries, key=lambda entry: (KINDS.index(entry.kind), entry.name))


def _words() -> Iterator[Entry]:
    for name, word in WORDS.items():
        yield Entry(name, "word", word.example, word.doc)
    for setting, what, methods in (("search", "search", SEARCHES), ("prune", "give trials up early", PRUNES)):
        for name, method in methods.items():
            shown = ", ".join(f"{key} = {default}" for key, (default, _) in method.numbers.items())
            example = f"{setting} = {name}({shown})" if shown else f"{setting} = {name}"
            yield Entry(name, "word", example, f"A way of a study to {what}: {method.doc}.")
    yield Entry("uniform", "word", f"dropout = {EXAMPLES['uniform']}", "A setting of a study: any number of a range.")
    doc = "A setting of a study: a positive number of a range, evenly distributed by its logarithm."
    yield Entry("log", "word", f"lr = {EXAMPLES['log']}", doc)


def _operations() -> Iterator[Entry]:
    for name, operation in OPERATIONS.items():
        if operation.is_callable and name not in FORMS:
            details = (*_by(name), *_facts(operation))
            yield Entry(name, "operation", f"{name}({_arguments(operation)})", operation.doc, details)


def _by(name: str) -> tuple[str, ...]:
    """The plug-in that defines a name, if one does."""
    origin = origin_of(name)
    return () if origin is None else (f"Defined by the plug-in `{origin}`.",)


# the kinds of arguments that stand for all that follow, as the reference shows them
_SEVERAL = {"values": "x, ...", "dims": "n, ...", "all dims": "n, ...", "order": "axis, ..."}


def _arguments(operation: Operation) -> str:
    shown = []
    for name, kind in operation.arguments.items():
        kind, _, default = kind.partition(" = ")
        if kind == "stream":
            continue
        if kind in _SEVERAL:
            shown.append(_SEVERAL[kind])
        elif kind in ("axes", "axis", "join") and not default:
            shown.append(f"{name} = axis")
        else:
            shown.append(f"{name} = {default}" if default else name)
    return ", ".join(shown)


def _facts(operation: Operation) -> Iterator[str]:
    if operation.gradient is None and not isinstance(operation.lower, Expansion):
        yield "It has no gradient."
    match operation.lower:
        case Scalar():
            yield "Element-wise: it is fused with its neighbours into one loop."
        case View():
            yield "A view: it computes nothing and reads the same memory in another way."
        case SpecialForm(form=Form.CONTRACTION):
            yield "Computed by the register tile."
    for types, attributes in operation.examples[:1]:
        if "batch" not in "".join(types):
            graph = Graph()
            graph.precision = "f64"
            leaves = [graph.leaf(Role.INPUT, text, parse_type(text)) for text in types]
            shown = [str(type_).replace("f64", "float") for type_ in (*types, operation(*leaves, **attributes).type)]
            yield f"{', '.join(shown[:-1])} -> {shown[-1]}"


def _forms() -> Iterator[Entry]:
    signatures = {
        "split": "a, b = split(x, parts, over = -1)",
        "stack": "stack(x, ...)",
        "zeros": "zeros(n, ...)",
        "ones": "ones(n, ...)",
        "arange": "arange(n)",
        "weights": 'weights("pattern")',
        "weighted": "weighted(e, w)",
        "batch_share": "batch_share()",
        "class_weights": "class_weights(label)",
        "fitted": "fitted(x, part = train)",
        "size": "size(label)",
        "einsum": 'einsum(x, y, "ik,kj->ij")',
        "pair": "pair(x)",
        "choices": "choices(k, n)",
        "levels": "levels(q, n)",
        "moments": "m, v = moments(x)",
        "pad": "pad(x, by)",
        "last": "last(x)",
        "shift": "shift(x, first = 0)",
        "ceil": "ceil(time / 2)",
        "grad": "grad(y, x)",
        "same_length": "b = same_length(a, b)",
    }
    for name, form in FORMS.items():
        yield Entry(name, "form", signatures[name], " ".join((form.__doc__ or "").split()))


def _library() -> Iterator[Entry]:
    for library in sorted(LIBRARIES.values(), key=lambda library: library.name):
        docs = dict[str, str]()
        for block in library.blocks():
            name = block.name.text
            # several blocks may have one name, for different shapes; the comment of the first serves the others too
            doc = docs.setdefault(name, block.span.comment_before)
            arguments = ", ".join(parameter_text(parameter) for parameter in block.parameters)
            yield Entry(name, library.kind, f"{name}({arguments})", doc, _by(library.name), block.span.text)


def _settings() -> Iterator[Entry]:
    for name, rule in OPTIMIZERS.items():
        keys = rule.numbers.items()
        shown = ", ".join(key if default is None else f"{key} = {_value(default)}" for key, default in keys)
        yield Entry(name, "optimizer", f"{name}({shown})", rule.doc, _by(name))
    for name, numbers in INITIALISERS.items():
        shown = ", ".join((*numbers, "...") if name == "constant" else numbers)
        signature = f"{name}({shown})" if numbers else name
        yield Entry(name, "initialiser", signature, _INITIALISER_DOCS[name])


def _value(default: float | bool) -> str:
    return str(default).lower() if isinstance(default, bool) else f"{default:g}"


_INITIALISER_DOCS = {
    "zeros": "All elements are 0.",
    "ones": "All elements are 1.",
    "constant": "All elements have one value; with several values, the last axis is cut into that many equal parts.",
    "normal": "Normal distribution with mean 0.",
    "uniform": "Uniform distribution between two numbers.",
    "glorot_uniform": "Uniform between -l and l = sqrt(6 / (fan in + fan out)) (Glorot and Bengio 2010). The default.",
    "glorot_normal": "Normal distribution with mean 0 and variance 2 / (fan in + fan out).",
    "he_uniform": "Uniform between -l and l = sqrt(6 / fan in) (He et al. 2015), for layers before a ReLU.",
    "he_normal": "Normal distribution with mean 0 and variance 2 / fan in.",
    "orthogonal": "A random orthogonal matrix (Saxe et al. 2014).",
}


def _data() -> Iterator[Entry]:
    for name, reader in READERS.items():
        usage = 'sql("sqlite:///path", "select ...")' if name == "sql" else f'{name}("path")'
        yield Entry(name, "reader", usage, reader.doc, _by(name))
    for name, step in STEPS.items():
        most = step.arguments[1]
        shown = " | ".join(step.words) + " | value" if step.words else "..." if most > 2 else ", ".join("ab"[:most])
        signature = step.usage or (f"{name}({shown})" if most else name)
        yield Entry(name, "data step", signature, step.doc, _by(name))
    for name, stage in PASSES.items():
        yield Entry(name, "pass", name, stage.doc, (f"It runs after `{stage.after}`.", *_by(name)))
    for name, augmentation in AUGMENTATIONS.items():
        shown = " | ".join(augmentation.words) or "n"
        yield Entry(name, "augmentation", f"{name}({shown})", augmentation.doc)

"""The frame of an exported Python file around the body of `predict`: docstring, imports, functions and parameters."""

import base64
import inspect
import math
import re
import textwrap
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netc.compiler.export import copied_functions
from netc.compiler.export.exportable import Array, Exported
from netc.compiler.ir.types import Type, describe_sample
from netc.dsl.quoting import python_docstring, python_name, python_string

_WIDTH = 116  # columns of the encoded parameters
_COMMENTS = {  # the tables of a file
    "labels": "of classes, by their numbers, and of places",
    "columns": "of the data, in the order of an input's numbers",
    "fills": "of missing values, by column",
    "steps": "that are not part of this file, with what they learned",
}
_OWN_NAMES = frozenset(
    {"np", "math", "zlib", "base64", "predict", *_COMMENTS, "t", "i", "one", "len", "range", "reversed", "enumerate"}
)


def assembled(
    exported: Exported, body: str, arguments: Mapping[str, str], functions: Sequence[str], arrays: Mapping[str, Array]
) -> str:
    """Returns the file around the body of `predict`: its docstring, imports, functions, labels and parameters.

    `arguments` are the names of the arguments of `predict` by input, `functions` the texts of custom kernels that the
    body calls, `arrays` the parameters and states.
    """
    inputs = [f"{argument}: {_description(exported, name)}" for name, argument in arguments.items()]
    outputs = [f"{name}: {_description(exported, name)}" for name in exported.outputs]
    used = _functions_in(body)
    head = [
        f'"""{python_docstring(exported.name)}, exported by netc: `predict` needs NumPy alone.',
        "",
        "The first axis of an array is the samples; a sequence is a list of arrays, one for each sample. Arguments:",
        *(f"    {python_docstring(line)}" for line in inputs),
        "Results by name:",
        *(f"    {python_docstring(line)}" for line in outputs),
        '"""',
        "",
        "import base64",
        *(["import math"] if {"_erf", "_normal_cdf"}.intersection(used) else []),
        "import zlib",
        "",
        "import numpy as np",
        "",
    ]
    sources = (inspect.getsource(getattr(copied_functions, name)) for name in used)
    texts = [source.replace(": Any", "").replace(" -> Any", "") for source in sources]
    texts += functions
    blocks = [re.sub(r"(\w+): (?:int|float)(?=[,)])", r"\1", function).rstrip() for function in texts]
    # the parameters come last, so that a reader sees the model first
    return "\n".join(
        [
            *head,
            *(f"\n{block}\n" for block in blocks),
            f"\ndef predict({', '.join(arguments.values())}):",
            '    """The outputs by name, for any number of samples."""',
            body,
            "",
            *_tables(exported),
            _numbers(arrays),
        ]
    )


def identifiers(inputs: Mapping[str, Type]) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the argument's name for each input, and the name of its rows for each sequence.

    An argument is called as its input is if that is a valid and free name in Python.
    """
    used = set(_OWN_NAMES)
    arguments, rows = dict[str, str](), dict[str, str]()
    for name in inputs:
        arguments[name] = python_name(name, used)
        used.add(arguments[name])
    for name in (name for name, type_ in inputs.items() if type_.is_varying):
        rows[name] = python_name(f"{arguments[name]}_rows", used)
        used.add(rows[name])
    return arguments, rows


def _tables(exported: Exported) -> list[str]:
    """Returns the lines that define the labels and the facts about inputs, by name."""
    tables = {"labels": exported.labels, **exported.facts}
    comments = {name: f"  # {comment}" for name, comment in _COMMENTS.items()}
    lines = [f"{name} = {_literal(table)}{comments.get(name, '')}" for name, table in tables.items() if table]
    return [*lines, ""] if lines else []


def _literal(value: Any) -> str:
    """Returns a literal of plain data: texts, numbers, and lists and dicts of them. A list becomes a tuple."""
    match value:
        case str():
            return python_string(value)
        case Mapping():
            return f"{{{', '.join(f'{_literal(key)}: {_literal(entry)}' for key, entry in value.items())}}}"
        case list() | tuple():
            return f"({', '.join(map(_literal, value))}{',' * (len(value) == 1)})"
        case bool() | int() | None:
            return repr(value)
        case float() if math.isfinite(value):
            return repr(value)
    raise AssertionError(f"{value!r} is not plain data")


def _description(exported: Exported, name: str) -> str:
    """Returns the type of an input or output, and its note."""
    type_ = {**exported.outputs, **exported.inputs}[name]
    shown = f"a list of {describe_sample(type_)}" if type_.is_varying else describe_sample(type_)
    return f"{shown} ({exported.notes[name]})" if name in exported.notes else shown


def _functions_in(body: str) -> list[str]:
    """Returns the copied functions that a text calls, directly or through others, in the order of their definitions."""
    names = [name for name, member in vars(copied_functions).items() if inspect.isfunction(member)]
    used: set[str] = set()
    pending = [body]
    while pending:
        text = pending.pop()
        for name in names:
            if name not in used and re.search(rf"\b{name}\(", text):
                used.add(name)
                pending.append(inspect.getsource(getattr(copied_functions, name)))
    return [name for name in names if name in used]


def _numbers(arrays: Mapping[str, Array]) -> str:
    """Returns the definition of `_weights`, the parameters and states."""
    entries, content = [], b""
    for name, array in arrays.items():
        entries.append(
            f"    {python_string(name)}: ({array.dtype.name!r}, {tuple(map(int, array.shape))!r}, {len(content)}),"
        )
        content += np.ascontiguousarray(array).tobytes()
    coded = textwrap.wrap(base64.b64encode(zlib.compress(content, 6)).decode(), _WIDTH)
    return "\n".join(
        [
            "_places = {  # each parameter: element type, shape, the first of its bytes",
            *entries,
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

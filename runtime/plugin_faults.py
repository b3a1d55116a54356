"""Messages about the Python code of a plug-in, at its file and line: an import that fails, a wrong class."""

import inspect
from importlib.machinery import PathFinder
from pathlib import Path
from traceback import walk_tb
from typing import NoReturn

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.value import Operation
from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span
from netc.runtime.arguments import kind_of

_OPERANDS = ("value", "values", "stream", "join")  # kinds of arguments that are not attributes by their name


def refuse_import(name: str, error: Exception | SystemExit, elsewhere: Span) -> NoReturn:
    """Raises E1101 for an exception of a plug-in's code, at its line, or `elsewhere` if it is in no file of it."""
    span = _raised_at(name.partition(":")[0], error) or elsewhere
    title = f"the plug-in `{name}` cannot be imported"
    if (kind := _dataclass_of_attributes(error)) is not None:
        label = f"`{kind.__name__}` is derived from Attributes, which makes its fields by itself"
        fault("E1101", title, span, label, hint=f"class {kind.__name__}(Attributes, frozen=True): without @dataclass")
    label = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    fault("E1101", title, span, label, hint=_hint(name, error))


def require_attributes(operation: Operation) -> None:
    """Raises E1101, at the class, if what an operation names as the class of its attributes is none."""
    problem, hint = attributes_problem(operation)
    if problem:
        name = operation.name
        span = _span_of_class(operation.attributes) or Span(Source(f"the operation {name}", ""), 0, 0)
        fault("E1101", f"the attributes of the operation `{name}` are of a wrong class", span, problem, hint=hint)


def attributes_problem(operation: Operation) -> tuple[str, str]:
    """A sentence if the class of an operation's attributes is none that it can have, and a hint; or empty texts."""
    kind: object = operation.attributes
    if kind is None:
        return "", ""
    arguments = {name for name, text in operation.arguments.items() if text.split(" = ")[0] not in _OPERANDS}
    needed = sorted(arguments.union(*(attributes for _, attributes in operation.examples)))
    fields = "; ".join(f"{name}: ..." for name in needed) or "..."
    if not isinstance(kind, type):
        return f"`attributes` is {kind_of(kind)}, not a class", f"class Settings(Attributes, frozen=True): {fields}"
    if not issubclass(kind, Attributes):
        prefix = "a dataclass and " if hasattr(kind, "__dataclass_fields__") else ""
        hint = f"from netc.extend import Attributes; class {kind.__name__}(Attributes, frozen=True): {fields}"
        return f"`{kind.__name__}` is {prefix}not derived from Attributes", hint
    missing = [name for name in needed if name not in kind.__struct_fields__]
    if missing:
        return f"`{kind.__name__}` has no field `{missing[0]}`", f"{missing[0]}: ..."
    return "", ""


def _hint(name: str, error: Exception | SystemExit) -> str | None:
    """The change that makes a plug-in importable, if the exception tells which."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    if name.endswith(".py"):
        return f"a module is named without its suffix: --plugin {name.removesuffix('.py')}"
    module = name.partition(":")[0].partition(".")[0]
    if error.name == module and PathFinder.find_spec(module, ["."]) is not None:
        return f"`{module}` is in this folder, which is not on Python's path: PYTHONPATH=. netc ..."
    return "pip install ..."


def _dataclass_of_attributes(error: Exception | SystemExit) -> type | None:
    """The class derived from Attributes that `@dataclass` failed on, if that raised the exception."""
    for frame, _ in walk_tb(error.__traceback__):
        kind = frame.f_locals.get("cls")
        if frame.f_globals.get("__name__") == "dataclasses" and isinstance(kind, type) and issubclass(kind, Attributes):
            return kind
    return None


def _raised_at(module: str, error: Exception | SystemExit) -> Span | None:
    """The last line of the plug-in's own package that an exception came through."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return _line(error.filename, error.lineno)
    package = module.partition(".")[0]
    lines = [
        (frame.f_code.co_filename, line)
        for frame, line in walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package
    ]
    return _line(*lines[-1]) if lines else None


def _span_of_class(kind: object) -> Span | None:
    """The line at which a class is defined; None for anything that is not a class or has no file."""
    try:
        file = inspect.getsourcefile(kind) if isinstance(kind, type) else None
        return _line(file, inspect.getsourcelines(kind)[1]) if file else None  # type: ignore[arg-type]
    except (OSError, TypeError):
        return None


def _line(file: str, number: int) -> Span | None:
    """A line of a Python file, without its indent. None if the file cannot be read."""
    try:
        path = Path(file)
        shown = path.relative_to(Path.cwd()) if path.is_absolute() and path.is_relative_to(Path.cwd()) else path
        source = Source(str(shown), path.read_text(encoding="utf-8"), path)
    except (OSError, ValueError):
        return None
    lines = source.text.split("\n")
    if number > len(lines):
        return None
    start = sum(len(line) + 1 for line in lines[: number - 1])
    text = lines[number - 1]
    return Span(source, start + len(text) - len(text.lstrip()), start + len(text.rstrip()))

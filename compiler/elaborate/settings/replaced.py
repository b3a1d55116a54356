"""Values that replace those of a file: of its `let`s, of the settings of `train`, and of its optimizer's arguments.

A command gives them as constants (`--set batch=64`), a study as expressions. A name is looked up in this order.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from netc.compiler.elaborate.settings.train_block import MOVING, SETTINGS
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.limits import fits
from netc.dsl.parser import parse
from netc.dsl.source import Source, Span
from netc.dsl.structs import replace

SET = "--set {}"  # how a caller writes a constant, for messages: here in a command
TRAIN_SETTINGS = (*SETTINGS, *MOVING)
_DEFAULT_OPTIMIZER = "adam"


def names_of_lets(file: syntax.File) -> set[str]:
    """The names of the constants that the file itself defines."""
    return {item.name.text for item in file.items if isinstance(item, syntax.Let)}


def optimizer_of(file: syntax.File) -> str:
    """The name of the file's optimizer; empty if its setting is none."""
    setting = next((setting for setting in _settings(file) if setting.name.text == "optimizer"), None)
    return _DEFAULT_OPTIMIZER if setting is None else name_of_call(setting.value)


def arguments_of(optimizer: str) -> tuple[str, ...]:
    """The names of an optimizer's arguments; none if there is no such optimizer."""
    return tuple(OPTIMIZERS[optimizer].numbers) if optimizer in OPTIMIZERS else ()


def names_of_values(file: syntax.File) -> set[str]:
    """The names of all values that can be replaced in a file."""
    return {*names_of_lets(file), *TRAIN_SETTINGS, *arguments_of(optimizer_of(file))}


def name_of_call(node: syntax.Expression) -> str:
    """`sgd` of `sgd` and of `sgd(0.1)`; empty for any other expression."""
    function = node.function if isinstance(node, syntax.Call) else node
    return function.text if isinstance(function, syntax.Name) else ""


def with_constants(
    file: syntax.File, values: Mapping[str, Any], spelling: str = SET
) -> tuple[syntax.File, dict[str, Any]]:
    """The file with the settings of `train` among some values, and the other values, which replace those of `let`s.

    A text stands for what would be written in the file: `adam(lr = 0.1)`. Raises a Fault if it is not an expression.
    """
    lets = names_of_lets(file)
    of_train = {name: value for name, value in values.items() if name in TRAIN_SETTINGS and name not in lets}
    file = with_values(file, _expressions(of_train, spelling))
    arguments = arguments_of(optimizer_of(file))
    of_optimizer = {name: value for name, value in values.items() if name in arguments and name not in lets}
    file = with_values(file, _expressions(of_optimizer, spelling))
    used = {name for name, value in {**of_train, **of_optimizer}.items() if _fits(value)}
    return file, {name: value for name, value in values.items() if name not in used}


def with_values(file: syntax.File, values: Mapping[str, syntax.Expression]) -> syntax.File:
    """The file with expressions in the place of its own. A name that it does not know changes nothing."""
    lets = names_of_lets(file)
    items = [
        replace(item, value=values[item.name.text])
        if isinstance(item, syntax.Let) and item.name.text in values
        else item
        for item in file.items
    ]
    file = replace(file, items=tuple(items))
    for name, value in values.items():
        if name in TRAIN_SETTINGS and name not in lets:
            file = _with_setting(file, name, value)
    arguments = arguments_of(optimizer_of(file))
    for name, value in values.items():
        if name in arguments and name not in lets and name not in TRAIN_SETTINGS:
            file = _with_argument(file, name, value)
    return file


def _settings(file: syntax.File) -> tuple[syntax.Setting, ...]:
    return next((item.settings for item in file.items if isinstance(item, syntax.Train)), ())


def _with_setting(file: syntax.File, name: str, value: syntax.Expression) -> syntax.File:
    """The file with a setting in its first `train` block, which is added if there is none."""
    new = syntax.Setting(value.span, syntax.Name(value.span, name), value)
    block = next((item for item in file.items if isinstance(item, syntax.Train)), None)
    if block is None:
        return replace(file, items=(*file.items, syntax.Train(Span(file.source, 0, 0), (new,))))
    settings, is_there = list[syntax.Setting](), False
    for setting in block.settings:
        is_it = setting.name.text == name
        settings.append(replace(setting, value=value) if is_it else setting)
        is_there = is_there or is_it
    changed = replace(block, settings=tuple(settings if is_there else [*settings, new]))
    return replace(file, items=tuple(changed if item is block else item for item in file.items))


def _with_argument(file: syntax.File, name: str, value: syntax.Expression) -> syntax.File:
    """The file with an argument of its optimizer."""
    setting = next((setting for setting in _settings(file) if setting.name.text == "optimizer"), None)
    node: syntax.Expression = setting.value if setting is not None else syntax.Name(value.span, _DEFAULT_OPTIMIZER)
    function = node.function if isinstance(node, syntax.Call) else node
    written = node.arguments if isinstance(node, syntax.Call) else ()
    order = arguments_of(name_of_call(node))
    named = (_named(argument, order[i : i + 1]) for i, argument in enumerate(written))
    others = (argument for argument in named if name_of(argument) != name)
    new = syntax.Argument(value.span, syntax.Name(value.span, name), value)
    return _with_setting(file, "optimizer", syntax.Call(node.span, function, (*others, new)))


def name_of(argument: syntax.Argument) -> str:
    """The name of an argument; empty if it has none."""
    return argument.name.text if isinstance(argument.name, syntax.Name) else ""


def _named(argument: syntax.Argument, names: Sequence[str]) -> syntax.Argument:
    """An argument that has its name written out, which is the first of `names` where it has none."""
    is_named = argument.name is not None or not names
    return argument if is_named else replace(argument, name=syntax.Name(argument.span, names[0]))


def _fits(value: Any) -> bool:
    return not isinstance(value, int | float) or fits(value)


def _expressions(values: Mapping[str, Any], spelling: str) -> dict[str, syntax.Expression]:
    """The constants that fit into 64 bits, as expressions. Raises a Fault for a text that is none."""
    return {name: _expression(spelling.format(name), name, value) for name, value in values.items() if _fits(value)}


def _expression(written: str, name: str, value: Any) -> syntax.Expression:
    """A constant as an expression. Raises a Fault for a text that is none."""
    text = str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else repr(value)
    source = Source(written, f"train {{\n  {name} = {text}\n}}")
    items = parse(source).items
    if len(items) != 1 or not isinstance(items[0], syntax.Train) or len(items[0].settings) != 1:
        fault("E0101", f"`{written}` takes one expression", Span(source, 0, 0))
    return items[0].settings[0].value

"""A file with other settings: the values of a trial in place of those that the text has.

A setting is a `let` of the file, a setting of its `train` block, or an argument of its optimizer, such as `lr`.
"""

from collections.abc import Mapping
from dataclasses import replace

from netc.compiler.elaborate.settings import MOVING, SETTINGS
from netc.compiler.passes.update import OPTIMIZERS
from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest
from netc.dsl.parser import parse
from netc.dsl.source import Source, Span
from netc.runtime.runs.run_info import Constant


def with_settings(file: syntax.File, values: Mapping[str, Constant]) -> tuple[syntax.File, dict[str, Constant]]:
    """The file with other settings of its `train` block, and the values of its `let` constants, for `load_model`.

    A name that is both is the `let`. A text is a `let` constant's value, or else an expression as the block has it:
    `"sgd(0.1, momentum = 0.9)"` for `optimizer`. Faults E0601 for a name that the file does not have.
    """
    lets = {item.name.text for item in file.items if isinstance(item, syntax.Let)}
    constants = {name: value for name, value in values.items() if name in lets}
    block = next((item for item in file.items if isinstance(item, syntax.Train)), None)
    span = block.span if block is not None else Span(file.source, 0, 0)
    settings = {setting.name.text: setting for setting in block.settings} if block is not None else {}
    others = {name: value for name, value in values.items() if name not in lets}
    for name in sorted(others, key=lambda name: name != "optimizer"):  # first, because it has arguments of others
        expression = _expression(name, others[name], span)
        if name in SETTINGS or name in MOVING:
            settings[name] = syntax.Setting(span, syntax.Name(span, name), expression)
        else:
            settings["optimizer"] = _with_argument(settings.get("optimizer"), name, expression, span, lets)
    if not others:
        return file, constants
    changed = syntax.Train(span, tuple(settings.values()))
    items = tuple(changed if item is block else item for item in file.items)
    return replace(file, items=items if block is not None else (*items, changed)), constants


def _with_argument(
    setting: syntax.Setting | None, name: str, expression: syntax.Expression, span: Span, lets: set[str]
) -> syntax.Setting:
    """The setting `optimizer` with another value of one argument; adam without a setting."""
    value = setting.value if setting is not None else syntax.Name(span, "adam")
    function = value.function if isinstance(value, syntax.Call) else value
    arguments = value.arguments if isinstance(value, syntax.Call) else ()
    rule = OPTIMIZERS.get(function.text) if isinstance(function, syntax.Name) else None
    names = [*rule.numbers] if rule is not None else []
    if name not in names:
        known = [*lets, *SETTINGS, *MOVING, *names]
        fault("E0601", f"there is no setting `{name}`", span, "of this block, and no `let`", hint=nearest(name, known))
    # all with names, because the removal of one would move the others
    named = {
        (key := _name_of(argument, position, names)): replace(argument, name=syntax.Name(argument.span, key))
        for position, argument in enumerate(arguments)
    }
    named[name] = syntax.Argument(span, syntax.Name(span, name), expression)
    call = syntax.Call(span, function, tuple(named.values()))
    return syntax.Setting(span, syntax.Name(span, "optimizer"), call)


def _name_of(argument: syntax.Argument, position: int, names: list[str]) -> str:
    """The name of an optimizer's argument, which it may have by its position."""
    if isinstance(argument.name, syntax.Name):
        return argument.name.text
    return names[min(position, len(names) - 1)]


def _expression(name: str, value: Constant, span: Span) -> syntax.Expression:
    """A value as an expression of the `train` block."""
    if isinstance(value, bool):
        return syntax.Name(span, str(value).lower())
    if isinstance(value, int | float):
        number = syntax.Number(span, repr(abs(value)))
        return syntax.Unary(span, "-", number) if value < 0 else number
    if value.isidentifier():
        return syntax.Name(span, value)
    items = parse(Source("the settings of a trial", f"train {{\n  {name} = {value}\n}}\n")).items
    assert isinstance(items[0], syntax.Train)
    return items[0].settings[0].value

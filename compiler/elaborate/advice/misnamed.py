"""Assignments in a model whose name is a word of the language: `loss = mse(a, b)` only names a value.

Only an assignment that nothing reads is meant otherwise, since these words may be names too.
"""

from collections.abc import Mapping

from netc.compiler.elaborate.context import Context
from netc.compiler.elaborate.losses_by_name import applied
from netc.dsl import syntax
from netc.dsl.chains import last_word, steps_of
from netc.dsl.diagnostics import Diagnostic, Fault, Label
from netc.dsl.mistakes.synonyms import Kind, synonym
from netc.dsl.printer import expression
from netc.dsl.structs import replace

_DECLARED = ("input", "target")
_TYPED = ("input", "target", "param", "state")
_STATEMENTS: Mapping[str, str] = {
    "loss": "loss {}",
    "metric": "metric {}",
    "losses": "a `loss` for each: `loss mse(estimate, y)`",
    "metrics": "a `metric` for each: `metric accuracy(logits, label)`",
    "output": "output prediction = {}",
    "outputs": "an `output` for each: `output prediction = softmax(logits)`",
    "input": "input x: float[4]",
    "inputs": "an `input` for each: `input x: float[4]`",
    "target": "target y: float",
    "targets": "a `target` for each: `target y: float`",
    "watch": "watch seen = {}",
}
_SETTINGS: Mapping[str, str] = {
    "optimizer": "`train { optimizer = adam(lr = 0.001) }`",
    "epochs": "`train { epochs = 10 }`",
    "batch": "`train { batch = 32 }`",
}
_WITHOUT_EFFECT = ("loss", "metric")


def check_names(context: Context, statements: tuple[syntax.Statement, ...]) -> None:
    """Notes E0510 for a `loss` or `metric` that is assigned and never read, W0509 for other words of the language."""
    for statement in statements:
        if isinstance(statement, syntax.Assign) and len(statement.names) == 1:
            name = statement.names[0]
            if name.text not in context.read and (hint := _hint(context, name.text, statement.value)) is not None:
                context.diagnostics.add(
                    "E0510" if name.text in _WITHOUT_EFFECT else "W0509",
                    f"this only names a value `{name.text}`, which nothing reads",
                    name.span,
                    _label(name.text),
                    hint=hint,
                )


def explained(context: Context, statement: syntax.Statement, error: Fault) -> Fault:
    """The fault of a statement; another one for `input = x`, where the name on the right is the one that was meant,
    for a loss that reads an output with the name of the target, and for a field of the data that is not declared."""
    kind = "target" if isinstance(statement, syntax.Loss | syntax.Metric) else "input"
    if any(_undeclared(context, diagnostic) for diagnostic in error.diagnostics):
        return Fault(_of_undeclared(context, diagnostic, kind) for diagnostic in error.diagnostics)
    match statement:
        case syntax.Loss(value=syntax.Text() as text) | syntax.Metric(value=syntax.Text() as text):
            word, first = statement.span.text.split()[0], error.diagnostics[0]
            return Fault([replace(first, hint=f"{word} {applied(text, context.statements)}")])
        case syntax.Loss() | syntax.Metric():
            return Fault(_of_hidden_target(context, diagnostic) for diagnostic in error.diagnostics)
        case syntax.Assign(names=(syntax.Name(text=word) as name,), type=syntax.TypeOf()) if word in _TYPED:
            label = Label(name.span, f"`{word}` is followed by a name")
            hint = f"{word} w{statement.span.text[len(word) :].replace(' :', ':', 1)}"
            return Fault([Diagnostic("E0101", "the name is missing", label, (), hint)])
        case syntax.Assign(names=(syntax.Name(text=word) as name,), value=syntax.Name(text=meant)):
            if word in _DECLARED and [fault.code for fault in error.diagnostics] == ["E0201"]:
                label = Label(name.span.to(statement.value.span), "this only gives a value another name")
                hint = f"{word} {meant}: float[4]"
                return Fault([Diagnostic("E0510", f"`{meant}` is not declared by this", label, (), hint)])
    return error


def _undeclared(context: Context, diagnostic: Diagnostic) -> str | None:
    """The field of the data that an unknown name is; None for other messages."""
    name = diagnostic.primary.span.text
    return name if diagnostic.code == "E0201" and name in context.fields and name not in context.declared else None


def _of_undeclared(context: Context, diagnostic: Diagnostic, kind: str) -> Diagnostic:
    """The message with the declaration that is missing, if its name is a field of the data."""
    name = _undeclared(context, diagnostic)
    if name is None:
        return diagnostic
    label = Label(diagnostic.primary.span, f"the data gives it, but no `{kind}` declares it")
    return replace(diagnostic, primary=label, hint=f"{kind} {name}: {_declared_type(context.fields[name])}")


def _declared_type(field: syntax.Expression) -> str:
    """The type that a field most likely has in a model: labels, numbers, or a vector of the columns that are written.

    A field of whose columns the text does not say the number may have any.
    """
    steps = steps_of(field)
    while isinstance(field, syntax.Pipe):
        field = field.value
    is_sequence = not {"characters", "words", "window", "split"}.isdisjoint(steps)
    if not {"classes", "vocabulary"}.isdisjoint(steps):
        return "class(auto)[t]" if is_sequence else "class(auto)"
    names = field.arguments if isinstance(field, syntax.Call) and last_word(field.function) == "columns" else ()
    are_written = names and all(isinstance(name.value, syntax.Text) for name in names)
    if names and not are_written:
        return "float[...], with the number of columns in place of `...`"
    return "float" + (f"[{len(names)}]" if names else "[t]" if is_sequence else "")


def _of_hidden_target(context: Context, diagnostic: Diagnostic) -> Diagnostic:
    """The message with a hint if a value that does not fit has the name of a target, which another value took."""
    names = {label.span.text for label in (diagnostic.primary, *diagnostic.others)}
    hidden = names & context.targets.keys() & context.outputs
    if not hidden or diagnostic.code not in ("E0401", "E0402"):
        return diagnostic
    name = min(hidden)
    hint = f"`{name}` is the output from here on: give it another name than the target, such as `prediction`"
    return replace(diagnostic, hint=hint)


def _hint(context: Context, name: str, value: syntax.Expression) -> str | None:
    """A hint at what the user most likely meant; None if the name is not a word of the language."""
    if name in _STATEMENTS:
        text = applied(value, context.statements) if isinstance(value, syntax.Text) else expression(value)
        return _STATEMENTS[name].format(text)
    if name in _SETTINGS:
        return f"it belongs to {_SETTINGS[name]}"
    meant = synonym(name, Kind.SETTING, ())
    return _setting_hint(meant) if meant is not None else None


def _setting_hint(meant: str) -> str | None:
    word = meant.removeprefix("did you mean `").partition("`")[0].partition(" ")[0]
    return f"it belongs to {_SETTINGS[word]}" if word in _SETTINGS else None


def _label(name: str) -> str:
    match name:
        case "loss" | "losses":
            return "training minimises what `loss` states"
        case "metric" | "metrics":
            return "training prints what `metric` states"
    return ""

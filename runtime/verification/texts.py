"""Check `format`: the text that `netc fmt` prints is the same program, and printing it again changes nothing."""

from collections.abc import Iterator, Mapping
from typing import Any

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.model import Model
from netc.dsl.parser import parse
from netc.dsl.printer import print_file
from netc.dsl.source import Source, Span
from netc.runtime.verification.comparison import compared
from netc.runtime.verification.passes import unlike
from netc.runtime.verification.subject import Difference, Subject

_NAME = "format"


def check(subject: Subject) -> Iterator[Difference]:
    """Compares the graph and the settings of the text with those of the printed text."""
    source = subject.model.source
    if not source.text.strip():
        return
    printed = print_file(parse(source))
    formatted = Source(source.name, printed, source.path)
    again = print_file(parse(formatted))
    if again != printed:
        pairs = enumerate(zip(printed.splitlines(), again.splitlines(), strict=False), 1)
        number = next((number for number, (first, second) in pairs if first != second), 1)
        yield Difference(_NAME, "printed twice", _line(formatted, number), f"line {number} is printed in another way")
    before, after = _model(source, subject.model), _model(formatted, subject.model)
    value = unlike(before.graph, after.graph)
    compared(len(before.graph.values()))
    if value is not None:
        yield Difference(_NAME, f"the graph: {value.operation}", value.span, "the printed text has another value here")
    for name, setting in _settings(before).items():
        if setting != _settings(after)[name]:
            detail = f"`{name}` is {_settings(after)[name]} and should be {setting}"
            yield Difference(_NAME, f"the settings: {name}", Span(source, 0, 0), detail)


def _model(source: Source, like: Model) -> Model:
    """The model of a text, with the constants and the counted classes of another model."""

    def counted(name: str, lets: Mapping[str, Any], span: Span) -> int:
        return like.counted[name]

    numbers = {name: value for name, value in like.constants.items() if isinstance(value, bool | int | float | str)}
    return elaborate(parse(source), numbers, counted)


def _settings(model: Model) -> dict[str, str]:
    """The settings of training and the initial values of parameters, as text without their locations in the file."""
    train = model.train
    plain = ("optimizer", "batch", "epochs", "seed", "precision", "shuffle", "accumulate", "shards")
    settings = {name: repr(getattr(train, name)) for name in (*plain, "clip_norm", "clip_value", "freeze", "lr_scale")}
    for name, info in {**model.trainables, **model.states}.items():
        settings[name] = f"{info.type} = {info.initial}{info.numbers}, decay {info.decay}"
    return settings


def _line(source: Source, number: int) -> Span:
    """A whole line."""
    start = sum(len(line) + 1 for line in source.text.split("\n")[: number - 1])
    return Span(source, start, start + len(source.line(number)))

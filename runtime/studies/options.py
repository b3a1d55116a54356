"""Lines of a `study` block that a command adds to those of the file: `--vary width=8,16`, `--trials 20`."""

from collections.abc import Sequence

from netc.compiler.elaborate.settings.replaced import names_of_lets
from netc.dsl import syntax
from netc.dsl.diagnostics import fault
from netc.dsl.parser import parse
from netc.dsl.quoting import net_string
from netc.dsl.source import Source, Span
from netc.dsl.structs import replace
from netc.runtime.studies.distributions import EXAMPLES

_SOURCE = "the options of the study"


def is_distribution(text: str) -> bool:
    """Whether what a command was given is a distribution, and not values with commas."""
    return text.partition("(")[0].strip() in EXAMPLES


def line_of(file: syntax.File, name: str, text: str) -> str:
    """The line by which a setting varies over what a command was given: a distribution, or values with commas."""
    if is_distribution(text):
        return f"{name} = {text}"
    if name not in names_of_lets(file) or "[" in text:
        return f"{name} = choice({text})"
    return f"{name} = choice({', '.join(_constant(value.strip()) for value in text.split(','))})"


def _constant(text: str) -> str:
    """A value as `--set` takes it, as the language writes it."""
    try:
        float(text)
    except ValueError:
        return text if text in ("true", "false") or text.startswith('"') else net_string(text)
    return text


def with_lines(file: syntax.File, lines: Sequence[str]) -> syntax.File:
    """The file with further lines in its `study` block, each in the place of the one of the same name if there is one.

    Raises a Fault for a line that is none of such a block.
    """
    block = next((item for item in file.items if isinstance(item, syntax.Study)), None)
    settings = {setting.name.text: setting for setting in block.settings} if block is not None else {}
    for line in lines:
        new = _setting(line)
        settings[new.name.text] = new
    if block is None:
        source = Source(_SOURCE, "study { }")
        return replace(file, items=(*file.items, syntax.Study(Span(source, 0, 5), tuple(settings.values()))))
    changed = replace(block, settings=tuple(settings.values()))
    return replace(file, items=tuple(changed if item is block else item for item in file.items))


def _setting(line: str) -> syntax.StudySetting:
    source = Source(_SOURCE, f"study {{\n  {line}\n}}")
    items = parse(source).items
    if len(items) != 1 or not isinstance(items[0], syntax.Study) or len(items[0].settings) != 1:
        fault("E0101", "this is not one line of a `study` block", Span(source, 10, 10 + len(line)))
    return items[0].settings[0]

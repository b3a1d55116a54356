"""Calls as other libraries write them, in the form of netc: `conv2d(16, kernel_size = 5, padding = "same")`."""

import re
from collections.abc import Sequence

from netc.compiler.elaborate.bindings import BlockFunction
from netc.compiler.elaborate.library import library_scope
from netc.compiler.elaborate.option_words import BORDERS
from netc.compiler.ir.value import OPERATIONS
from netc.dsl import syntax
from netc.dsl.mistakes.brackets import open_brackets
from netc.dsl.mistakes.synonyms import Kind, synonym
from netc.dsl.source import Span


def _parameters(name: str) -> list[str]:
    """The names of what a layer or an operation takes after its first operand."""
    item = library_scope().find(name)
    if isinstance(item, BlockFunction):
        return [parameter.name.text for parameter in item.block.parameters][1:]
    return [*OPERATIONS[name].arguments][1:] if name in OPERATIONS else []


def _translated(argument: syntax.Argument, names: Sequence[str]) -> str | None:
    """An argument with netc's name and word; None for one that netc has no argument for."""
    value = argument.value
    is_border = isinstance(value, syntax.Text) and value.value.lower() in BORDERS
    text = value.value.lower() if isinstance(value, syntax.Text) and is_border else value.span.text
    if not isinstance(argument.name, syntax.Name):
        return text
    name = argument.name.text
    if name in names:
        return f"{name} = {text}"
    hint = synonym(name, Kind.ARGUMENT, names) or ""
    if hint.startswith("the number comes first"):
        return text
    meant = re.fullmatch(r"did you mean `(\w+)`\?", hint)
    return f"{meant[1]} = {text}" if meant is not None else None


def in_form_of(name: str, arguments: Sequence[syntax.Argument]) -> str:
    """The whole call of a layer with these arguments, without those that netc has not."""
    names = _parameters(name)
    texts = [text for argument in arguments if (text := _translated(argument, names)) is not None]
    return f"{name}({', '.join(sorted(texts, key=lambda text: ' = ' in text))})"


def count_of_changes(name: str, arguments: Sequence[syntax.Argument]) -> int:
    """The number of arguments of a call that netc writes in another way."""
    names = _parameters(name)
    return sum(_translated(argument, names) not in (argument.span.text, None) for argument in arguments)


def as_pipe(owner: str, name: Span, meant: str) -> str | None:
    """The pipe for a method that has arguments: `x -> dense(32)` for `x.dense(32)`; None for one without.

    `name` is the span of the method's name, `meant` what netc calls it.
    """
    text, opening = name.source.text, name.end
    if text[opening : opening + 1] != "(":
        return None
    ends = (match.end() for match in re.finditer(r"\)", text[opening:]))
    depth = len(open_brackets(text[:opening]))
    end = next((opening + end for end in ends if len(open_brackets(text[: opening + end])) == depth), None)
    inside = text[opening + 1 : end - 1].strip() if end is not None else ""
    return f"{owner} -> {meant}({inside})" if inside else None

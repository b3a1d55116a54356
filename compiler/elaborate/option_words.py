"""Options of an application that take one of some words, such as `pad = same`, and the message for any other word."""

from collections.abc import Sequence

from netc.compiler.elaborate.bindings import Scope
from netc.compiler.elaborate.settings.readers import TRUTH_WORDS
from netc.compiler.ir.value import OPERATIONS
from netc.dsl import syntax
from netc.dsl.diagnostics import fault, nearest_name
from netc.dsl.hints import Change, Hint

BORDERS = ("same", "valid", "causal")
_TRUTHS = ("true", "false")
_OPTIONS = (BORDERS, _TRUTHS)  # the words of which a parameter takes one, if its default is one of them
_SYNONYMS = {**TRUTH_WORDS, "zeros": "same", "zero": "same"}


def refuse_other_word(argument: syntax.Argument, default: syntax.Expression | None, scope: Scope) -> None:
    """Raises E0303 for an argument that is an unknown name, where the default says that one of some words is meant."""
    words = next((words for words in _OPTIONS if isinstance(default, syntax.Name) and default.text in words), None)
    if words is not None and isinstance(argument.name, syntax.Name):
        refuse_unknown_word(argument, argument.name.text, words, scope)


def refuse_unknown_word(argument: syntax.Argument, name: str, words: Sequence[str], scope: Scope) -> None:
    """Raises E0303 for an argument that is a word of the language or an unknown name, and none of the words that `name`
    takes."""
    node = argument.value
    if not isinstance(node, syntax.Name) or node.text in words or (words is _TRUTHS and node.text == "training"):
        return
    if node.text in OPERATIONS or scope.find(node.text) is not None:
        return
    title = f"`{name}` takes {', '.join(words[:-1])} or {words[-1]}"
    numbers = ", or a number" if words is BORDERS else ""
    word = node.text.lower()
    match = nearest_name(word, words) or (_SYNONYMS.get(word) if _SYNONYMS.get(word) in words else None)
    hint = Hint.assignment(name, words[0])
    if match:
        hint = Hint(f"did you mean `{name} = {match}`?", Change(match))
    note = "" if node.text in (*BORDERS, *_TRUTHS, "training") else "nothing of this name is defined"
    fault("E0303", title + numbers, node.span, note, hint=hint)

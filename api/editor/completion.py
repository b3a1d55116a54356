"""Completes names: offers what can be written at an offset, by the brackets that are open there and the line so far.

The text need not be correct.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

from netc.compiler.elaborate.settings.train_block import MOVING, SETTINGS
from netc.compiler.ir.value import OPERATIONS
from netc.dsl import syntax
from netc.dsl.keywords import SECTIONS
from netc.dsl.mistakes.scanning import blanked, is_code_at_end
from netc.editor.analysis import Analysis
from netc.editor.meaning import entry_text, reference
from netc.reference import Entry
from netc.runtime.studies.declarations import PRUNES, SEARCHES
from netc.runtime.studies.distributions import EXAMPLES
from netc.runtime.studies.spec import SETTINGS as STUDY

_ITEMS = {
    "model": "model {\n  $0\n}",
    "data": 'data {\n  source = csv("$1")\n  $0\n}',
    "train": "train {\n  $0\n}",
    "study": "study {\n  $0\n}",
    "block": "block ${1:name}(${2:x}: float[${3:n}]) {\n  return $0\n}",
    "op": "op ${1:name}(x) = $0",
    "let": "let ${1:name} = $0",
    "import": 'import "$0"',
    "layer": "layer ${1:name} = $0",
}
_MODEL = ("input", "target", "output", "loss", "metric", "watch", "param", "state", "update", "layer", "for")
_BLOCK = ("param", "state", "update", "layer", "return", "for")
_SCAN = ("yield",)
_HEADS = {"column": 'column("$0")', "columns": 'columns("$0")', "field": 'field("$0")'}
_VALUES = ("operation", "form", "layer")


class Completion(Struct, frozen=True):
    """Something that can be written: its label, kind and description, and the text that is inserted.

    In `snippet`, `$1` and `$0` are where the cursor goes.
    """

    label: str
    kind: str
    detail: str = ""
    doc: str = ""
    snippet: str | None = None


def completions(text: str, offset: int, analysis: Analysis) -> list[Completion]:
    """The completions at an offset. The names offered are those of `analysis`, which may be of an earlier text."""
    offers: dict[str, Completion] = {}
    for offer in _offered(text, offset, analysis):
        offers.setdefault(offer.label, offer)
    return list(offers.values())


def _offered(text: str, offset: int, analysis: Analysis) -> Iterator[Completion]:
    opened, line = open_brackets(text[:offset]), _line_so_far(text, offset)
    if line is None:
        return  # in a comment or in quotes
    section = next((word for kind, word in opened if kind == "{" and word in (*SECTIONS, "block")), None)
    if section is None:
        if not opened:
            yield from (Completion(word, "keyword", snippet=snippet) for word, snippet in _ITEMS.items())
        return
    if opened[-1][0] == "(" and (called := opened[-1][1]):
        yield from _arguments(called, analysis)
    if section == "data":
        yield from _in_data(line, opened, analysis)
    elif section == "train":
        yield from _in_train(line, opened)
    elif section == "study":
        yield from _in_study(line, opened, analysis)
    else:
        yield from _in_model(line, opened, section, analysis, offset)


def _in_data(line: str, opened: list[tuple[str, str]], analysis: Analysis) -> Iterator[Completion]:
    is_inside = opened[-1][0] != "{"
    if not is_inside and re.fullmatch(r"\s*\w*", line):
        yield from (Completion(word, "keyword", snippet=f"{word} = $0") for word in ("source", "split"))
        for symbol in analysis.names.symbols:
            if symbol.kind in ("input", "target"):
                yield Completion(symbol.name, symbol.kind, snippet=f"{symbol.name} = $0")
    elif re.search(r"->\s*\w*$", line):
        yield from _of_kinds(("data step",))
    elif re.match(r"\s*source\s*=", line):
        yield from _of_kinds(("reader",))
    elif any(word == "train_only" for _, word in opened):
        yield from _of_kinds(("augmentation",))
    else:
        yield from (Completion(word, "keyword", snippet=snippet) for word, snippet in _HEADS.items())


def _in_train(line: str, opened: list[tuple[str, str]]) -> Iterator[Completion]:
    setting = re.match(r"\s*(\w+)\s*=", line)
    if setting is None and opened[-1][0] == "{":
        yield from (Completion(word, "keyword", snippet=f"{word} = $0") for word in (*SETTINGS, *MOVING))
    elif setting is not None and opened[-1][0] == "{":
        kind = {"optimizer": "optimizer", "schedule": "schedule", "loss_scale": "schedule"}.get(setting[1])
        yield from _of_kinds((kind,) if kind else ())


def _in_study(line: str, opened: list[tuple[str, str]], analysis: Analysis) -> Iterator[Completion]:
    setting = re.match(r"\s*(\w+)\s*=", line)
    if opened[-1][0] != "{":
        return
    if setting is None:
        words = {symbol.name: None for symbol in analysis.names.symbols if symbol.kind == "let"}
        yield from (Completion(word, "let", snippet=f"{word} = $0") for word in words)
        yield from (Completion(word, "keyword", snippet=f"{word} = $0") for word in (*STUDY, *SETTINGS, *MOVING))
        return
    methods = {"search": SEARCHES, "prune": PRUNES}.get(setting[1])
    if methods is not None:
        yield from (Completion(name, "method", doc=method.doc) for name, method in methods.items())
    elif setting[1] not in STUDY:
        yield from (Completion(name, "distribution", doc=f"`{example}`") for name, example in EXAMPLES.items())


def _in_model(
    line: str, opened: list[tuple[str, str]], section: str, analysis: Analysis, offset: int
) -> Iterator[Completion]:
    if opened[-1][0] == "{" and re.fullmatch(r"\s*\w*", line):
        inside = [word for kind, word in opened if kind == "{"]
        words = (*_MODEL, *_SCAN) if section == "model" else (*_BLOCK, *_SCAN)
        yield from (Completion(word, "keyword") for word in words if word not in _SCAN or "scan" in inside)
    if re.search(r":\s*\w*$", line) and not re.search(r"[\[(][^\])]*$", line):
        yield from (Completion(word, "keyword") for word in ("float", "class", "bool", "int"))
        return
    if re.match(r"\s*(param|state)\b.*=\s*\w*$", line):
        yield from _of_kinds(("initialiser",))
        return
    statement = re.match(r"\s*(loss|metric)\b", line)
    if statement is not None:
        yield from _of_kinds((statement[1],))
    for symbol in analysis.names.visible_at(offset):
        yield Completion(symbol.name, symbol.kind, symbol.kind)
    yield from _of_kinds(_VALUES)


def _of_kinds(kinds: tuple[str, ...]) -> Iterator[Completion]:
    for entries in reference().values():
        for entry in entries:
            if entry.kind in kinds:
                yield Completion(entry.name, entry.kind, entry.signature, entry_text(entry), _call_of(entry))


def _call_of(entry: Entry) -> str:
    """The name, with brackets if it takes arguments."""
    return f"{entry.name}($0)" if entry.signature.partition(entry.name)[2].startswith("(") else entry.name


def _arguments(name: str, analysis: Analysis) -> Iterator[Completion]:
    """The named arguments of the block or operation `name`."""
    for symbol in analysis.names.symbols:
        if symbol.name == name and isinstance(symbol.node, syntax.Block):
            for parameter in symbol.node.parameters:
                yield Completion(parameter.name.text, "argument", name, snippet=f"{parameter.name.text} = $0")
    for entry in reference().get(name, ()):
        if entry.name in OPERATIONS and entry.kind == "operation":
            names = [key for key, kind in OPERATIONS[entry.name].arguments.items() if not kind.startswith("value")]
        else:
            inside = entry.signature.partition("(")[2].rpartition(")")[0]
            names = re.findall(r"(?:^|, )(\w+)(?=[:,)\s]|$)", inside)
        for key in names:
            if key.isidentifier():
                yield Completion(key, "argument", entry.signature, snippet=f"{key} = $0")


# ------------------------------------------------------------------ the text so far


def _line_so_far(text: str, offset: int) -> str | None:
    """The line up to an offset, with the lines before it that it continues by `->`. None in a comment or in quotes."""
    lines = text[:offset].split("\n")
    if not is_code_at_end(lines[-1]):
        return None
    line = lines.pop()
    while lines and line.lstrip().startswith("->"):
        line = f"{lines.pop()} {line.lstrip()}"
    return line


def open_brackets(text: str) -> list[tuple[str, str]]:
    """The brackets that are open at the end of a text, outermost first, each with the word before it."""
    plain = blanked(text)
    opened: list[tuple[str, str]] = []
    for bracket in re.finditer(r"[\[({})\]]", plain):
        if bracket[0] in "[({":
            opened.append((bracket[0], _word_before(plain, bracket.start(), bracket[0])))
        elif opened:
            opened.pop()
    return opened


def _word_before(text: str, at: int, bracket: str) -> str:
    """The name before a `(`; for a `{` the word that its line begins with, or `scan`."""
    line = text[:at].rpartition("\n")[2]
    if bracket == "{":
        if re.search(r"\bscan\b", line):
            return "scan"
        match = re.match(r"\s*(\w+)", line)
        return match[1] if match else ""
    match = re.search(r"(\w+)\s*$", line)
    return match[1] if match else ""

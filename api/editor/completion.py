"""What may be written at a place of a text, which need not be right anywhere: by the brackets that are open there, and the line so far."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from netc.compiler.elaborate.settings import MOVING, SETTINGS
from netc.compiler.ir.value import OPERATIONS
from netc.dsl import syntax
from netc.editor.analysis import Analysis, reference, told
from netc.reference import Entry

_SECTIONS = ("data", "model", "train")
_ITEMS = {
    "model": "model {\n  $0\n}",
    "data": 'data {\n  source = csv("$1")\n  $0\n}',
    "train": "train {\n  $0\n}",
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


@dataclass(frozen=True, slots=True)
class Completion:
    """Something that may be written: what is shown, what it is, what it is like, and what is put in (with `$1`, `$0` where the cursor goes)."""

    label: str
    kind: str
    detail: str = ""
    doc: str = ""
    snippet: str | None = None


def completions(text: str, offset: int, known: Analysis) -> list[Completion]:
    """What may stand at an offset. `known` may be of an earlier text: its names are offered."""
    found: dict[str, Completion] = {}
    for one in _offered(text, offset, known):
        found.setdefault(one.label, one)
    return list(found.values())


def _offered(text: str, offset: int, known: Analysis) -> Iterator[Completion]:
    opened, line = _open_brackets(text[:offset]), _line_so_far(text, offset)
    if line is None:
        return  # in a comment or a text
    section = next((word for kind, word in opened if kind == "{" and word in (*_SECTIONS, "block")), None)
    if section is None:
        if not opened:
            yield from (Completion(word, "keyword", snippet=snippet) for word, snippet in _ITEMS.items())
        return
    if opened[-1][0] == "(" and (called := opened[-1][1]):
        yield from _arguments(called, known)
    if section == "data":
        yield from _in_data(line, opened, known)
    elif section == "train":
        yield from _in_train(line, opened)
    else:
        yield from _in_model(line, opened, section, known, offset)


def _in_data(line: str, opened: list[tuple[str, str]], known: Analysis) -> Iterator[Completion]:
    is_inside = opened[-1][0] != "{"
    if not is_inside and re.fullmatch(r"\s*\w*", line):
        yield from (Completion(word, "keyword", snippet=f"{word} = $0") for word in ("source", "split"))
        for symbol in known.names.symbols:
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


def _in_model(
    line: str, opened: list[tuple[str, str]], section: str, known: Analysis, offset: int
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
    for symbol in known.names.visible_at(offset):
        yield Completion(symbol.name, symbol.kind, symbol.kind)
    yield from _of_kinds(_VALUES)


def _of_kinds(kinds: tuple[str, ...]) -> Iterator[Completion]:
    for some in reference().values():
        for one in some:
            if one.kind in kinds:
                yield Completion(one.name, one.kind, one.signature, told(one), _call_of(one))


def _call_of(one: Entry) -> str:
    """The name, and brackets if it takes something."""
    return f"{one.name}($0)" if one.signature.partition(one.name)[2].startswith("(") else one.name


def _arguments(name: str, known: Analysis) -> Iterator[Completion]:
    """The arguments of what is called, by their names."""
    for symbol in known.names.symbols:
        if symbol.name == name and isinstance(symbol.node, syntax.Block):
            for parameter in symbol.node.parameters:
                yield Completion(parameter.name.text, "argument", name, snippet=f"{parameter.name.text} = $0")
    for one in reference().get(name, ()):
        if one.name in OPERATIONS and one.kind == "operation":
            names = [key for key, kind in OPERATIONS[one.name].arguments.items() if not kind.startswith("value")]
        else:
            inside = one.signature.partition("(")[2].rpartition(")")[0]
            names = re.findall(r"(?:^|, )(\w+)(?=[:,)\s]|$)", inside)
        for key in names:
            if key.isidentifier():
                yield Completion(key, "argument", one.signature, snippet=f"{key} = $0")


# ------------------------------------------------------------------ the text so far


def _line_so_far(text: str, offset: int) -> str | None:
    """The line up to an offset; of one that goes on by `->`, all of it. None in a comment or a text."""
    lines = text[:offset].split("\n")
    if lines[-1].count('"') % 2 or "#" in re.sub(r'"[^"]*"', "", lines[-1]):
        return None
    whole = lines.pop()
    while lines and whole.lstrip().startswith("->"):
        whole = f"{lines.pop()} {whole.lstrip()}"
    return whole


def _open_brackets(text: str) -> list[tuple[str, str]]:
    """The brackets that are open at the end of a text, outermost first, each with the word that it belongs to."""
    plain = re.sub(r'"[^"\n]*"?|#[^\n]*', lambda found: " " * len(found[0]), text)
    opened: list[tuple[str, str]] = []
    for found in re.finditer(r"[\[({})\]]", plain):
        if found[0] in "[({":
            opened.append((found[0], _word_before(plain, found.start(), found[0])))
        elif opened:
            opened.pop()
    return opened


def _word_before(text: str, at: int, bracket: str) -> str:
    """Of `(` the name before it; of `{` the word that its line begins with, or `scan`."""
    line = text[:at].rpartition("\n")[2]
    if bracket == "{":
        if re.search(r"\bscan\b", line):
            return "scan"
        found = re.match(r"\s*(\w+)", line)
        return found[1] if found else ""
    found = re.search(r"(\w+)\s*$", line)
    return found[1] if found else ""

"""The one voice in which netc speaks of faults: a code, the fact, the place with a caret, and a hint that could be pasted.

A `Diagnostic` is one message; a `Fault` is the exception that carries all messages of one go; `Diagnostics` collects them, so
that independent faults are told together. Nothing here knows what the messages are about.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NoReturn

from netc.dsl.quoting import bounded, escaped
from netc.dsl.source import Span

CODES = {
    "E0101": "the text does not follow the grammar",
    "E0102": "a bracket is never closed, or closes what was not opened",
    "E0103": "a statement stands where it may not",
    "E0104": "the file cannot be read",
    "E0105": "a character that no text may hold",
    "E0106": "an expression or a block that is nested too deeply",
    "E0107": "a number that 64 bits do not hold",
    "E0201": "an unknown name",
    "E0202": "a name is defined twice",
    "E0203": "an import that cannot be followed",
    "E0204": "a block that applies itself",
    "E0205": "a name used as what it is not",
    "E0206": "a model that is too large to be compiled",
    "E0301": "a call with arguments missing or too many",
    "E0302": "an unknown or repeated argument",
    "E0303": "an argument of the wrong kind",
    "E0304": "a constant that cannot be computed or is out of range",
    "E0401": "shapes that do not fit",
    "E0402": "types that do not fit",
    "E0403": "an axis that is not there",
    "E0404": "an index out of range, or an empty slice",
    "E0406": "two lengths meet",
    "E0501": "a file without what the command needs",
    "E0502": "a loss that nothing can learn from",
    "E0503": "a parameter where none may be",
    "E0504": "an unknown initialiser",
    "E0505": "a target that a prediction would need",
    "E0506": "a model that cannot generate",
    "E0507": "an output that a beam search cannot make",
    "E0508": "a derivative that there is not",
    "E0601": "an unknown or repeated setting",
    "E0602": "a setting whose value is wrong",
    "E0701": "an unknown reader or step, or one used wrongly",
    "E0702": "a model's input or target that the data does not give",
    "E0801": "a data file that is not there or cannot be read",
    "E0802": "a column that the data does not have",
    "E0803": "a value that is missing or of the wrong type",
    "E0804": "data whose shape is not what the model says",
    "E0805": "a class that was not seen in training, or too many of them",
    "E0806": "a split without rows",
    "E0807": "data that an editor does not open",
    "E0901": "a part of the language that this version does not run yet",
    "E1001": "a run's folder that cannot be used",
    "E1002": "a loss that is no longer a number",
    "E1003": "a run to start from whose parameters do not fit",
    "E1004": "a run that cannot go on with what was changed",
    "E1005": "a model, a batch or data that this machine's memory does not hold",
    "E1006": "a target description that is wrong, or that this machine cannot run",
    "E1007": "a file, a folder or an output that the system refuses",
    "E1008": "something that is nested too deeply",
    "E1101": "a plug-in that cannot be loaded",
    "E1102": "a plug-in whose name for something is taken",
    "E1103": "a plug-in's pass that spoils the graph",
    "E1201": "a model that the file to be exported has no words for",
    "E1202": "a package that an export needs and that is not installed",
    "E1203": "an exported file that does not say what the run says",
    "E1301": "two ways to compute a program disagree: a fault of netc",
    "E1302": "a command that ended by a fault of netc",
    "W0501": "an input, target or parameter that nobody reads",
    "W0502": "a softmax or a logarithm before `cross_entropy`, which takes logits",
    "W0503": "a sigmoid before `binary_cross_entropy`, which takes a logit",
    "W0504": "a sum without brackets before `->`",
    "W0505": "a ReLU at the output of a regression",
    "W0506": "dropout after the last layer",
    "W0507": "a bias whose effect a normalisation takes away",
    "W0602": "a `freeze` that leaves nothing to train",
    "W0801": "columns of very different scale that nobody standardises",
    "W1001": "a gradient that vanishes on its way back in time",
    "W1002": "a gradient that explodes on its way back in time",
    "W1003": "a gradient that vanishes or explodes on its way through the layers",
    "W1004": "a layer many of whose units are dead",
    "W1005": "a layer many of whose units are saturated",
}

MOST_ERRORS = 100  # after which a file is not looked at any further
_MOST_NAMES = 1_000  # that an unknown name is compared with
_LONGEST = 1000  # characters of a title, of what is said of a place, of a hint
_WIDEST = 240  # characters of a source line that are shown


@dataclass(frozen=True, slots=True)
class Label:
    """A place and what is to be said of it."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message about the user's file or data. A code that starts with W is a warning; any other is an error."""

    code: str
    title: str
    primary: Label
    others: tuple[Label, ...] = ()
    hint: str | None = None

    def __post_init__(self) -> None:
        assert self.code in CODES, self.code

    @property
    def is_error(self) -> bool:
        return self.code.startswith("E")

    @property
    def is_silenced(self) -> bool:
        """Whether a comment on its line allows it: `# allow: W0502`."""
        if self.is_error or not self.primary.span.source.text:
            return False
        line = self.primary.span.source.line(self.primary.span.line)
        found = re.search(r"#\s*allow:([\sA-Z0-9,]*)", line)
        return found is not None and self.code in re.split(r"[\s,]+", found[1])

    def summary(self) -> str:
        """The message without its place, as editors show it beside the place."""
        label = f": {_said(self.primary.text)}" if self.primary.text else ""
        hint = f"\nhint: {_said(self.hint)}" if self.hint else ""
        return f"{_said(self.title)}{label}{hint}"

    def render(self) -> str:
        """The message as the terminal shows it: title, place, source lines with carets, further places, hint. Control characters are escaped, and nothing is
        longer than a reader would read."""
        kind = "error" if self.is_error else "warning"
        lines = [f"{kind}[{self.code}]: {_said(self.title)}"]
        width = max(len(str(label.span.line)) for label in (self.primary, *self.others))
        before: Label | None = None
        for label in (self.primary, *self.others):
            told = before is not None and _line_of(before) == _line_of(label)
            lines += _excerpt(label, width, "^" if label is self.primary else "-", told)
            before = label
        if self.hint:
            lines += [f"{' ' * width} = hint: {_said(self.hint)}"]
        if not self.is_error:
            lines += [f"{' ' * width} = note: `# allow: {self.code}` at the end of the line silences this"]
        return "\n".join(lines)


def _line_of(label: Label) -> tuple[str, int]:
    return label.span.source.name, label.span.line


def _excerpt(label: Label, width: int, mark: str, told: bool) -> list[str]:
    """The place, its line, and the mark under it; a line that was just `told` is not told again."""
    span, margin, said = label.span, " " * width, _said(label.text)
    arrow = "-->" if mark == "^" else ":::"
    if not span.source.text:  # the file is no text, or not read
        lines = [f"{margin}{arrow} {escaped(span.source.name)}"]
        return [*lines, f"{margin} | {said}"] if said else lines
    lines = [f"{margin}{arrow} {escaped(str(span))}"]
    text, at = _window(span.source.line(span.line), span.column - 1)
    before = "".join("\t" if character == "\t" else " " for character in _shown(text[:at]))
    carets = mark * max(len(_shown(text[at : at + span.end - span.start])), 1)
    marked = f"{margin} | {before}{carets} {said}".rstrip()
    if told:
        return [marked]
    return [
        *lines,
        f"{margin} |",
        f"{span.line:>{width}} | {_shown(text)}",
        marked,
    ]


def _said(text: str) -> str:
    return bounded(escaped(text[: _LONGEST + 1]), _LONGEST)


def _window(line: str, at: int) -> tuple[str, int]:
    """As much of a long line as is shown, around column `at`, and where that column is in it."""
    if len(line) <= _WIDEST:
        return line, at
    start = min(max(at - _WIDEST // 3, 0), len(line) - _WIDEST)
    head, tail = "... " * (start > 0), " ..." * (start + _WIDEST < len(line))
    return f"{head}{line[start : start + _WIDEST]}{tail}", at - start + len(head)


def _shown(line: str) -> str:
    """A line of a source as the terminal may have it: tabs stay, so that the caret is below its place."""
    return "\t".join(map(escaped, line.split("\t")))


class Fault(Exception):
    """The user's file or data is at fault; `diagnostics` says where and why, one message a fault."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n\n".join(diagnostic.render() for diagnostic in self.diagnostics))

    def __reduce__(self) -> tuple[type["Fault"], tuple[tuple[Diagnostic, ...]]]:
        """Pickle by the diagnostics: an exception's default is its message, and a pool of processes dies of what it cannot unpickle."""
        return type(self), (self.diagnostics,)


@dataclass(slots=True)
class Diagnostics:
    """Collects messages, so that all independent faults are told in one go."""

    found: list[Diagnostic] = field(default_factory=list)
    _seen: set[Diagnostic] = field(default_factory=set)

    def add(
        self,
        code: str,
        title: str,
        span: Span,
        label: str = "",
        *,
        others: Iterable[Label] = (),
        hint: str | None = None,
    ) -> None:
        self._take([Diagnostic(code, title, Label(span, label), tuple(others), hint)])

    def note(self, fault: Fault) -> None:
        """Take over what a Fault carries."""
        self._take(fault.diagnostics)

    def _take(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Add what is new: a loop meets the same fault once a turn. Raises a Fault with all errors where there are too many to go on."""
        for one in diagnostics:
            if one not in self._seen:
                self._seen.add(one)
                self.found.append(one)
        if len(self.found) >= MOST_ERRORS and len(self.errors) >= MOST_ERRORS:
            self.raise_errors()

    @property
    def errors(self) -> list[Diagnostic]:
        return [diagnostic for diagnostic in self.found if diagnostic.is_error]

    @property
    def warnings(self) -> list[Diagnostic]:
        return [diagnostic for diagnostic in self.found if not (diagnostic.is_error or diagnostic.is_silenced)]

    def raise_errors(self) -> None:
        """Raise one Fault with every error found so far, in the order of the text; do nothing if there is none."""
        if self.errors:
            raise Fault(sorted(self.errors, key=lambda one: (one.primary.span.source.name, one.primary.span.start)))


def fault(
    code: str, title: str, span: Span, label: str = "", *, others: Iterable[Label] = (), hint: str | None = None
) -> NoReturn:
    """Raise a Fault of a single message."""
    raise Fault([Diagnostic(code, title, Label(span, label), tuple(others), hint)])


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The hint "did you mean ...?" with the known name most like `name`, or None if none is."""
    names = sorted(set(known))
    if len(names) > _MOST_NAMES:  # to compare takes its time
        names = [one for one in names if one[:1] == name[:1]][:_MOST_NAMES]
    matches = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean `{matches[0]}`?" if matches else None


def nearest_or_all(name: str, known: Iterable[str]) -> str:
    """The hint of `nearest`, or all the names where none is like `name`: for sets short enough to print."""
    names = list(known)
    return nearest(name, names) or f"one of {', '.join(names)}"

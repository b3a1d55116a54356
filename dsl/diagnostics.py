"""The form of netc's messages: a code, the fact, the location with a caret, and a hint that can be pasted.

A `Diagnostic` is one message. A `Fault` is the exception that carries one or more of them. `Diagnostics` collects
messages so that independent faults are reported together. This file does not know what the messages are about.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import NoReturn
from unicodedata import combining, east_asian_width

from msgspec import Struct, field

from netc.dsl.codes import CODES
from netc.dsl.hints import Change, Edit, Hint
from netc.dsl.mistakes.synonyms import Kind, synonym
from netc.dsl.quoting import bounded, escaped
from netc.dsl.source import Span

MOST_ERRORS = 100  # after this many errors the compiler gives up on a file
_MOST_NAMES = 1_000  # an unknown name is compared with at most this many others
_MOST_OFFERED = 8  # the most changes that a hint offers
_LONGEST = 1000  # the most characters of a title, a label or a hint
_WIDEST = 240  # the most characters of a source line that are shown


class Label(Struct, frozen=True):
    """A location, and what the message says about it."""

    span: Span
    text: str = ""


class Diagnostic(Struct, frozen=True):
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
        """Whether a comment on the same line silences this warning: `# allow: W0502`."""
        if self.is_error or not self.primary.span.source.text:
            return False
        line = self.primary.span.source.line(self.primary.span.line)
        match = re.search(r"#\s*allow:([\sA-Z0-9,]*)", line)
        return match is not None and self.code in re.split(r"[\s,]+", match[1])

    @property
    def edits(self) -> list[Edit]:
        """The changes of the file that the hint proposes: each of them alone follows it."""
        return [edit for _, edit in self.proposals()]

    def proposals(self) -> Iterator[tuple[str, Edit]]:
        """The changes that the hint proposes, each with a title."""
        if isinstance(self.hint, Hint):
            yield from self.hint.proposals(self.primary.span)

    def summary(self) -> str:
        """The message without its location. Editors show it next to the location."""
        label = f": {_printable(self.primary.text)}" if self.primary.text else ""
        hint = f"\nhint: {_printable(self.hint)}" if self.hint else ""
        return f"{_printable(self.title)}{label}{hint}"

    def render(self) -> str:
        """The message as the terminal shows it: title, location, source lines with carets, further locations, hint.

        Control characters are escaped, and long lines are cut.
        """
        kind = "error" if self.is_error else "warning"
        lines = [f"{kind}[{self.code}]: {_printable(self.title)}"]
        width = max(len(str(label.span.line)) for label in (self.primary, *self.others))
        before: Label | None = None
        for label in (self.primary, *self.others):
            is_same_line = before is not None and _line_of(before) == _line_of(label)
            lines += _excerpt(label, width, "^" if label is self.primary else "-", is_same_line)
            before = label
        if self.hint:
            lines += [f"{' ' * width} = hint: {_printable(self.hint)}"]
        if not self.is_error:
            lines += [f"{' ' * width} = note: `# allow: {self.code}` at the end of the line silences this"]
        return "\n".join(lines)


def _line_of(label: Label) -> tuple[str, int]:
    return label.span.source.name, label.span.line


def _excerpt(label: Label, width: int, mark: str, is_same_line: bool) -> list[str]:
    """The location, its line, and the mark under it. With `is_same_line` the line was just shown and is left out."""
    span, margin, comment = label.span, " " * width, _printable(label.text)
    arrow = "-->" if mark == "^" else ":::"
    if not span.source.text:  # the file is not a text, or was not read
        lines = [f"{margin}{arrow} {escaped(span.source.name)}"]
        return [*lines, f"{margin} | {comment}"] if comment else lines
    lines = [f"{margin}{arrow} {escaped(str(span))}"]
    text, at = _window(span.source.line(span.line), span.column - 1)
    before = " " * _columns(_shown(text[:at]))
    carets = mark * max(_columns(_shown(text[at : at + span.end - span.start])), 1)
    marked = f"{margin} | {before}{carets} {comment}".rstrip()
    if is_same_line:
        return [marked]
    return [
        *lines,
        f"{margin} |",
        f"{span.line:>{width}} | {_shown(text)}",
        marked,
    ]


def _printable(text: str) -> str:
    return bounded(escaped(text[: _LONGEST + 1]), _LONGEST)


def _window(line: str, at: int) -> tuple[str, int]:
    """Returns the part of a long line around column `at` that is shown, and the index of that column in it."""
    if len(line) <= _WIDEST:
        return line, at
    start = min(max(at - _WIDEST // 3, 0), len(line) - _WIDEST)
    head, tail = "... " * (start > 0), " ..." * (start + _WIDEST < len(line))
    return f"{head}{line[start : start + _WIDEST]}{tail}", at - start + len(head)


def _shown(line: str) -> str:
    """A source line for the terminal. A tab becomes four blanks, so that every terminal aligns the caret alike."""
    return escaped(line.replace("\t", "    "))


def _columns(text: str) -> int:
    """The columns that a text takes in a terminal: East Asian wide characters take two, combining characters none."""
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


class Fault(Exception):
    """An error in the user's file or data. `diagnostics` holds one message for each fault."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n\n".join(diagnostic.render() for diagnostic in self.diagnostics))

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows: the message. A traceback would tell where netc found a mistake of the file."""
        return str(self).split("\n")

    def __reduce__(self) -> tuple[type["Fault"], tuple[tuple[Diagnostic, ...]]]:
        """Pickles the diagnostics.

        By default an exception is pickled with its message, from which a Fault cannot be made again; this would break
        a pool of processes.
        """
        return type(self), (self.diagnostics,)


class Diagnostics(Struct):
    """Collects messages, so that all independent faults are reported together."""

    messages: list[Diagnostic] = field(default_factory=list)
    _seen: set[tuple[object, ...]] = field(default_factory=set)
    _error_count: int = 0

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
        """Adds the messages of a Fault."""
        self._take(fault.diagnostics)

    def _take(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Adds the messages that are new: a loop may report the same fault in every iteration, a block in every
        application, and a loss and a metric the same shapes.

        Raises a Fault with all errors once there are MOST_ERRORS of them.
        """
        for diagnostic in diagnostics:
            keys = _causes(diagnostic)
            if not any(key in self._seen for key in keys):
                self._seen.update(keys)
                self.messages.append(diagnostic)
                self._error_count += diagnostic.is_error
        if self._error_count >= MOST_ERRORS:
            self.raise_errors()

    @property
    def errors(self) -> list[Diagnostic]:
        return [diagnostic for diagnostic in self.messages if diagnostic.is_error]

    @property
    def warnings(self) -> list[Diagnostic]:
        return [diagnostic for diagnostic in self.messages if not (diagnostic.is_error or diagnostic.is_silenced)]

    def raise_errors(self) -> None:
        """Raises one Fault with all errors so far, in the order of the text, if there are any."""
        if self.errors:
            raise Fault(
                sorted(self.errors, key=lambda error: (error.primary.span.source.name, error.primary.span.start))
            )


_OF_OPERANDS = ("E0401", "E0402")


def _causes(diagnostic: Diagnostic) -> list[tuple[object, ...]]:
    """The keys by which messages with the same cause are recognised: they share at least one.

    A key is the fact and its span; for types that do not fit, also the fact without the name of the function that
    states it, with the texts of the operands.
    """
    primary = diagnostic.primary
    causes: list[tuple[object, ...]] = [(diagnostic.code, diagnostic.title, primary.span)]
    if diagnostic.code in _OF_OPERANDS and diagnostic.others:
        fact = re.sub(r"^`\w+` ", "", diagnostic.title)
        others = tuple(sorted((label.span.text, label.text) for label in diagnostic.others))
        causes.append((diagnostic.code, fact, primary.span.text, primary.text, others))
    return causes


def fault(
    code: str, title: str, span: Span, label: str = "", *, others: Iterable[Label] = (), hint: str | None = None
) -> NoReturn:
    """Raises a Fault with a single message."""
    raise Fault([Diagnostic(code, title, Label(span, label), tuple(others), hint)])


def nearest(name: str, candidates: Iterable[str], kind: Kind | None = None) -> Hint | None:
    """The hint "did you mean ...?" with the candidate most similar to `name`, or None if none is similar.

    With `kind`, the name that another library has for such a thing comes first.
    """
    names = sorted(set(candidates))
    if kind is not None and (hint := synonym(name, kind, names)):
        return hint
    match = nearest_name(name, names)
    return Hint(f"did you mean `{match}`?", Change(match, name)) if match is not None else None


def nearest_name(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most similar to `name`, or None if none is similar."""
    names = sorted(set(candidates))
    if len(names) > _MOST_NAMES:  # comparing takes long
        names = [candidate for candidate in names if candidate[:1] == name[:1]][:_MOST_NAMES]
    matches = [candidate for candidate in names if candidate.lower() == name.lower()]
    return next(iter(matches or get_close_matches(name, names, n=1, cutoff=0.6)), None)


def nearest_or_all(name: str, candidates: Iterable[str], kind: Kind | None = None) -> Hint:
    """The hint of `nearest`, or all candidates if none is similar. For sets that are short enough to print."""
    names = list(candidates)
    return nearest(name, names, kind) or one_of(name, names)


def one_of(name: str, candidates: Sequence[str]) -> Hint:
    """The hint with all candidates, any of which may stand in place of `name`."""
    return Hint(f"one of {', '.join(candidates)}", *(Change(other, name) for other in candidates[:_MOST_OFFERED]))

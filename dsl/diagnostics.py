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

from netc.dsl.hints import Change, Edit, Hint
from netc.dsl.quoting import bounded, escaped
from netc.dsl.source import Span
from netc.dsl.synonyms import Kind, synonym

CODES = {
    "E0101": "the text does not follow the grammar",
    "E0102": "a bracket is never closed, or closes what was not opened",
    "E0103": "a statement stands where it may not",
    "E0104": "the file cannot be read",
    "E0105": "a character that a text must not contain",
    "E0106": "an expression or a block that is nested too deeply",
    "E0107": "a number that does not fit into 64 bits",
    "E0111": "an escape in a text that stands for no character",
    "E0201": "an unknown name",
    "E0202": "a name is defined twice",
    "E0203": "an import that cannot be followed",
    "E0204": "a block that applies itself",
    "E0205": "a name of one kind used as another",
    "E0206": "a model that is too large to be compiled",
    "E0301": "a call with arguments missing or too many",
    "E0302": "an unknown or repeated argument",
    "E0303": "an argument of the wrong kind",
    "E0304": "a constant that cannot be computed or is out of range",
    "E0401": "shapes that do not fit",
    "E0402": "types that do not fit",
    "E0403": "an axis that does not exist",
    "E0404": "an index out of range, or an empty slice",
    "E0406": "varying lengths that do not fit, or that need a bound",
    "E0501": "a file that lacks what the command needs",
    "E0502": "a loss that nothing can learn from",
    "E0503": "a parameter, or a metric of a whole split, where none is allowed",
    "E0504": "an unknown initialiser",
    "E0505": "a target that a prediction would need",
    "E0506": "a model that cannot generate",
    "E0507": "an output that beam search cannot produce",
    "E0508": "a derivative that does not exist",
    "E0509": "a calibration that compares with no target",
    "E0510": "a value that only has the name of a statement",
    "E0601": "an unknown or repeated setting",
    "E0602": "a setting whose value is wrong",
    "E0611": "a schedule whose factor is negative or not a finite number",
    "E0701": "an unknown reader or step, or one used wrongly",
    "E0702": "an input or target of the model that the data does not provide",
    "E0801": "a data file that is missing or cannot be read",
    "E0802": "a column that the data does not have",
    "E0803": "a value that is missing or of the wrong type",
    "E0804": "data whose shape differs from the model's",
    "E0805": "a class that was not seen in training, or too many of them",
    "E0806": "a split without rows",
    "E0807": "data that an editor does not open",
    "E0821": "a reader that needs a package which is not installed",
    "E0822": "a query that a database refuses",
    "E0841": "rows of a series whose order is not clear",
    "E0842": "a run whose data was divided by other rules",
    "E0843": "a run that cannot be resumed with changed data",
    "E0901": "a part of the language that this version does not run yet",
    "E1001": "a run's folder that cannot be used",
    "E1002": "a loss that is no longer a number",
    "E1003": "a run to start from whose parameters do not fit the model",
    "E1004": "a run that cannot be resumed with these changes",
    "E1005": "a model, a batch or data too large for this machine's memory",
    "E1006": "a target description that is wrong, or that this machine cannot run",
    "E1007": "a file, a folder or an output that the system refuses",
    "E1008": "something that is nested too deeply",
    "E1009": "runs that make no ensemble",
    "E1011": "a study that needs a package which is not installed",
    "E1012": "a package that `--log` needs and that is not installed",
    "E1013": "ranks of MPI that cannot train together",
    "E1101": "a plug-in that cannot be loaded",
    "E1102": "a plug-in that defines a name that is already taken",
    "E1103": "a plug-in's pass that breaks the graph",
    "E1201": "a model that the export format cannot express",
    "E1202": "a package that an export needs and that is not installed",
    "E1203": "an exported file whose predictions differ from the run's",
    "E1301": "two ways to compute a program disagree: a fault of netc",
    "E1302": "a command that failed because of a fault of netc",
    "W0501": "an input, target or parameter that is never used",
    "W0502": "a softmax or a logarithm before what takes logits, such as `cross_entropy`",
    "W0503": "a sigmoid before what takes a logit, such as `binary_cross_entropy`",
    "W0504": "a sum without brackets before `->`",
    "W0505": "a ReLU at the output of a regression",
    "W0506": "dropout after the last layer",
    "W0507": "a bias that the normalisation after it cancels",
    "W0508": "a loss that reads what is fitted on another part than `train`",
    "W0509": "a value that has the name of a statement or a setting, and that nothing reads",
    "W0510": "a loss that reads no target, or compares a value with itself",
    "W0511": "a model that can copy what its loss asks for",
    "W0512": "a loss that compares with an input where it should with a target",
    "W0513": "a picture that a convolution takes for a sequence",
    "W0514": "a model of the next token that cannot generate",
    "W0515": "a ReLU before what takes logits",
    "W0602": "a `freeze` that leaves nothing to train",
    "W0611": "class weights that have little or no effect",
    "W0612": "a learning rate that rises until training ends",
    "W0613": "a learning rate that is most likely another number",
    "W0801": "inputs that are not scaled: columns of very different scale, or pixels up to 255",
    "W0803": "rows without a label",
    "W0821": "a table whose header looks like data",
    "W0831": "labels that differ in blanks, case or Unicode form only",
    "W0832": "whole numbers that f32 cannot tell apart",
    "W0833": "a column that is different in every row, used as a category",
    "W0834": "a column that is the same in every training row",
    "W0835": "an input with more places than its categories need",
    "W0836": "a target whose column is an input too",
    "W0837": "a target beyond the numbers that an output can give",
    "W0841": "data that has changed since the run was trained",
    "W1001": "a gradient that vanishes on its way back in time",
    "W1002": "a gradient that explodes on its way back in time",
    "W1003": "a gradient that vanishes or explodes on its way through the layers",
    "W1004": "a layer many of whose units are dead",
    "W1005": "a layer many of whose units are saturated",
}

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

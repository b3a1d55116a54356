"""Remarks of steps about cells that they use all the same: categories and tokens that training did not have, and
numbers far outside of its own."""

from collections.abc import Sequence

from msgspec import Struct, field

from netc.dsl.diagnostics import nearest
from netc.dsl.plural import counted
from netc.dsl.quoting import cell as shown_cell
from netc.dsl.source import Span

EXAMPLES = 3
_WIDEST = 60  # characters of an example


class Lack(Struct, frozen=True):
    """The words for cells that lack something: "2 cells with a category that training did not have".

    For numbers, `training` says what training had.
    """

    noun: str
    clause: str
    training: str = ""


NEW_CATEGORY = Lack("cell", "with a category that training did not have")


class Unseen(Struct):
    """The categories or numbers of a column that training did not see: how many cells, the first few of them, and the
    hints "did you mean ...?" for them.

    Several fields may read a column; each has a count of its own in `counts`, by the place of its step.
    """

    counts: dict[Span, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    hints: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of cells. Fields that read the same cells do not count them twice."""
        return max(self.counts.values(), default=0)

    def note(self, column: str, lack: Lack) -> str:
        """The sentence for a user."""
        shown = []
        for example in self.examples:
            text = example if len(example) <= _WIDEST else f"{example[:_WIDEST]}..."
            hint = f" ({self.hints[example]})" if example in self.hints else ""
            shown.append(text if lack.training else f'"{shown_cell(text)}"{hint}')
        training = f"; {lack.training}" if lack.training else ""
        noun = counted(self.count, lack.noun)
        return f"column `{shown_cell(column)}`: {noun} {lack.clause}: {', '.join(shown)}{training}"


class Remarks(Struct):
    """Remarks of steps about cells that they can use all the same. A reader says them once, after all rows are read.

    `unseen` is by column and by what its cells lack.
    """

    unseen: dict[tuple[str, Lack], Unseen] = field(default_factory=dict)

    def add_unseen(self, step: Span, column: str, categories: Sequence[str], lack: Lack, labels: Sequence[str]) -> None:
        """Notes cells of a column with categories that training did not see: an entry of `categories` for each cell.

        `step` is the place of the step that has read them; `labels` are those of training.
        """
        if not categories:
            return
        entry = self.unseen.setdefault((column, lack), Unseen())
        entry.counts[step] = entry.counts.get(step, 0) + len(categories)
        for category in dict.fromkeys(categories):
            if len(entry.examples) < EXAMPLES and category not in entry.examples:
                entry.examples.append(category)
                if (hint := similar(category, labels)) is not None:
                    entry.hints[category] = hint

    def add(self, other: "Remarks") -> None:
        """Adds the remarks of another reader of the same table."""
        for key, noticed in other.unseen.items():
            entry = self.unseen.setdefault(key, Unseen())
            for step, count in noticed.counts.items():
                entry.counts[step] = entry.counts.get(step, 0) + count
            entry.examples = list(dict.fromkeys([*entry.examples, *noticed.examples]))[:EXAMPLES]
            entry.hints |= noticed.hints

    def notes(self) -> tuple[str, ...]:
        """A sentence for each column about which there is something to say, and for each lack."""
        return tuple(unseen.note(column, lack) for (column, lack), unseen in self.unseen.items())


def similar(label: str, labels: Sequence[str]) -> str | None:
    """The hint "did you mean ...?" with a label that differs in blanks or case only, or else with the nearest one."""
    plain = label.strip().casefold()
    alike = next((other for other in labels if other.strip().casefold() == plain), None)
    return f"did you mean `{shown_cell(alike)}`?" if alike is not None else nearest(label, labels)

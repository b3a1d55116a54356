"""Remarks of steps about cells that they use all the same: categories and tokens that training did not have."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from netc.dsl.diagnostics import nearest
from netc.dsl.quoting import cell as shown_cell

_EXAMPLES = 3
_WIDEST = 60  # characters of an example


@dataclass(frozen=True, slots=True)
class Lack:
    """The words for cells that lack something: "2 cells with a category that training did not have"."""

    noun: str
    clause: str


NEW_CATEGORY = Lack("cell", "with a category that training did not have")


@dataclass(slots=True)
class Unseen:
    """The categories of a column that training did not see: the number of cells, the first few categories, and the
    hints "did you mean ...?" for them.
    """

    count: int = 0
    examples: list[str] = field(default_factory=list)
    hints: dict[str, str] = field(default_factory=dict)
    lack: Lack = NEW_CATEGORY

    def note(self, column: str) -> str:
        """The sentence for a user."""
        shown = []
        for example in self.examples:
            text = example if len(example) <= _WIDEST else f"{example[:_WIDEST]}..."
            hint = f" ({self.hints[example]})" if example in self.hints else ""
            shown.append(f'"{shown_cell(text)}"{hint}')
        noun = f"{self.count:,} {self.lack.noun}{'s' * (self.count > 1)}"
        return f"column `{shown_cell(column)}`: {noun} {self.lack.clause}: {', '.join(shown)}"


@dataclass(slots=True)
class Remarks:
    """Remarks of steps about cells that they can use all the same. A reader says them once, after all rows are read."""

    unseen: dict[str, Unseen] = field(default_factory=dict)

    def add_unseen(self, column: str, categories: Sequence[str], lack: Lack, labels: Sequence[str]) -> None:
        """Notes cells of a column with categories that training did not see: an entry of `categories` for each cell.
        `labels` are those of training.
        """
        if not categories:
            return
        entry = self.unseen.setdefault(column, Unseen(lack=lack))
        entry.count += len(categories)
        for category in dict.fromkeys(categories):
            if len(entry.examples) < _EXAMPLES and category not in entry.examples:
                entry.examples.append(category)
                if (hint := similar(category, labels)) is not None:
                    entry.hints[category] = hint

    def add(self, other: "Remarks") -> None:
        """Adds the remarks of another reader of the same table."""
        for column, noticed in other.unseen.items():
            entry = self.unseen.setdefault(column, Unseen(lack=noticed.lack))
            entry.count += noticed.count
            entry.examples = list(dict.fromkeys([*entry.examples, *noticed.examples]))[:_EXAMPLES]
            entry.hints |= noticed.hints

    def notes(self) -> tuple[str, ...]:
        """A sentence for each column about which there is something to say."""
        return tuple(unseen.note(column) for column, unseen in self.unseen.items())


def similar(label: str, labels: Sequence[str]) -> str | None:
    """The hint "did you mean ...?" with a label that differs in blanks or case only, or else with the nearest one."""
    plain = label.strip().casefold()
    alike = next((other for other in labels if other.strip().casefold() == plain), None)
    return f"did you mean `{shown_cell(alike)}`?" if alike is not None else nearest(label, labels)

"""A golden case: a text file with a description, the graph before, and a section for each pass after it."""

import ast
from pathlib import Path
from typing import Any

from msgspec import Struct

from netc.dsl.structs import replace

_BEFORE, _AFTER = "--- before", "--- after "


class Call(Struct, frozen=True):
    """The name of a pass, and its arguments."""

    name: str
    arguments: dict[str, Any]


class After(Struct, frozen=True):
    """The graph after a sequence of passes, which `heading` names as the file does."""

    heading: str
    text: str

    @property
    def calls(self) -> tuple[Call, ...]:
        tree = ast.parse(f"({self.heading},)", mode="eval").body
        assert isinstance(tree, ast.Tuple)
        return tuple(_call(node) for node in tree.elts)


def _call(node: ast.expr) -> Call:
    match node:
        case ast.Name(name):
            return Call(name, {})
        case ast.Call(ast.Name(name), [], keywords):
            return Call(name, {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in keywords})
    raise ValueError(f"a heading names passes, with arguments by name: {ast.unparse(node)}")


class Case(Struct, frozen=True):
    description: str
    before: str
    sections: tuple[After, ...]

    @classmethod
    def read(cls, path: Path) -> "Case":
        """Reads the case of a file. Raises ValueError if it has no description, no graph, or no section after it."""
        description, before, sections = list[str](), list[str](), list[tuple[str, list[str]]]()
        current = description
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.rstrip() == _BEFORE:
                current = before
            elif line.startswith(_AFTER):
                current = []
                sections.append((line.removeprefix(_AFTER).strip(), current))
            else:
                current.append(line)
        if not "".join(description).strip() or not before or not sections:
            raise ValueError(f"{path}: a case has a sentence, `{_BEFORE}`, and `{_AFTER}PASS`")
        return cls(
            _text(description), _text(before), tuple(After(heading, _text(lines)) for heading, lines in sections)
        )

    def with_text(self, number: int, text: str) -> "Case":
        """The case with another text in one of its sections."""
        sections = list(self.sections)
        sections[number] = replace(sections[number], text=text)
        return replace(self, sections=tuple(sections))

    def write(self, path: Path) -> None:
        parts = [f"{self.description}\n{_BEFORE}\n{self.before}"]
        parts += [f"{_AFTER}{after.heading}\n{after.text}" for after in self.sections]
        path.write_text("\n".join(parts), encoding="utf-8")


def _text(lines: list[str]) -> str:
    return "\n".join(lines).strip("\n") + "\n"

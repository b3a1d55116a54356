"""A generated program: statements that can be taken out one by one, the text that they make, and data for it."""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tests.programs.values import Steps, Type


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: `keyword names template`, where `{0}`, `{1}`, ... in the template are the operands; `body` for a block, a scan or a loop."""

    keyword: str
    names: tuple[str, ...]
    template: str
    operands: tuple[str, ...] = ()
    types: tuple[Type, ...] = ()  # of the names, where they are values
    body: tuple["Statement", ...] = ()

    @property
    def head(self) -> str:
        names = ", ".join(self.names)
        return f"{self.keyword} {names}{self.template.format(*self.operands)}".strip()

    def lines(self, indent: str = "") -> Iterator[str]:
        if not self.body:
            yield f"{indent}{self.head}"
            return
        yield f"{indent}{self.head} {{"
        for statement in self.body:
            yield from statement.lines(indent + "  ")
        yield f"{indent}}}"

    def count(self) -> int:
        """How many statements these are, those of the body with them."""
        return 1 + sum(statement.count() for statement in self.body)


@dataclass(frozen=True, slots=True)
class Lengths:
    """From how many to how many steps a varying dimension has in the data."""

    dim: str
    least: int
    most: int
    like: str = ""  # a dimension that is as long in every sample


@dataclass(frozen=True, slots=True)
class Program:
    """A `.net` file and the data for it. `features` say which parts of the language occur in it."""

    seed: int
    definitions: tuple[Statement, ...]
    statements: tuple[Statement, ...]
    settings: tuple[tuple[str, str], ...]
    lengths: tuple[Lengths, ...]
    samples: int
    features: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def text(self) -> str:
        lines: list[str] = []
        for definition in self.definitions:
            lines += [*definition.lines(), ""]
        lines += ["model {", *(line for statement in self.statements for line in statement.lines("  ")), "}"]
        if self.settings:
            lines += ["", "train {", *(f"  {name} = {value}" for name, value in self.settings), "}"]
        return "\n".join(lines) + "\n"

    @property
    def fields(self) -> dict[str, Type]:
        """Inputs and targets by name."""
        return {
            statement.names[0]: statement.types[0]
            for statement in self.statements
            if statement.keyword in ("input", "target")
        }

    @property
    def data(self) -> dict[str, Any]:
        """A field's array, or a list of arrays where its length varies: the same for the same seed, name and type, whatever else is in the file."""
        return make_data(self.fields, self.lengths, self.samples, self.seed)

    @property
    def batch(self) -> int:
        return int(dict(self.settings).get("batch", "32"))

    @property
    def accumulate(self) -> int:
        return int(dict(self.settings).get("accumulate", "1"))

    @property
    def size(self) -> int:
        """How many statements there are, settings with them."""
        return sum(statement.count() for statement in (*self.definitions, *self.statements)) + len(self.settings)


def make_data(fields: Mapping[str, Type], lengths: tuple[Lengths, ...], samples: int, seed: int) -> dict[str, Any]:
    """Random fields of these types."""
    counts = {
        length.dim: _generator(seed, length.like or length.dim)
        .integers(length.least, length.most + 1, samples)
        .tolist()
        for length in lengths
    }
    each = [{dim: values[n] for dim, values in counts.items()} for n in range(samples)]
    data: dict[str, Any] = {}
    for name, type_ in fields.items():
        rng, first = _generator(seed, name), type_.dims[0] if type_.dims else None
        if isinstance(first, Steps):
            data[name] = [_array(rng, type_, (first.count(own), *type_.numbers)) for own in each]
        else:
            data[name] = _array(rng, type_, (samples, *type_.numbers))
    return data


def _generator(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _array(rng: np.random.Generator, type_: Type, shape: tuple[int, ...]) -> np.ndarray:
    if type_.kind == "class":
        return rng.integers(0, type_.classes, shape).astype(np.int32)
    if type_.kind == "bool":
        return rng.random(shape) < 0.5
    return np.clip(rng.standard_normal(shape), -2.5, 2.5)


def resized(statement: Statement, old: int, new: int) -> Statement:
    """The statement with one number in place of another, in its text, its types and its body."""
    return replace(
        statement,
        template=re.sub(rf"(?<![\w.{{]){old}(?![\w.}}])", str(new), statement.template),
        types=tuple(
            Type(
                type_.kind,
                tuple(new if dim == old else dim for dim in type_.dims),
                new if type_.classes == old else type_.classes,
            )
            for type_ in statement.types
        ),
        body=tuple(resized(inner, old, new) for inner in statement.body),
    )

"""A generated program: statements that can be removed one by one, their text, and data for it."""

import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from netc.dsl.structs import replace
from tests.programs.values import Steps, Type


class Statement(Struct, frozen=True):
    """A statement `keyword names template`.

    `{0}`, `{1}`, ... in the template are the operands. A block, a scan or a loop has a `body`.
    """

    keyword: str
    names: tuple[str, ...]
    template: str
    operands: tuple[str, ...] = ()
    types: tuple[Type, ...] = ()  # the types of the names, where they are values
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
        """The number of statements, including those of the body."""
        return 1 + sum(statement.count() for statement in self.body)


class Lengths(Struct, frozen=True):
    """The least and the largest number of steps of a varying dimension in the data."""

    dim: str
    least: int
    most: int
    like: str = ""  # another dimension that has the same length in every sample


class Program(Struct, frozen=True):
    """A `.net` file and the data for it. `features` are the parts of the language that occur in it."""

    seed: int
    definitions: tuple[Statement, ...]
    statements: tuple[Statement, ...]
    settings: tuple[tuple[str, str], ...]
    lengths: tuple[Lengths, ...]
    samples: int
    features: frozenset[str] = frozenset()

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
        """The array of a field, or a list of arrays if its length varies.

        It depends on the seed, the name and the type alone, whatever else is in the file.
        """
        return make_data(self.fields, self.lengths, self.samples, self.seed)

    @property
    def batch(self) -> int:
        return int(dict(self.settings).get("batch", "32"))

    @property
    def accumulate(self) -> int:
        return int(dict(self.settings).get("accumulate", "1"))

    @property
    def size(self) -> int:
        """The number of statements, including settings."""
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
            data[name] = [_array(rng, type_, (first.count(leading), *type_.numbers)) for leading in each]
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
    """The statement with another number in place of one, in its text, its types and its body."""
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

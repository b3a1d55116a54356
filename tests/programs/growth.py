"""The state of a program while it is generated: values in scope, statements, and how choices are drawn."""

import random
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct, field

from netc.dsl.structs import replace
from tests.programs.program import Statement
from tests.programs.values import Dim, Steps, Type, Value, floats

Test = Callable[[Value], bool]

# Sizes around the borders of vectors, tiles and shards, mostly small.
SIZES = {
    1: 3,
    2: 6,
    3: 8,
    4: 6,
    5: 6,
    6: 3,
    7: 4,
    8: 4,
    9: 3,
    15: 1.5,
    16: 2,
    17: 2,
    31: 0.7,
    33: 0.7,
    63: 0.3,
    65: 0.3,
}


class Profile(Struct, frozen=True):
    """Bounds on the generated programs, and the productions that take part (all, or those named)."""

    name: str = "default"
    statements: tuple[int, int] = (2, 14)
    sizes: Mapping[int, float] = field(default_factory=lambda: SIZES)
    elements: int = 640  # the most elements of one value of one sample
    parameters: int = 4000  # the most elements of one parameter
    batch: int = 40
    only: frozenset[str] | None = None
    precision: Mapping[str, float] = field(default_factory=lambda: {"f64": 3, "f32": 1, "bf16": 0.5})


class Shared(Struct):
    """The parts that a model, its blocks and the bodies of its scans share."""

    draw: random.Random
    profile: Profile
    weights: dict[str, float]
    definitions: list[Statement] = field(default_factory=list)
    features: set[str] = field(default_factory=set)
    least: dict[str, int] = field(default_factory=dict)  # the least number of steps of a declared dimension
    bounds: dict[str, int] = field(default_factory=dict)  # the largest number of steps, if the file declares it
    equal: dict[str, str] = field(default_factory=dict)  # declared dimensions that are as long as another one
    targets: list[Statement] = field(default_factory=list)
    loss_names: list[str] = field(default_factory=list)
    inputs: set[int] = field(default_factory=set)  # the numbers of the values that are inputs
    count: int = 0


class Growth(Struct):
    """A body that statements are added to. `where` is `model`, `block` or `scan`."""

    shared: Shared
    where: str = "model"
    values: dict[str, Value] = field(default_factory=dict)
    layers: dict[str, tuple[Type, Type]] = field(
        default_factory=dict
    )  # layers by name, with the types of operand and result
    statements: list[Statement] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    reserved: set[str] = field(default_factory=set)  # names that are not shadowed
    depth: int = 0

    @property
    def draw(self) -> random.Random:
        return self.shared.draw

    @property
    def profile(self) -> Profile:
        return self.shared.profile

    def chance(self, probability: float) -> bool:
        return self.draw.random() < probability

    def feature(self, *names: str) -> None:
        self.shared.features.update(names)

    # ------------------------------------------------------------------ operands

    def pick(self, test: Test = lambda value: True) -> Value | None:
        """A random value in scope that passes a test. Later and unused values are drawn more often."""
        candidates = [value for value in self.values.values() if test(value)]
        if not candidates:
            return None
        weights = [(1 + n) * (1 if value.number in self.used else 2.5) for n, value in enumerate(candidates)]
        return self.draw.choices(candidates, weights)[0]

    def pick_float(self, test: Test = lambda value: True, most: float = 20.0) -> Value | None:
        """A random batched float whose numbers are not too large."""
        return self.pick(lambda value: value.type.is_float and value.is_batched and value.scale <= most and test(value))

    def size(self, most: int = 70) -> int:
        """A size for a dimension: one of an existing value, or a new one."""
        present = [dim for value in self.values.values() for dim in value.type.numbers if dim <= most]
        if present and self.chance(0.5):
            return self.draw.choice(present)
        sizes = {size: weight for size, weight in self.profile.sizes.items() if size <= most}
        return self.draw.choices(list(sizes), list(sizes.values()))[0]

    def reads_input(self, value: Value) -> bool:
        """Whether a value depends on some input."""
        return not self.shared.inputs.isdisjoint(value.ancestors)

    def fits(self, *dims: Dim) -> bool:
        """Whether a value of these dimensions is small enough."""
        return floats(*dims).count <= self.profile.elements

    def require(self, steps: Steps, least: int) -> bool:
        """Ensures that the data has so many steps of a dimension. Returns False if sequences would become too long."""
        needed = steps.needs(least)
        if needed > min(9, self.shared.bounds.get(steps.base, 9)):
            return False
        self.shared.least[steps.base] = max(self.shared.least.get(steps.base, 1), needed)
        return True

    # ------------------------------------------------------------------ statements

    def fresh(self, stem: str = "h") -> str:
        """A name for a new value, sometimes one that exists already."""
        shadowed = [name for name in self.values if name not in self.reserved]
        if shadowed and self.chance(0.08):
            self.feature("shadowing")
            return self.draw.choice(shadowed)
        return self.new_name(stem)

    def new_name(self, stem: str) -> str:
        self.shared.count += 1
        return f"{stem}{self.shared.count}"

    def assign(self, template: str, operands: tuple[Value, ...], *types: Type, **traits: object) -> list[Value]:
        """Adds `a, b = template` for results of these types.

        `traits` are those that do not follow from the operands.
        """
        names: list[str] = []
        while len(names) < len(types):
            name = self.fresh()
            names += [name] if name not in names else []
        plain = len(types) == 1 and all(isinstance(dim, int) for dim in types[0].dims)
        annotation = f": {types[0].text()}" if plain and self.chance(0.1) else ""
        self.add(Statement("", tuple(names), f"{annotation} = {template}", _names(operands), types))
        return [self.define(name, type_, operands, **traits) for name, type_ in zip(names, types, strict=True)]

    def add(self, statement: Statement) -> None:
        self.statements.append(statement)

    def define(self, name: str, type_: Type, operands: tuple[Value, ...] = (), **traits: object) -> Value:
        """Adds a value with this name to the scope. Traits that are not passed follow from the operands."""
        self.shared.count += 1
        self.used.update(operand.number for operand in operands)
        ancestors = frozenset[int]().union(*(operand.ancestors for operand in operands))
        mixes = traits.pop("mixes", False)
        value = Value(
            name,
            type_,
            self.shared.count,
            is_batched=any(operand.is_batched for operand in operands) and not mixes,
            scale=max((operand.scale for operand in operands), default=1.0),
            is_trained=any(operand.is_trained for operand in operands),
            is_discrete=any(operand.is_discrete for operand in operands),
            ancestors=ancestors | {self.shared.count},
            mixed=ancestors if mixes else frozenset[int]().union(*(operand.mixed for operand in operands)),
        )
        value = replace(value, **traits)
        self.values.pop(name, None)
        self.values[name] = value
        return value

    def parameter(self, *dims: int, initial: str = "") -> Value | None:
        """A parameter with these dimensions: an existing one, or a new one where a body may have some."""
        parameter = self.pick(lambda value: value.is_parameter and value.type == floats(*dims))
        if parameter is not None and (self.where == "scan" or self.chance(0.4)):
            self.feature("tied parameter")
            return parameter
        if self.where == "scan" or floats(*dims).count > self.profile.parameters:
            return None
        name = self.new_name("w")
        initial = initial or self.draw.choice(
            ("normal(0.4)", "uniform(-0.5, 0.5)", "normal(0.2)", *(("glorot_uniform",) if len(dims) > 1 else ()))
        )
        decay = ", decay = no" if self.chance(0.2) else ""
        type_ = floats(*dims)
        self.add(Statement("param", (name,), f": {type_.text()} = {initial}{decay}", (), (type_,)))
        self.reserved.add(name)
        self.feature("param")
        return self.define(name, type_, is_batched=False, is_trained=True, is_parameter=True)

    def definition(self, keyword: str, name: str, template: str, body: tuple[Statement, ...] = ()) -> None:
        """Adds a block or an operation before the model."""
        self.shared.definitions.append(Statement(keyword, (name,), template, body=body))

    def child(self, where: str) -> "Growth":
        """An empty body inside this one."""
        return Growth(self.shared, where, layers=dict(self.layers) if where == "scan" else {}, depth=self.depth + 1)


def _names(operands: tuple[Value, ...]) -> tuple[str, ...]:
    return tuple(operand.name for operand in operands)


Rule = Callable[[Growth], bool]
ANYWHERE = frozenset({"model", "block", "scan"})
IN_BLOCKS = frozenset({"model", "block"})  # not in the body of a scan
IN_MODEL = frozenset({"model"})


class Production(Struct, frozen=True):
    """A rule that adds statements if operands of fitting types are in scope. It returns whether it did."""

    name: str
    weight: float
    rule: Rule
    where: frozenset[str] = ANYWHERE


def productions_of(*tables: Iterator[Production] | list[Production]) -> dict[str, Production]:
    """All productions of some tables, by name."""
    productions: dict[str, Production] = {}
    for table in tables:
        for production in table:
            assert production.name not in productions, production.name
            productions[production.name] = production
    return productions

"""Generates well-typed programs from seeds, in the manner of Csmith and NNSmith.

A program is a directed acyclic graph of typed values that a table of productions grows. Each program draws its own
weights for the productions (swarm testing: features that are left out let the others meet more often).
"""

import random

from msgspec import Struct

import netc
from netc.compiler import pipeline
from tests.programs import (
    blocks,
    elementwise,
    images,
    layers,
    products,
    randoms,
    recurrent,
    reductions,
    scans,
    shapes,
    steps,
)
from tests.programs.beginnings import inputs
from tests.programs.endings import losses, outputs
from tests.programs.growth import Growth, Production, Profile, Shared, productions_of
from tests.programs.metrics import metrics
from tests.programs.program import Lengths, Program, Statement
from tests.programs.settings import samples, settings

PRODUCTIONS: dict[str, Production] = productions_of(
    *(
        module.productions()
        for module in (
            elementwise,
            randoms,
            reductions,
            shapes,
            steps,
            products,
            layers,
            images,
            recurrent,
            scans,
            blocks,
        )
    )
)
DEFAULT = Profile()
PROFILES = {
    "default": DEFAULT,
    "small": Profile("small", statements=(1, 6), elements=120),
    "bf16": Profile("bf16", statements=(1, 6), elements=120, precision={"bf16": 1}),
    "large": Profile("large", statements=(6, 30), elements=6000, parameters=20000),
}
SWARM = (0.0, 0.4, 1.0, 1.0, 3.0)  # factors on the weight of a production in one program
ATTEMPTS = 40


def grow(g: Growth, count: int) -> None:
    """Adds a number of productions to a body, or fewer if nothing fits."""
    candidates = [
        production
        for production in PRODUCTIONS.values()
        if g.where in production.where and g.shared.weights[production.name] > 0
    ]
    weights = [g.shared.weights[production.name] for production in candidates]
    for _ in range(ATTEMPTS * count):
        if count <= 0 or not candidates:
            return
        production = g.draw.choices(candidates, weights)[0]
        before = len(g.statements)
        if production.rule(g):
            g.feature(production.name)
            count -= 1
        else:
            assert len(g.statements) == before or production.name in (
                "gather",
                "product with a parameter",
                "lengths",
            ), production.name


class Outcome(Struct):
    """The program of a seed, and the number of rejected ones before it.

    `findings` are tracebacks of the compiler's front end.
    """

    program: Program | None
    rejected: list[tuple[Program, netc.Fault]]
    findings: list[tuple[Program, Exception]]


def attempt(seed: int, sub_seed: int, profile: Profile = DEFAULT) -> Program | None:
    """Draws one program, which the compiler may refuse. Returns None if no program was possible."""
    draw = random.Random(seed * 1000 + sub_seed)
    allowed = {name for name in PRODUCTIONS if profile.only is None or name in profile.only}
    weights = {
        name: production.weight * draw.choice(SWARM) if name in allowed else 0.0
        for name, production in PRODUCTIONS.items()
    }
    g = Growth(Shared(draw, profile, weights))
    inputs(g)
    count = len(g.statements)
    grow(g, draw.randint(*profile.statements))
    if not any(value.is_trained and value.type.is_float for value in g.values.values()):
        trained = [name for name in ("dense", "embed", "product with a parameter") if name in allowed]
        if not any(PRODUCTIONS[name].rule(g) for name in trained):
            return None
    if not losses(g):
        return None
    outputs(g)
    metrics(g)
    g.statements[count:count] = g.shared.targets
    if len(g.shared.targets) > 1:
        g.feature("several targets")
    if count > 1:
        g.feature("several inputs")
    chosen_settings = settings(g)
    by_name = dict(chosen_settings)
    number = samples(g, int(by_name["batch"]), int(by_name.get("accumulate", "1")))
    lengths = lengths_of(g)
    statements = tuple(_declared(statement, g.shared.bounds) for statement in g.statements)
    return Program(
        seed, tuple(g.shared.definitions), statements, chosen_settings, lengths, number, frozenset(g.shared.features)
    )


def lengths_of(g: Growth) -> tuple[Lengths, ...]:
    """The lengths of sequences in the data: as long as the program needs, within its bounds."""
    ranges = {
        dim: Lengths(dim, least, max(least, g.shared.bounds.get(dim, g.draw.choice((least + 2, 5, 7)))))
        for dim, least in g.shared.least.items()
    }
    for dim, other in g.shared.equal.items():
        least = max(ranges[dim].least, ranges[other].least)
        most = max(least, min(ranges[dim].most, ranges[other].most))
        ranges[other] = Lengths(other, least, most)
        ranges[dim] = Lengths(dim, least, most, like=other)
    return tuple(ranges.values())


def _declared(statement: Statement, bounds: dict[str, int]) -> Statement:
    """The statement of an input or target with its types written out."""
    if statement.keyword not in ("input", "target"):
        return statement
    text = f": {statement.types[0].text(bounds)}"
    return Statement(statement.keyword, statement.names, text, types=statement.types)


def outcome(seed: int, profile: Profile = DEFAULT) -> Outcome:
    """The outcome for a seed: its first program that the compiler accepts."""
    result = Outcome(None, [], [])
    for sub_seed in range(20):
        program = attempt(seed, sub_seed, profile)
        if program is None:
            continue
        try:
            pipeline.training_graph(netc.parse(program.text))
        except netc.Fault as fault:
            result.rejected.append((program, fault))
        except Exception as error:
            result.findings.append((program, error))
            return result
        else:
            result.program = program
            return result
    return result


def generate(seed: int, profile: Profile = DEFAULT) -> Program:
    """The program of a seed. Raises any exception of the compiler's front end other than a Fault."""
    result = outcome(seed, profile)
    if result.findings:
        raise result.findings[0][1]
    assert result.program is not None, f"no program of seed {seed} is accepted"
    return result.program

"""Generated programs under the oracles: a fixed number in CI, `pytest --long tests/programs --programs N --seed S` for more; and the generator itself."""

from tests.programs.campaign import Task, described, failures_of
from tests.programs.generator import DEFAULT
from tests.programs.program import Program

PLAIN = 60  # programs in CI on checks without kernels
KERNELS = 6  # and with them
PARTS = 6
CHECKS = ("format", "passes", "updates", "gradients", "accumulate", "alone", "plan")


def failing(program: Program, checks: tuple[str, ...]) -> list[str]:
    """What is wrong with a program, each with a minimal file and the test to paste."""
    return [
        f"seed {program.seed}, {failure.check}: {failure.kind}\n{failure.detail}\n"
        + described(program, failure, Task(program.seed, DEFAULT, checks, 60, attempts=150))
        for failure in failures_of(program, checks, seconds=60)
    ]

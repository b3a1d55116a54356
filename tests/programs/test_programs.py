"""The checks on generated programs: a fixed number in CI, and more with options.

`pytest --long tests/programs --programs N --seed S`
"""

import pytest

from tests.programs.campaign import Task, run
from tests.programs.faults import FAULTS, MENDS, ROOT, edited
from tests.programs.generator import PROFILES

CHEAP = ("format", "updates", "gradients", "accumulate", "alone", "steps")
IN_TURN = ("passes", "plan", "ranks")  # one of these for each program, because they take longer
PLAIN = 18  # the number of programs for checks without kernels
COMPILED = 4  # the number of programs that are compiled
PARTS = 6


def seeds(config: pytest.Config, count: int) -> range:
    """The seeds of this run: a fixed number, or as many as the command line says."""
    first = int(config.getoption("--seed"))
    return range(first, first + int(config.getoption("--programs") or count))


def failures(seed: int, profile: str, checks: tuple[str, ...]) -> list[str]:
    """The failures of the program of a seed, with a minimal file and a test to paste."""
    result = run(Task(seed, PROFILES[profile], checks, seconds=120, attempts=150))
    failures = zip(result.failures, result.reduced, strict=True)
    return [f"seed {seed}, {failure.check}: {failure.kind}\n{failure.detail}\n\n{text}" for failure, text in failures]


@pytest.mark.parametrize("part", range(PARTS))
def test_programs_without_kernels(part: int, request: pytest.FixtureRequest, is_long: bool) -> None:
    wrong: list[str] = []
    for seed in seeds(request.config, PLAIN)[part::PARTS]:
        checks = (*CHEAP, *IN_TURN) if is_long else (*CHEAP, IN_TURN[seed // PARTS % len(IN_TURN)])
        wrong += failures(seed, "default" if is_long else "small", checks)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("part", range(COMPILED))
def test_programs_in_machine_code(part: int, request: pytest.FixtureRequest, is_long: bool) -> None:
    checks = (
        ("compiled", "threads", "alone_compiled", "many_steps", "constants", "memory")
        if is_long
        else ("compiled", "constants")
    )
    wrong: list[str] = []
    for seed in seeds(request.config, COMPILED)[part::COMPILED]:
        wrong += failures(seed, "default" if is_long else "small", checks)
    assert not wrong, "\n\n".join(wrong)


def test_planted_faults_fit_the_sources() -> None:
    """Every text that a deliberate fault replaces (faults.py) occurs exactly once."""
    for fault in (*FAULTS, *MENDS):
        texts: dict[str, str] = {}
        for edit in fault.edits:
            text = texts.get(edit.path) or (ROOT / edit.path).read_text(encoding="utf-8")
            texts[edit.path] = edited(text, edit)
            assert texts[edit.path] != text

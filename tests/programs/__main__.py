"""Generates programs, runs the checks on each, and prints a reduced form of those that fail.

`python -m tests.programs --programs 100 --seed 0`
"""

import argparse
import importlib.util
import sys

import numpy as np

from tests.programs.campaign import COMPILED, PLAIN, PYTORCH, Report, Result, Task, campaign
from tests.programs.generator import PROFILES


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    parser.add_argument("--programs", type=int, default=100, help="how many programs")
    parser.add_argument("--seed", type=int, default=0, help="the first seed; the others follow it")
    parser.add_argument("--compiled", type=int, default=0, metavar="K", help="the first K programs are compiled too")
    parser.add_argument(
        "--checks", default="", help=f"names with commas between, of {', '.join((*PLAIN, PYTORCH, *COMPILED))}"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--profile", choices=PROFILES, default="default")
    parser.add_argument("--seconds", type=int, default=60, help="how long a check may take")
    parser.add_argument("--attempts", type=int, default=300, help="how many candidates reduction runs; 0: none")
    parser.add_argument("--until-failure", action="store_true", help="stop at the first failure")
    return parser.parse_args()


def _possible() -> tuple[str, ...]:
    """All checks; without PyTorch, those that do not need it."""
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: programs are not compared with it")
        return (*PLAIN, *COMPILED)
    return (*PLAIN, PYTORCH, *COMPILED)


def tasks(options: argparse.Namespace) -> list[Task]:
    """The tasks for the seeds of the command line."""
    chosen = tuple(name for name in options.checks.split(",") if name) or _possible()
    plain = tuple(name for name in chosen if name not in COMPILED)
    return [
        Task(
            options.seed + n,
            PROFILES[options.profile],
            chosen if n < options.compiled else plain,
            options.seconds,
            options.attempts,
        )
        for n in range(options.programs)
    ]


def main() -> int:
    options, report = arguments(), Report()
    np.seterr(all="ignore")

    def each(task: Task, result: Result) -> bool:
        report.add(task, result)
        for failure, text in zip(result.failures, result.reduced, strict=True):
            print(f"seed {failure.seed}, {failure.check}: {failure.kind}\n{failure.detail}\n\n{text}\n", flush=True)
        if result.failures and options.until_failure:
            print(f"the first failure is that of program {report.programs}, seed {result.seed}")
            return False
        return True

    campaign(tasks(options), options.jobs, each)
    print("\n".join(report.lines()))
    return int(bool(report.failures))


if __name__ == "__main__":
    sys.exit(main())

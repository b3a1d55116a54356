"""`python -m benchmarks` measures netc beside its peers and prints tables. See README.md.

With `--compare FILE` it measures netc's models of a file of `--save` again, and its exit status is 1 if one is slower.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks import (
    attention,
    compare,
    coverage,
    editor,
    epoch,
    first_step,
    generation,
    growth,
    lookups,
    plugin,
    steps,
    studies,
)
from benchmarks import operations as operation_table
from benchmarks import products as product_kernel
from benchmarks.cases import cases
from benchmarks.contender import CONTENDERS
from benchmarks.measure import LIMIT
from benchmarks.saved import Saved, SavedFault
from benchmarks.settings import Settings
from netc.commands.terminal import table

_OPERATION = 0.004  # seconds of a round, in the table of operations


def first(settings: Settings) -> None:
    """The seconds from the start of a process to the end of its first step."""
    table(first_step.table(), right=(1, 2, 3))


def answers(settings: Settings) -> None:
    """The time that an editor waits for the language server."""
    table(editor.table(settings.rounds), right=(1, 2))


def plugins(settings: Settings) -> None:
    """The time of an operation of a package beside that of a built-in one: they should be equal."""
    table(plugin.table(settings.rounds), right=(1, 2, 3, 4))


def tables(settings: Settings) -> None:
    """Lookups in tables of many rows, and the dense update of a table beside the memory's bandwidth."""
    table(lookups.table(settings.rounds), right=(1, 2, 3, 4, 5))
    table(lookups.streams(settings.rounds), right=(1, 2, 3, 4, 5))


def products(settings: Settings) -> None:
    """The share of the peak that the product kernel reaches, over a grid of shapes and layouts."""
    table(product_kernel.table(settings.rounds), right=(2, 3))


def operations(settings: Settings) -> None:
    """Every operation and block beside its bound, netc alone; with `save`, the rows are also written there."""
    if next(cases(settings.filter), None) is None:
        raise SystemExit(f"--filter: no text of an operation, such as `conv2d, 1x1 large f32`, has `{settings.filter}`")
    rows = operation_table.show(settings.filter, settings.threads[0], settings.rounds * _OPERATION)
    if settings.save is not None:
        settings.save.write_text(json.dumps(rows, indent=1), encoding="utf-8")


TABLES = {
    **{"steps": steps.table, "epoch": epoch.table, "growth": growth.table, "first": first},
    **{"generate": generation.table, "attention": attention.table},
    **{"editor": answers, "plugin": plugins, "lookups": tables, "products": products},
    **{"operations": operations, "studies": studies.table, "coverage": coverage.show},
}
_LONG = ("operations", "studies", "coverage")  # tables that take minutes: only if they are named


def main() -> None:
    parser = _parser()
    arguments = parser.parse_args()
    settings = Settings(
        arguments.rounds,
        tuple(arguments.models),
        tuple(arguments.threads),
        tuple(dict.fromkeys(["netc", *(arguments.contenders or (["netc"] if arguments.compare else CONTENDERS))])),
        arguments.limit,
        arguments.save,
        arguments.filter,
        arguments.configurations,
    )
    if settings.save is not None and {"steps", "operations"} <= set(arguments.only):
        parser.error("--save takes one of the tables steps and operations")
    if settings.save is not None and not settings.save.absolute().parent.is_dir():
        parser.error(f"there is no folder {settings.save.absolute().parent}")
    if not settings.selected():
        parser.error(f"no model's name contains {' or '.join(settings.models)}")
    if arguments.compare is not None:
        try:
            is_slower = compare.compare(Saved.read(arguments.compare), settings)
        except SavedFault as error:
            parser.error(str(error))
        sys.exit(is_slower)
    for name in arguments.only:
        TABLES[name](settings)
        print()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    usual = [name for name in TABLES if name not in _LONG]
    add(
        "--only",
        nargs="+",
        choices=TABLES,
        default=usual,
        help=f"which tables; by default all but {' and '.join(_LONG)}",
    )
    add("--models", nargs="+", default=[], metavar="NAME", help="only models whose names contain one of these")
    add("--threads", nargs="+", type=_count, default=[1, 2], metavar="N", help="numbers of threads; 1 and 2 by default")
    names = ", ".join(name for name in CONTENDERS if name != "netc")
    add(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        metavar="NAME",
        help=f"who is measured beside netc, of: {names}; by default all",
    )
    add("--rounds", type=_count, default=12, help="how often each contender is measured; 12 by default")
    add("--limit", type=float, default=LIMIT, help="seconds in which a peer must have compiled a model")
    add("--save", type=Path, metavar="FILE", help="write the table of steps (all rounds) or of operations to a file")
    add("--filter", default="", metavar="TEXT", help="only operations whose name, shape and type contain this")
    add("--configurations", type=_count, default=100, help="how many a study tries; 100 by default")
    add("--compare", type=Path, metavar="FILE", help="say what is slower or faster than in a file of --save")
    return parser


def _count(text: str) -> int:
    """A number of rounds or threads, which is at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 1")
    return int(text)


if __name__ == "__main__":
    main()

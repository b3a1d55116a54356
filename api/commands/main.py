"""`netc`: the entry point of all commands.

Importing Typer takes as long as a prediction, so a command line that needs no parser of options does without it.
"""

import gc
import os
import sys
from pathlib import Path
from typing import NoReturn

from netc.commands import frame
from netc.commands.signals import exit_statuses
from netc.runtime.distributed.variables import COUNTS

_ALLOCATIONS = 200_000  # between two collections of cycles: graphs are large, and hardly any of their objects die


def console() -> NoReturn:
    """Run a command and end the process at once, with one of frame.STATUSES: the entry point of the `netc` script."""
    gc.set_threshold(_ALLOCATIONS)  # with Python's 700, collections take a quarter of the time to compile a large model
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else frame.FAILED
    frame.leave(status)


@exit_statuses()
def main() -> NoReturn:
    """Run a command and raise SystemExit with one of frame.STATUSES."""
    frame.run(_run_command)


def _run_command() -> object:
    """Runs the command that the process was started with."""
    if sys.argv[1:] and any(name in os.environ for name in COUNTS):
        from netc.commands.launched import refuse_ranks

        refuse_ranks(sys.argv[1])
    match sys.argv[1:]:
        case ["predict", run, data] if _are_plain(run, data):
            from netc.commands.predicting import write_predictions

            write_predictions(Path(run), Path(data))
            return None
    from netc.commands.table import app_for

    return app_for(sys.argv[1:])()


def _are_plain(*arguments: str) -> bool:
    """Whether arguments are not options, and the shell asks for no completion, so that no parser is needed."""
    is_completing = any(name.endswith("_COMPLETE") for name in os.environ)
    return not is_completing and all(argument and (argument == "-" or argument[0] != "-") for argument in arguments)

"""What end-to-end tests share: the command line as a process of its own."""

import subprocess
import sys
from pathlib import Path

from netc.compiler.elaborate.elaborator import elaborate
from netc.dsl.diagnostics import Diagnostic
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.dataset import class_counter, load
from netc.runtime.data.spec import parse_data

ROOT = Path(__file__).parent.parent


def netc_command(*arguments: object) -> list[str]:
    """The words that start `netc` in this environment."""
    return [sys.executable, "-c", "from netc.commands.main import main; main()", *map(str, arguments)]


def command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run a command to its end."""
    return subprocess.run(
        netc_command(*arguments), cwd=cwd, capture_output=True, text=True, check=False, encoding="utf-8"
    )


def warnings_of(path: Path) -> list[Diagnostic]:
    """What netc warns of in a file and its data, called by the file's name alone. Raises Fault where it is wrong."""
    file = parse(Source(path.name, path.read_text(encoding="utf-8"), path))
    model = elaborate(file, {}, class_counter(file))
    return [*model.warnings, *(load(model, parse_data(model)).warnings if model.data is not None else ())]

"""What end-to-end tests share: the command line as a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def netc_command(*arguments: object) -> list[str]:
    """The words that start `netc` in this environment."""
    return [sys.executable, "-c", "from netc.commands.main import main; main()", *map(str, arguments)]


def command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    """Run a command to its end."""
    return subprocess.run(netc_command(*arguments), cwd=cwd, capture_output=True, text=True, check=False)

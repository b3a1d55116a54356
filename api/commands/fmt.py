"""`netc fmt M.net`: rewrites files in their canonical form and keeps their comments."""

import difflib
import sys
from pathlib import Path
from typing import Annotated

import typer

from netc.commands.terminal import say


def fmt(
    files: Annotated[list[Path], typer.Argument(metavar="M.net", help="The files to format.")],
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit status 1 if a file would change.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Change nothing; show what would change.")] = False,
) -> None:
    """Format files in place: one statement on each line, indented by two spaces, long lines broken. Comments stay.

    Example: netc fmt --diff examples/iris.net
    """
    from netc.dsl.parser import parse_file
    from netc.dsl.printer import print_file
    from netc.dsl.quoting import escaped
    from netc.runtime.runs.checkpoint import write_whole

    changed = []
    for path in files:
        file = parse_file(path)
        text = print_file(file)
        if text == file.source.text:
            continue
        changed.append(path)
        if diff:
            name, before = escaped(str(path)), file.source.text
            lines = difflib.unified_diff(before.splitlines(keepends=True), text.splitlines(keepends=True), name, name)
            # unescaped: a patch keeps the ends of lines, and a `.net` text has no other control characters
            sys.stdout.writelines(lines)
        elif check:
            say(f"{path} would change")
        else:
            write_whole(path, text.encode())
            say(f"{path} formatted")
    if changed and (check or diff):
        raise typer.Exit(1)

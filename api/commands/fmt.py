"""`netc fmt M.net`: files in their canonical form, comments kept."""

import difflib
from pathlib import Path
from typing import Annotated

import typer


def fmt(
    files: Annotated[list[Path], typer.Argument(metavar="M.net ...", help="The files to format.")],
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if a file would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Change nothing; show what would change.")] = False,
) -> None:
    """Format files in place: one statement a line, two spaces an indentation, long lines broken. Comments stay.

    Example: netc fmt --diff examples/iris.net
    """
    from netc.dsl.parser import parse_file
    from netc.dsl.printer import print_file
    from netc.runtime.checkpoint import write_whole

    changed = []
    for path in files:
        file = parse_file(path)
        text = print_file(file)
        if text == file.source.text:
            continue
        changed.append(path)
        if diff:
            lines = difflib.unified_diff(
                file.source.text.splitlines(keepends=True), text.splitlines(keepends=True), str(path), str(path)
            )
            typer.echo("".join(lines), nl=False)
        elif check:
            typer.echo(f"{path} would change")
        else:
            write_whole(path, text.encode())
            typer.echo(f"{path} formatted")
    if changed and (check or diff):
        raise typer.Exit(1)

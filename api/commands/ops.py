"""`netc ops [NAME]`: what a `.net` file can name."""

import dataclasses
import json
from typing import Annotated

import typer

from netc.commands.terminal import table


def ops(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of them: its page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List operations, layers, losses, metrics, optimizers, readers and data steps, or show the page of one.

    Example: netc ops dropout
    """
    from netc.dsl.diagnostics import nearest
    from netc.reference import KINDS, entries, plural

    known = entries()
    found = [one for one in known if name in (None, one.name)]
    if not found:
        hint = nearest(str(name), (one.name for one in known))
        typer.echo(f"there is no `{name}`" + (f": {hint}" if hint else ""), err=True)
        raise typer.Exit(1)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(one) for one in found], indent=2))
    elif name is None:
        for kind in KINDS:
            typer.echo(("\n" if kind != KINDS[0] else "") + plural(kind))
            table([(f"  {one.signature}", one.summary) for one in known if one.kind == kind])
    else:
        for one in found:
            typer.echo(f"{one.signature}    ({one.kind})\n{one.doc}")
            for detail in one.details:
                typer.echo(detail)
            if one.text:
                typer.echo(f"\n{one.text}")

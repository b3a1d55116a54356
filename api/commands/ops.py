"""`netc ops [NAME]`: what a `.net` file can name."""

import dataclasses
from typing import Annotated

import typer

from netc.commands import options
from netc.commands.terminal import say, say_lines, table
from netc.dsl.quoting import json_text


def ops(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of them: its page.")] = None,
    test: Annotated[
        bool,
        typer.Option(
            "--test",
            help="Test its definition: type rule, kernel, gradients of first and second order; of a pass, what models come to.",
        ),
    ] = False,
    plugins: options.Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List operations, layers, losses, metrics, optimizers, readers and data steps, or show the page of one.

    Example: netc ops dropout
    """
    from netc.dsl.diagnostics import nearest
    from netc.reference import KINDS, entries, plural
    from netc.runtime.plugins import load_installed

    load_installed()
    if test:
        _test(name)
        return
    known = entries()
    found = [one for one in known if name in (None, one.name)]
    if not found:
        hint = nearest(str(name), (one.name for one in known))
        say(f"there is no `{name}`" + (f": {hint}" if hint else ""), is_error=True)
        raise typer.Exit(1)
    if as_json:
        say_lines(json_text([dataclasses.asdict(one) for one in found], indent=2))
    elif name is None:
        for kind in KINDS:
            if kind != KINDS[0]:
                say()
            say(plural(kind))
            table([(f"  {one.signature}", one.summary) for one in known if one.kind == kind])
    else:
        for one in found:
            say(f"{one.signature}    ({one.kind})")
            say_lines(one.doc)
            for detail in one.details:
                say_lines(detail)
            if one.text:
                say_lines(f"\n{one.text}")


def _test(name: str | None) -> None:
    """The generated tests of one operation, or pass; exit 1 if it does not keep its word."""
    from netc.compiler.ir.value import OPERATIONS
    from netc.compiler.pipeline import PASSES
    from netc.dsl.diagnostics import nearest
    from netc.testing import cases, findings, findings_of_pass

    operation, stage = OPERATIONS.get(name or ""), PASSES.get(name or "")
    if operation is None and stage is None:
        hint = nearest(name or "", (*OPERATIONS, *PASSES))
        raise typer.BadParameter(f"there is no operation or pass `{name}`" + (f": {hint}" if hint else ""))
    if operation is not None:
        found = list(findings(operation))
    elif stage is not None:
        found = list(findings_of_pass(stage))
    for one in found:
        say(str(one), is_error=True)
    if found:
        raise typer.Exit(1)
    if operation is None:
        say(f"{name}: every model comes to the same with it and without")
        return
    count = len(list(cases(operation)))
    say(f"{operation.name}: type rule, reference, kernel and gradients agree, in f32 and f64, in {count} cases")

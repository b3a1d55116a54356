"""`netc ops [NAME]`: the names that a `.net` file can use."""

from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import asdict

from netc.commands import options
from netc.commands.terminal import say, say_lines, table
from netc.dsl.quoting import json_text

if TYPE_CHECKING:
    from netc.reference import Entry


def ops(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show only this one, in detail.")] = None,
    test: Annotated[
        bool,
        typer.Option(
            "--test",
            help="Test its definition: type rule, kernel, first and second gradients; for a pass, results of models.",
        ),
    ] = False,
    plugins: options.Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List words, operations, layers, losses, metrics, optimizers, readers and data steps, or show one in detail.

    Example: netc ops dropout
    """
    from netc.reference import KINDS, entries, plural
    from netc.runtime.plugins import load_installed

    load_installed()
    if test:
        _test(name)
        return
    everything = entries()
    matches = [entry for entry in everything if name in (None, entry.name)]
    if not matches:
        _say_elsewhere(str(name), everything)
    if as_json:
        say_lines(json_text([asdict(entry) for entry in matches], indent=2))
    elif name is None:
        for kind in KINDS:
            if kind != KINDS[0]:
                say()
            say(plural(kind))
            rows = [(f"  {entry.signature}", entry.summary) for entry in everything if entry.kind == kind]
            table(rows, wraps=True)
    else:
        for entry in matches:
            say(f"{entry.signature}    ({entry.kind})")
            say_lines(entry.doc)
            for detail in entry.details:
                say_lines(detail)
            if entry.text:
                say_lines(f"\n{entry.text}")


def _say_elsewhere(name: str, everything: "list[Entry]") -> None:
    """Says where a name is found that is not an entry. Raises Exit (exit status 1) for one that netc does not have."""
    from netc.commands.elsewhere import elsewhere

    lines = elsewhere(name, everything)
    is_error = not lines or lines[0].startswith("there is no")
    for line in lines or [f"there is no `{name}`"]:
        say(line, is_error=is_error)
    if is_error:
        raise typer.Exit(1)


def _test(name: str | None) -> None:
    """Runs the generated tests of one operation or pass. Exit status 1 if one fails."""
    from netc.compiler.ir.value import OPERATIONS
    from netc.compiler.pipeline import PASSES
    from netc.dsl.diagnostics import nearest
    from netc.testing import cases, findings, findings_of_pass

    operation, stage = OPERATIONS.get(name or ""), PASSES.get(name or "")
    if operation is None and stage is None:
        hint = nearest(name or "", (*OPERATIONS, *PASSES))
        raise typer.BadParameter(f"there is no operation or pass `{name}`" + (f": {hint}" if hint else ""))
    if operation is not None:
        problems = list(findings(operation))
    elif stage is not None:
        problems = list(findings_of_pass(stage))
    for problem in problems:
        say(str(problem), is_error=True)
    if problems:
        raise typer.Exit(1)
    if operation is None:
        say(f"{name}: every model has the same results with it and without it")
        return
    count = len(list(cases(operation)))
    say(f"{operation.name}: type rule, reference, kernel and gradients agree, in f32 and f64, in {count} cases")

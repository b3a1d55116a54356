"""`netc selftest`: tests whether this installation computes correct results."""

from typing import Annotated, Any

import typer

from netc.commands.terminal import say, say_lines
from netc.dsl.quoting import json_text


def selftest(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Test this installation: every operation, a dozen small models computed in several ways that must agree, threads,
    the kernel cache, export. Exit status 1 if something is wrong. Takes up to two minutes if no kernel is compiled yet.

    Example: netc selftest
    """
    from netc.runtime.verification.comparison import counting
    from netc.runtime.verification.installation import GROUPS
    from netc.runtime.verification.report import environment

    report: dict[str, Any] = {"environment": environment(), "groups": []}
    if not as_json:
        for name, text in report["environment"].items():
            say(f"{name}: {text}")
    for group in GROUPS:
        with counting() as counter:
            wrong = list(group.run())
        report["groups"].append({"group": group.name, "compared": counter.count, "wrong": wrong})
        if not as_json:
            outcome = f"{len(wrong)} wrong" if wrong else f"ok, {counter.count:,} compared"
            say(f"  {group.name:<14}  {outcome:<20}  {group.doc}")
            for line in wrong:
                say(f"    {line}")
    report["ok"] = not any(group["wrong"] for group in report["groups"])
    if as_json:
        say_lines(json_text(report, indent=2))
    elif not report["ok"]:
        say("This is a fault of netc or of a package that it uses. Please report it with all of this output.")
    raise typer.Exit(0 if report["ok"] else 1)

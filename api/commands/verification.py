"""What `netc check M.net --verify` runs and prints: the oracles of netc on the user's own model."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from netc.compiler.model import Model


def verify_model(model: "Model", with_own_data: bool, quietly: bool = False) -> dict[str, Any]:
    """Runs every check, a line each (none if `quietly`), and its differences as messages. Returns all of it as JSON has it."""
    from netc.runtime.verification.report import PLEASE, diagnostic_of, environment, outcomes
    from netc.runtime.verification.sampling import sampled

    taken = sampled(model, with_own_data)
    found: dict[str, Any] = {"data": taken.told, "environment": environment(), "checks": []}
    if not quietly:
        typer.echo(f"verified on {taken.told}")
    for outcome in outcomes(taken.subject):
        found["checks"].append(outcome.as_json())
        if not quietly:
            typer.echo(f"  {outcome.check.name:<14}  {outcome.told:<20}  {outcome.check.doc}")
            for one in outcome.differences:  # on the same stream, in its place: a report is one text
                typer.echo(f"\n{diagnostic_of(one).render()}\n")
    found["ok"] = all(one["ok"] for one in found["checks"])
    if not quietly:
        for name, text in found["environment"].items():
            typer.echo(f"{name}: {text}")
        if not found["ok"]:
            typer.echo(PLEASE)
    return found

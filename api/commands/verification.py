"""`netc check M.net --verify`: computes the user's model in several ways that must agree."""

from typing import TYPE_CHECKING, Any

from netc.commands.terminal import say, say_lines

if TYPE_CHECKING:
    from netc.compiler.model import Model


def verify_model(model: "Model", with_own_data: bool, quietly: bool = False) -> dict[str, Any]:
    """Runs every check and prints its outcome and its differences, unless `quietly`. Returns the report for JSON."""
    from netc.runtime.verification.report import PLEASE, diagnostic_of, environment, outcomes
    from netc.runtime.verification.sampling import sampled

    sample = sampled(model, with_own_data)
    report: dict[str, Any] = {"data": sample.description, "environment": environment(), "checks": []}
    if not quietly:
        say(f"verified on {sample.description}")
    for outcome in outcomes(sample.subject):
        report["checks"].append(outcome.as_json())
        if not quietly:
            say(f"  {outcome.check.name:<14}  {outcome.summary:<20}  {outcome.check.doc}")
            for difference in outcome.differences:  # on the same stream, because the report is one text
                say_lines(f"\n{diagnostic_of(difference).render()}\n")
    report["ok"] = all(check["ok"] for check in report["checks"])
    if not quietly:
        for name, text in report["environment"].items():
            say(f"{name}: {text}")
        if not report["ok"]:
            say(PLEASE)
    return report

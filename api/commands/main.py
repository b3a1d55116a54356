"""`netc`: the table of commands."""

import typer

from netc.commands import (
    cache,
    check,
    diagnose,
    evaluate,
    explain,
    export,
    fmt,
    frame,
    generate,
    lsp,
    new,
    ops,
    predict,
    profile,
    report,
    runs,
    selftest,
    show,
    train,
    version,
)
from netc.commands.signals import exit_statuses

app = typer.Typer(
    cls=frame.Commands,
    name="netc",
    help="Neural networks as text, compiled to fast CPU code.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.callback()(version.common)
app.command("train")(train.train)
app.command("check")(check.check)
app.command("eval")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("generate")(generate.generate)
app.command("show")(show.show)
app.command("explain")(explain.explain)
app.command("profile")(profile.profile)
app.command("report")(report.report)
app.command("diagnose")(diagnose.diagnose)
app.command("export")(export.export)
app.command("runs")(runs.runs)
app.command("new")(new.new)
app.command("fmt")(fmt.fmt)
app.command("ops")(ops.ops)
app.command("lsp")(lsp.lsp)
app.command("cache")(cache.cache)
app.command("selftest")(selftest.selftest)


@exit_statuses()
def main() -> None:
    """Run a command and end the process, with one of frame.STATUSES."""
    frame.run(app)

"""`netc`: the table of commands, and what they share: --set, messages, exit status."""

import io
import sys
import warnings

import typer

from netc.commands import (
    cache,
    check,
    diagnose,
    evaluate,
    explain,
    export,
    fmt,
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
from netc.commands.terminal import show_fault, show_warning
from netc.dsl.diagnostics import Fault

app = typer.Typer(
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
    """Run a command. Exit status: 0 done, 1 the file or the data is at fault, 2 wrong usage, 130 interrupted, 143 ended by SIGTERM, 129 by SIGHUP."""
    warnings.showwarning = show_warning
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character must not end a command
    try:
        app()
    except Fault as found:
        show_fault(found)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)

"""Trains a run to its end, shows its progress, and evaluates it on the test part."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from netc.commands import options
from netc.commands.next_steps import quoted
from netc.commands.progress import Ticker
from netc.commands.terminal import matrices, metrics_text, say, say_wrapped

if TYPE_CHECKING:
    from netc.dsl.source import Span
    from netc.runtime.metric_values import MetricValue, Row
    from netc.runtime.runs.run import Run
    from netc.runtime.trainer import Ending

_FEW = 32  # samples whose gradients are diagnosed during training
_REACH = 0.25  # the share of the steps that gradients should reach
_LONG = 2_000  # longer sequences are not diagnosed during training: `netc diagnose` takes long for them


def run_to_end(run: "Run", trackers: Sequence[str], ticker: Ticker) -> None:
    """Trains a run to its end, and shows its metrics on the test part. The caller has claimed its folder."""
    from netc.runtime.insight.curves import draw
    from netc.runtime.runs.checkpoint import write_whole
    from netc.runtime.runs.outcome import save_outcome

    ending = _trained(run, trackers, ticker)
    for sentence in (ending.stopped if ending.epochs else "nothing is left to train", ending.kept):
        if sentence is not None:
            say_wrapped(sentence)
    if ticker.is_live and ending.epochs:
        _advise_to_keep(run, ticker)
    is_kept = "the trained parameters are saved"
    ticker.doing("evaluating the test part", is_kept, f"netc eval {quoted(run.folder)}")
    write_whole(run.folder / "curves.svg", draw(run.metrics))
    save_outcome(run, ending.stopped, _tested(run))


def _trained(run: "Run", trackers: Sequence[str], ticker: Ticker) -> "Ending":
    """Trains a run to its end. The ticker shows its epochs; warnings about gradients appear once."""
    from netc.runtime.insight.diagnose import diagnose, longest
    from netc.runtime.trackers.tracker import tracked
    from netc.runtime.trainer import train_claimed

    total, resume = run.model.train.epochs, f"netc train --resume {quoted(run.folder)}"
    warned: set[tuple[str, Span]] = set()  # warnings about gradients that were shown, by code and span
    names = trackers if run.ranks is None or run.ranks.rank == 0 else ()  # the other ranks train a copy

    def progress() -> str:
        return f"in epoch {min(run.progress.epoch + 1, total)} of {total}"

    def saved_epoch() -> None:
        kept = f"epoch {run.progress.epoch} is saved" if run.progress.epoch else "the first parameters are saved"
        ticker.interrupts.at(progress(), kept, resume, finishing="saving after this step")

    with tracked(run, names) as log:

        def epoch(row: "Row") -> None:
            log(row)
            ticker.epoch(row, total)
            saved_epoch()
            if row["epoch"] in (1, total) and longest(run) <= _LONG:
                findings = diagnose(run, _FEW, _REACH).findings
                by_warning = {(finding.code, finding.primary.span): finding for finding in findings}
                options.warn(
                    [finding for warning, finding in by_warning.items() if warning not in warned], strict=False
                )
                warned.update(by_warning)

        ticker.trains(run.model, run.metrics)
        saved_epoch()
        try:
            return train_claimed(run, total, ticker.update, epoch)
        except KeyboardInterrupt:
            ticker.interrupts.at(progress(), "everything up to this step is saved", resume)
            if not ticker.interrupts.are_answered:
                with suppress(OSError):  # the terminal is gone
                    say(is_error=True)
                    say(f"interrupted; netc train --resume {run.folder} continues", is_error=True)
            raise


def _advise_to_keep(run: "Run", ticker: Ticker) -> None:
    """Says that an earlier epoch had the least loss, if the run does not keep the parameters of that one."""
    best, last = ticker.best, run.progress.epoch
    if best is None or not best.better.metric.endswith(".loss") or run.model.train.keeps_parameters:
        return
    if 0 < best.epoch < last:
        name = best.better.metric
        text = (
            f"epoch {best.epoch} (*) had the least {name}, {best.value:.4g}; the run has the parameters of epoch {last}"
        )
        say_wrapped(f"{text}: `keep = best({name})` in `train` keeps those of the best one")


def _tested(run: "Run") -> "Mapping[str, MetricValue] | None":
    """Evaluates a trained run on the test part, and prints the metrics. Returns None without such a part."""
    from netc.runtime.lost_numbers import refuse_lost_loss

    if "test" not in run.load_data().parts:
        return None
    tested = run.evaluate("test")
    refuse_lost_loss(run, "test", tested)
    say_wrapped(f"test  {metrics_text(tested)}")
    matrices(tested)
    return tested

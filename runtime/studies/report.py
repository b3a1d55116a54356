"""One HTML page of a study: its winner, its trials and what they say of the settings.

It is made only from the study's folder.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from netc.dsl.plural import counted
from netc.dsl.quoting import bounded
from netc.runtime.insight.pages import page_html
from netc.runtime.insight.sections import (
    Heading,
    Listing,
    Note,
    Paragraph,
    Plots,
    Section,
    Summary,
    Table,
    file_sections,
    left_out,
    one_of_every,
)
from netc.runtime.metric_names import single_numbers
from netc.runtime.studies import plots
from netc.runtime.studies.finished import finished_trials, spec_of
from netc.runtime.studies.importance import LEAST_TRIALS, importances
from netc.runtime.studies.search import Outcome
from netc.runtime.studies.store import StudyFolder
from netc.runtime.studies.view import MOST_DRAWN, View, error_text, mean_text, setting_text

_MOST_ROWS, _MOST_METRICS, _MOST_MESSAGES, _MOST_SLICES = 20, 60, 10, 24
WORDS = {Outcome.PRUNED: "given up", Outcome.FAILED: "failed"}


def page(folder: StudyFolder) -> str:
    """The page. Raises what `parse_study` raises, if the text of the study needs a package that is not installed."""
    spec = spec_of(folder)
    view = View(spec, finished_trials(folder, spec))
    title = folder.source.file_name
    return page_html(title, _subtitle(folder, view), list(_sections(folder, view)))


def _subtitle(folder: StudyFolder, view: View) -> str:
    facts = [f"{counted(len(view.trials), 'trial')} by {view.spec.search.name}"]
    counts = Counter(trial.outcome for trial in view.trials)
    facts += [f"{counts[outcome]:,} {word}" for outcome, word in WORDS.items() if counts[outcome]]
    each = sum(len(trial.trainings) for trial in view.trials)
    facts += [f"{each:,} trainings"] if each > len(view.trials) else []
    return f"{folder.path.resolve().name}: {', '.join([*facts, f'{folder.clock().seconds:.1f} s'])}"


def _sections(folder: StudyFolder, view: View) -> Iterator[Section]:
    """All sections of the page in order."""
    results = folder.results()
    yield from _winner(folder, view, results)
    if view.trials:
        yield from _trials(view)
        yield from _failures(view)
    if view.means:
        yield from _pictures(view)
    yield from file_sections(folder.source.text, "study's")
    info = folder.info
    if info.lines:
        yield Paragraph("These lines were added to its study:")
        yield Listing("\n".join(info.lines))
    if info.set:
        yield Paragraph("With " + ", ".join(f"{name} = {setting_text(value)}" for name, value in info.set.items()))


def _winner(folder: StudyFolder, view: View, results: Mapping[str, Any]) -> Iterator[Section]:
    """The value of the best trial with its uncertainty, its settings, and the metrics of its run on the test part."""
    if not view.ranked:
        yield Note("No trial is done yet." if not view.trials else "No trial has reached its end.")
        return
    best = view.ranked[0]
    named = zip(view.spec.compare, view.means[best.number], strict=True)
    is_current = results.get("best", {}).get("trial") == best.number
    tests = results.get("test", {}) if is_current else {}
    numbers = single_numbers(tests)
    shown = [(better.metric, f"{mean.value:.4g}", error_text(mean)) for better, mean in named]
    shown += [(f"test {name}", f"{value:.4g}", "") for name, value in list(numbers.items())[:_MOST_METRICS]]
    yield Summary(shown)
    settings = ", ".join(f"{name} = {setting_text(value)}" for name, value in best.settings.items())
    trained = f" Its run is {folder.path / results['run']}." if is_current and "run" in results else ""
    yield Paragraph(f"Trial {best.number} is best: {settings}.{trained}")
    if not is_current:
        yield Note(f"The winner is trained and tested at the end: netc study --resume {folder.path}")
    if len(best.trainings) > 1:
        yield Note(f"± is the standard error of the mean over {len(best.trainings)} trainings.")


def _trials(view: View) -> Iterator[Section]:
    """The best trials as a table; those of the front, if several metrics are compared."""
    several = len(view.spec.compare) > 1
    trials = [trial for trial in view.ranked if trial in view.front] if several else view.ranked
    if not trials:
        return
    yield Heading("Trials that no other one beats in all metrics" if several else "Best trials")
    names = [varying.name for varying in view.spec.space]
    rows = [
        (
            str(trial.number),
            *(setting_text(trial.settings[name]) if name in trial.settings else "" for name in names),
            *map(mean_text, view.means[trial.number]),
            str(trial.epochs),
        )
        for trial in trials[:_MOST_ROWS]
    ]
    metrics = [better.metric for better in view.spec.compare]
    yield Table(("trial", *names, *metrics, "epochs"), rows, [str(trial.number) for trial in trials[:_MOST_ROWS]])
    yield from left_out(len(trials), _MOST_ROWS, "trials")


def _failures(view: View) -> Iterator[Section]:
    """Why trials have failed."""
    messages = Counter(trial.error(view.spec) or "" for trial in view.trials if trial.outcome is Outcome.FAILED)
    if messages:
        yield Heading("Failed trials")
        yield Table(
            ("message", "trials"),
            [(bounded(message, 200), f"{count:,}") for message, count in messages.most_common(_MOST_MESSAGES)],
        )
        yield from left_out(len(messages), _MOST_MESSAGES, "messages")


def _pictures(view: View) -> Iterator[Section]:
    """The plots, each with its heading."""
    yield Heading("All trials")
    yield Plots([plots.legend(view)])
    yield from left_out(len(view.trials), MOST_DRAWN, "trials, the worst ones,")
    yield Plots([plots.history(view)])
    yield Plots([plots.parallel(view)])
    yield from _importance(view)
    yield Heading("Slices")
    yield Plots(plots.slices(view)[:_MOST_SLICES])
    yield from left_out(len(view.spec.space), _MOST_SLICES, "settings")
    if len(view.spec.compare) > 1 and view.ranked:
        yield Heading("Pareto front")
        yield Plots(plots.fronts(view))
    if view.ranked and len(view.ranked[0].trainings) > 1:
        yield Heading("Folds and seeds")
        yield Plots([plots.strips(view)])
        yield from left_out(len(view.ranked), plots.MOST_STRIPS, "trials")
    curves = plots.curves(view)
    if curves is not None:
        yield Heading("Curves")
        yield Plots([curves])
        yield from left_out(len(view.drawn), plots.MOST_CURVES, "trials")


def _importance(view: View) -> Iterator[Section]:
    yield Heading("Importance of the settings")
    shares = importances(view.spec, view.trials)
    if not shares:
        needs = (
            f"at least {LEAST_TRIALS} trials that reached their end" if len(view.ranked) < LEAST_TRIALS else "Optuna"
        )
        yield Note(f"This needs {needs}.")
        return
    yield Plots([plots.importance_bars(importance) for importance in shares])
    if shares[0].method == "fANOVA":
        yield Note("fANOVA: the share of the metric's variance over the search space that a setting explains alone.")
    else:
        yield Note(
            "PED-ANOVA: how much a setting tells the best tenth of the trials from the others. "
            'For fANOVA: pip install "netc[study]"'
        )
    yield from one_of_every(shares[0].step, "trials")
    if shares[0].conditional:
        yield Note("A setting that has a condition is judged among the trials in which it varies.")

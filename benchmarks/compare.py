"""`--compare FILE`: measures the models of a saved file again and says which became slower or faster.

The rule is in verdict.py.
"""

from collections.abc import Iterator, Sequence

from benchmarks.contender import CONTENDERS
from benchmarks.measure import FEWEST, contenders, measure
from benchmarks.models import ALL
from benchmarks.printing import Rows, geometric_mean
from benchmarks.saved import Saved, SavedFault
from benchmarks.settings import Settings
from benchmarks.verdict import Verdict, change, time_of, verdict

_SWEEPS = 2
Key = tuple[str, int, str]  # a model's name, the number of threads, a contender's name
Sweeps = dict[Key, list[list[float]]]  # the rounds of each sweep


def compare(before: Saved, settings: Settings) -> bool:
    """Prints a row for each model, number of threads and contender of the file. Returns whether netc is slower.

    All models are measured in two sweeps, with new processes in each; what then looks changed is measured once more.
    With `save`, the new rounds are written to a file. Raises SavedFault if the file has nothing of what is selected.
    """
    now = Saved.here()
    for line in differences(before, now):
        print(line)
    keys = _keys(before, settings)
    if not keys:
        raise SavedFault("the file has no times of these models, threads and contenders")
    sweeps: Sweeps = {key: [] for key in keys}
    for number in range(_SWEEPS):
        print(f"sweep {number + 1} of {_SWEEPS}: {len(keys)} to measure", flush=True)
        _sweep(keys, settings, now, sweeps)
    changed = [key for key in keys if verdict(before.rounds(*key), sweeps[key]) is not Verdict.SAME]
    if changed:
        print(f"one more sweep: {len(changed)} look changed", flush=True)
        _sweep(changed, settings, now, sweeps)
    return report(before, sweeps)


def differences(before: Saved, now: Saved) -> Iterator[str]:
    """Other differences from the time when the file was written, which may be the cause of a changed time."""
    yield f"before: {before.date}; now: {now.date}"
    for key in sorted(before.machine.keys() | now.machine.keys()):
        old, new = before.machine.get(key), now.machine.get(key)
        if old != new:
            yield f"another machine: {key} was {old} and is {new}"
    for package in sorted(before.versions.keys() | now.versions.keys()):
        if before.versions.get(package) != now.versions.get(package):
            yield f"{package}: {before.versions.get(package, 'none')} before, {now.versions.get(package, 'none')} now"


def _keys(before: Saved, settings: Settings) -> list[Key]:
    """The rows of the file that the settings select, in the order of the models."""
    return [
        (model.name, threads, name)
        for threads in settings.threads
        for model in settings.selected()
        for name in CONTENDERS
        if name in settings.contenders and before.rounds(model.name, threads, name)
    ]


def _sweep(keys: Sequence[Key], settings: Settings, now: Saved, sweeps: Sweeps) -> None:
    """Measures each of the keys, in new processes, and adds the rounds to `sweeps` and `now`."""
    names_of: dict[tuple[str, int], list[str]] = {}
    for model, threads, name in keys:
        names_of.setdefault((model, threads), []).append(name)
    for threads in dict.fromkeys(threads for _, threads in names_of):
        asked = {"netc", *(name for _, number, name in keys if number == threads)}
        with contenders(asked, threads) as processes:
            for model in (model for model, number in names_of if number == threads):
                names = names_of[model, threads]
                chosen = [process for process in processes if process.name in ("netc", *names)]
                measured = measure(chosen, ALL[model], max(FEWEST, settings.rounds // _SWEEPS), settings.limit)
                now.add(model, threads, measured)
                if settings.save is not None:
                    now.write(settings.save)
                for name in measured.seconds.keys() & names:
                    sweeps[model, threads, name].append(measured.seconds[name])


def report(before: Saved, sweeps: Sweeps) -> bool:
    """Prints the verdicts, and the geometric mean of netc's changes. Returns whether netc is slower anywhere."""
    heads = ["model", "threads", "contender", "before, us", "now, us", "now / before", "within the noise", ""]
    rows = Rows(heads, max((len(model) for model, _, _ in sweeps), default=0), 13)
    is_slower, ratios = False, []
    for (model, threads, name), parts in sweeps.items():
        if not parts:  # left out for its time
            continue
        old, new = before.rounds(model, threads, name), [seconds for part in parts for seconds in part]
        result, so = change(old, new), verdict(old, parts)
        interval = f"{result.low:.3f} to {result.high:.3f}"
        times = (f"{time_of(old) * 1e6:.1f}", f"{time_of(new) * 1e6:.1f}", f"{result.ratio:.3f}")
        rows.add([model, str(threads), name, *times, interval, so.value])
        if name == "netc":
            is_slower |= so is Verdict.SLOWER
            ratios.append(result.ratio)
    if ratios:
        print(f"geometric mean of netc's now / before, {len(ratios)} rows: {geometric_mean(ratios):.3f}")
    return is_slower

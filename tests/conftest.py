"""Fixtures for all tests.

The environment does not depend on the user, one kernel cache serves the whole run, and `--update-golden` rewrites
golden files.
"""

import collections
import gc
import os
import signal
import tempfile
from pathlib import Path

import pytest

_CACHE = Path(tempfile.gettempdir()) / f"netc-tests-{os.getuid()}"
os.environ["NETC_CACHE"] = str(_CACHE)
os.environ["PYTHONIOENCODING"] = "utf-8"  # for the commands that tests start, whatever the locale is
os.environ["COLUMNS"] = "100"
for _name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TERMINAL_WIDTH", "XDG_CACHE_HOME"):
    os.environ.pop(_name, None)  # with these, typer writes colours and wraps lines where no terminal is
# or each command that tests start in a process of its own would compile netc's 300 modules anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# NETC_TARGET stays: CI runs a part of the suite for another target than the host
os.environ["NETC_DEBUG"] = "1"  # temporary memory is filled with NaN bytes before each step
for _number in (signal.SIGINT, signal.SIGHUP):
    # a background job ignores SIGINT, and so would the commands that tests start
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
_WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if _WORKER is not None and hasattr(os, "sched_setaffinity"):
    # one core for each worker: its threads, compilers and commands do not disturb those of the other worker
    _CORES = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {_CORES[int(_WORKER.removeprefix("gw")) % len(_CORES)]})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Rewrite the golden files from what netc says now.")
    parser.addoption(
        "--long", action="store_true", help="Fuzz and kill as often as the issues ask, not as CI has time for."
    )
    parser.addoption("--programs", type=int, default=0, help="How many programs tests/programs generates.")
    parser.addoption("--seed", type=int, default=0, help="The seed of the first of them; the others follow it.")


@pytest.fixture(autouse=True)
def _workers_share_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is divided among all workers.

    Without this, netc runs a step as small as most in the tests on one worker.
    """
    monkeypatch.setattr("netc.runtime.execution.prepared._WORTH_SHARING", 0)


@pytest.fixture(autouse=True)
def _plugins_end_with_their_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with plug-ins does not save predictions, so those of a test must not be left to the next one."""
    from netc.runtime import plugins

    monkeypatch.setattr(plugins, "_named", [*plugins._named])
    monkeypatch.setattr(plugins, "_added", [*plugins._added])
    monkeypatch.setattr(plugins, "_origin", {**plugins._origin})


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether `--long` was given."""
    return bool(request.config.getoption("--long"))


def pytest_configure(config: pytest.Config) -> None:
    import short_bounds

    short_bounds.measure_once()
    config.addinivalue_line("markers", "every(n): without --long, run each n-th case of this test alone")
    config.addinivalue_line("markers", "long: without --long, leave this case out")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--long`, leaves out cases that are marked `long`, and some of those of tests that are marked `every`."""
    if config.getoption("--long"):
        return
    seen: collections.Counter[str] = collections.Counter()
    chosen, left_out = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        marker = item.get_closest_marker("every")
        name = item.nodeid.partition("[")[0]
        is_chosen = item.get_closest_marker("long") is None and (marker is None or seen[name] % marker.args[0] == 0)
        (chosen if is_chosen else left_out).append(item)
        seen[name] += 1
    items[:] = chosen
    config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leaves out modules and tests, which all stay, when Python looks for garbage: that took 8% of the tests' time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def backend(request: pytest.FixtureRequest, is_long: bool) -> str:
    """Machine code for every fourth case of a test, and for all with `--long`.

    The other cases run the plan in the emulator, which saves the time of compilation.
    """
    number = sum(request.node.callspec.indices.values())
    return "cpu" if is_long or number % 4 == 0 else "plan"


@pytest.fixture
def golden(request: pytest.FixtureRequest):
    """Compares a text with a golden file: `golden(path, text)`. `--update-golden` writes the file."""

    def check(path: Path, text: str) -> None:
        assert text.strip(), f"there is nothing to compare with {path}"
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing: pytest --update-golden writes it"
        assert text == path.read_text(encoding="utf-8")

    return check

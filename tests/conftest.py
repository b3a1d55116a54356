"""What all tests share: one kernel cache for the whole run, `--update-golden`, and how a graph is run both ways."""

import os
import tempfile
from pathlib import Path

import pytest

os.environ["NETC_CACHE"] = str(Path(tempfile.gettempdir()) / f"netc-tests-{os.getuid()}")
os.environ["NETC_DEBUG"] = "1"  # temporary memory is filled with NaN bytes before each step
_WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if _WORKER is not None and hasattr(os, "sched_setaffinity"):
    # a core each: what tests start, threads and compilers and commands, does not stand in the way of the other worker's
    _CORES = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {_CORES[int(_WORKER.removeprefix("gw")) % len(_CORES)]})
EXAMPLES = Path(__file__).parent.parent / "examples"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Rewrite the golden files from what netc says now.")
    parser.addoption(
        "--long", action="store_true", help="Fuzz and kill as often as the issues ask, not as CI has time for."
    )


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether there is time."""
    return bool(request.config.getoption("--long"))


@pytest.fixture
def golden(request: pytest.FixtureRequest):
    """golden(path, text): the text must be what the file holds; `--update-golden` writes it."""

    def check(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing: pytest --update-golden writes it"
        assert text == path.read_text(encoding="utf-8")

    return check

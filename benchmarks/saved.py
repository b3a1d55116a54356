"""The file that `--save` writes: where, when and with what was measured, and the seconds of every round, as JSON."""

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.measure import Measured

_FORMAT = 1
_PACKAGES = ("netc", "numba", "llvmlite", "numpy", "torch", "jax", "jaxlib")


class SavedFault(ValueError):
    """A file is not one that `--save` wrote."""


@dataclass
class Saved:
    """The results of one run. `results` maps the name of a model and the number of threads to what was measured.

    `machine` describes the CPU, `versions` the packages that are installed. Seconds are those of a training step.
    """

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    results: dict[tuple[str, int], Measured] = field(default_factory=dict)

    @classmethod
    def here(cls) -> "Saved":
        """An empty record of this machine, now."""
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), machine(), versions())

    def headline(self) -> str:
        """When, where and with what was measured, as one line for people."""
        machine = self.machine
        cpu = (
            f"{machine['cpu']} ({machine['llvm']}), {machine['cores']} cores, second cache {machine['second_cache']:,}"
        )
        installed = ", ".join(f"{package} {number}" for package, number in self.versions.items())
        return f"{self.date[:10]}, {cpu} bytes, {installed}"

    def rounds(self, model: str, threads: int, contender: str) -> list[float]:
        """The seconds per step of each round; none if that was not measured."""
        measured = self.results.get((model, threads))
        return measured.seconds.get(contender, []) if measured else []

    def add(self, model: str, threads: int, measured: Measured) -> None:
        """Adds what was measured to what there is of the model."""
        before = self.results.setdefault((model, threads), Measured(measured.flops))
        for name, rounds in measured.seconds.items():
            before.seconds.setdefault(name, []).extend(rounds)
        before.left_out |= measured.left_out

    def write(self, path: Path) -> None:
        """Writes the file beside the old one and renames it, so that a run that ends early leaves what it measured."""
        results = [
            {"model": model, "threads": threads, **asdict(measured)}
            for (model, threads), measured in self.results.items()
        ]
        text = json.dumps(
            {
                "format": _FORMAT,
                "date": self.date,
                "machine": self.machine,
                "versions": self.versions,
                "results": results,
            },
            indent=1,
        )
        beside = path.with_name(f"{path.name}.tmp")
        beside.write_text(text + "\n", encoding="utf-8")
        os.replace(beside, path)

    @classmethod
    def read(cls, path: Path) -> "Saved":
        """Reads a file. Raises SavedFault if there is none, or if `--save` did not write it."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise SavedFault(f"{path} has the format {content['format']}, and this version reads {_FORMAT}")
            return cls(content["date"], content["machine"], content["versions"], dict(_results(content["results"])))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, SavedFault):
                raise
            raise SavedFault(f"{path} is not a file of `python -m benchmarks --save`: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Why a file is none that `--save` wrote, in words."""
    match error:
        case OSError():
            return (error.strerror or str(error)).lower()
        case json.JSONDecodeError():
            return f"it is not JSON, at line {error.lineno}"
        case UnicodeDecodeError():
            return "it is not text"
        case KeyError():
            return f"it has no `{error.args[0]}`"
        case ValueError():
            return str(error)
    return "it has other parts"


def _results(entries: Any) -> Iterator[tuple[tuple[str, int], Measured]]:
    """The results of a file. Raises ValueError for times that are not positive numbers."""
    for entry in entries:
        for times in entry["seconds"].values():
            if not times or not all(isinstance(seconds, float) and seconds > 0 for seconds in times):
                raise ValueError(f"the times of {entry['model']} are {times}")
        yield (
            (entry["model"], int(entry["threads"])),
            Measured(int(entry["flops"]), entry["seconds"], entry["left_out"]),
        )


def machine() -> dict[str, Any]:
    """The properties of this machine that decide its speed, as far as the system reports them."""
    from netc.compiler.targets.machine import host

    target = host()
    return {
        "cpu": _cpu(),
        "llvm": target.cpu,
        "features": sorted(part[1:] for part in target.features.split(",") if part.startswith("+")),
        "first_cache": target.first_cache,
        "second_cache": target.second_cache,
        "cores": target.cores,
        "system": platform.platform(),
    }


def _cpu() -> str:
    """The CPU's name: from /proc/cpuinfo on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that are installed."""
    installed = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed

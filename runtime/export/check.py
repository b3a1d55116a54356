"""Checks that an exported file predicts what its run predicts, on the same synthetic samples.

A Python file runs in a process of its own (separate.py), an ONNX file in onnxruntime, if that is installed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from netc.compiler.export.exportable import Exported
from netc.dsl.storage.files import reason
from netc.runtime.export.samples import column_samples, from_padded, padded, samples_of
from netc.runtime.export.separate import Failed, NotRun, predict_separately
from netc.runtime.runs.run import Run

SAMPLES = 17
_TOLERANCE = {"f32": 1e-2, "f64": 1e-6, "bf16": 5e-2}  # beyond any rounding; a thousandth of it is usual


class Checked(Struct, frozen=True):
    """The outcome, in words for the user, and whether the file must not be used."""

    text: str
    is_wrong: bool = False


def checked(run: Run, asked: Exported, path: Path) -> Checked:
    """Compares the predictions of an exported file with those of the run."""
    if asked.raw:
        raw, prepared = column_samples(run, asked, SAMPLES)
    else:
        raw, prepared = samples_of(run, asked.inputs, SAMPLES)
    of_run = run.predict_prepared(prepared, outputs=[*asked.outputs])
    try:
        exported = _of_python(asked, path, raw, of_run) if path.suffix == ".py" else _of_onnx(asked, path, raw)
    except Failed as error:
        return Checked(str(error), is_wrong=True)
    except NotRun as error:
        return Checked(f"not checked: {error}")
    apart = max(difference(of_run[name], exported[name]) for name in asked.outputs)
    compared = f"checked on {SAMPLES} synthetic samples: "
    if apart == np.inf:
        why = "NaN, infinite or of another shape where the run has a number, or the reverse"
        return Checked(f"{compared}it is not what the run says: {why}", is_wrong=True)
    without = sum(_count_not_finite(of_run[name]) for name in asked.outputs)
    note = f"; {without:,} of the run's numbers are NaN or infinite, and the file's are the same" if without else ""
    text = f"{compared}at most {apart:.1g} from what the run says{note}"
    return Checked(text, is_wrong=apart > _TOLERANCE[run.model.train.precision])


def _of_python(asked: Exported, path: Path, raw: Mapping[str, Any], of_run: Mapping[str, Any]) -> dict[str, Any]:
    return predict_separately(path, [*raw.values()], {name: isinstance(of_run[name], list) for name in asked.outputs})


def _of_onnx(asked: Exported, path: Path, raw: Mapping[str, Any]) -> dict[str, Any]:
    try:
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Missing
    except ImportError:
        raise NotRun("onnxruntime is not installed") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    fields = padded(asked, raw)
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        answers = session.run(None, fields)
    except Missing as error:
        raise NotRun(str(error).rpartition(": ")[2]) from None
    except Exception as error:  # its exceptions have no class in common
        raise Failed(f"onnxruntime refuses it: {reason(error)}") from error
    return from_padded(dict(zip(names, answers, strict=True)), asked, fields)


def difference(of_run: Any, exported: Any) -> float:
    """The largest difference between two outputs, relative to the largest number if that is above 1.

    NaN equals NaN, and an infinity equals itself; they differ from any other number, and outputs of different shapes
    differ, by infinity.
    """
    pairs = [*zip(of_run, exported, strict=False)] if isinstance(of_run, list) else [(of_run, exported)]
    is_other = isinstance(of_run, list) and len(of_run) != len(exported)
    if is_other or any(np.shape(left) != np.shape(right) for left, right in pairs):
        return np.inf
    left, right = (np.concatenate([np.ravel(part[i]).astype(np.float64) for part in pairs]) for i in (0, 1))
    is_same = (left == right) | (np.isnan(left) & np.isnan(right))
    is_finite = np.isfinite(left) & np.isfinite(right)
    if not (is_same | is_finite).all():
        return np.inf
    left, right = left[is_finite], right[is_finite]
    return float(np.max(np.abs(left - right), initial=0.0) / np.max(np.abs(left), initial=1.0))


def _count_not_finite(of_run: Any) -> int:
    parts = of_run if isinstance(of_run, list) else [of_run]
    return sum(int((~np.isfinite(np.asarray(part, np.float64))).sum()) for part in parts)

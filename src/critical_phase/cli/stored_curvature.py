"""Fisher traces and sharpness of a run, as `probe curvature` wrote them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from critical_phase.analysis.updates.curvature_series import CurvatureSeries, Twin
from critical_phase.cli.stored_steps import StoredSteps, as_float

SAME = ("draws", "samples", "products", "tolerance", "seed", "plan_sha256", "examples_sha256",
        "base_sha256", "compute_dtype")  # fmt: skip
"""What all files of one series have in common."""

STORED = StoredSteps("curvature", "curvature", "measured at", SAME)


def read_curvature(run: Path, head: str) -> CurvatureSeries | None:
    """Read what was measured of a head; None where nothing was.

    Raises:
        StoreError: A file is damaged, or files were made in different ways.
    """
    return STORED.series(run, head, _series)


def check_curvature(run: Path, head: str, saved: Mapping[int, str]) -> None:
    """Refuse files that were measured at adapters which are no longer the saved ones."""
    STORED.check_saved(run, head, saved)


def _series(found: Sequence[Mapping[str, Any]], twin: Mapping[str, Any] | None) -> CurvatureSeries:
    """Put the files of a head together."""
    first, samples = found[0], int(found[0]["key"]["samples"])
    if any((one["questions"], one["modules"]) != (first["questions"], first["modules"])
           for one in found):  # fmt: skip
        raise ValueError("files name different questions or modules")
    return CurvatureSeries(
        np.array([one["step"] for one in found], dtype=np.int64),
        tuple(str(name) for name in first["questions"]),
        tuple(str(name) for name in first["modules"]),
        _stack(found, "fisher"),
        _stack(found, "fisher_modules"),
        _stack(found, "fisher_draws"),
        _stack(found, "true_answer"),
        _tops(found, "sharpness", samples, "value"),
        _tops(found, "sharpness", samples, "residual"),
        _tops(found, "preconditioned", samples, "value"),
        _tops(found, "preconditioned", samples, "residual"),
        {name: first["key"][name] for name in SAME if not name.endswith("sha256")},
        None if twin is None else _twin(twin, samples),
    )


def _twin(twin: Mapping[str, Any], samples: int) -> Twin:
    return Twin(
        int(twin["step"]),
        np.array(twin["fisher"], dtype=np.float64),
        _tops([twin], "sharpness", samples, "value")[0],
    )


def _stack(found: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([one[name] for one in found], dtype=np.float64)


def _tops(found: Sequence[Mapping[str, Any]], name: str, samples: int, part: str) -> np.ndarray:
    """Return one number of every search, NaN where nothing was looked for."""
    rows = [one[name] or [{part: None}] * samples for one in found]
    table = [[as_float(search[part]) for search in row] for row in rows]
    return np.array(table, dtype=np.float64).reshape(len(found), samples)

"""Learning coefficients of a run, as `probe llc` wrote them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from critical_phase.analysis.updates.llc_series import LlcSeries
from critical_phase.cli.stored_steps import StoredSteps, as_float

SETTINGS = "settings.json"
SAME = ("lr", "gamma", "sampled", "method", "beta", "burn_in", "draws", "chains", "batch", "seed",
        "examples_sha256", "base_sha256")  # fmt: skip
"""What all files of one series have in common."""

STORED = StoredSteps("llc", "learning coefficients", "sampled around", SAME)


def read_llc(run: Path, head: str) -> LlcSeries | None:
    """Read what was sampled of a head; None where nothing was.

    Raises:
        StoreError: A file is damaged, or files were sampled in different ways.
    """
    settings = run / STORED.folder / head / SETTINGS
    return STORED.series(run, head, lambda found, twin: _series(STORED.read(settings), found, twin))


def check_llc(run: Path, head: str, saved: Mapping[int, str]) -> None:
    """Refuse files that were sampled around adapters which are no longer the saved ones."""
    STORED.check_saved(run, head, saved)


def _series(
    settled: dict[str, Any], found: list[dict[str, Any]], twin: dict[str, Any] | None
) -> LlcSeries:
    """Put the files of a head together."""
    chains = [one["chains"] for one in found]
    norms = np.array([one["norm"] or np.nan for one in found], dtype=np.float64)
    known = settled["quadratic"]
    broke = [[-1 if c["failed_at"] is None else c["failed_at"] for c in row] for row in chains]
    return LlcSeries(
        np.array([one["step"] for one in found], dtype=np.int64),
        _column(chains, "llc"),
        np.stack([_column(chains, "first_half"), _column(chains, "second_half")]),
        np.array(broke, dtype=np.int64),
        _column(chains, "distance") / norms[:, None],
        np.array([as_float(one["loss"]) for one in found]),
        np.array([as_float(one["gradient_norm"]) for one in found]),
        _settings(settled, found[0]["key"]),
        None if twin is None else (int(twin["step"]), _column([twin["chains"]], "llc")[0]),
        (float(known["known"]), _column([known["chains"]], "llc")[0]),
        tuple(
            {name: cell[name] for name in ("reach", "pace", "lr", "gamma", "llc")}
            for cell in (settled["sweep"] or {}).get("cells", ())
        ),
    )


def _settings(settled: dict[str, Any], key: dict[str, Any]) -> dict[str, Any]:
    """Return how the series was sampled, for the page."""
    chosen = {name: key[name] for name in SAME if not name.endswith("sha256")}
    chosen |= {name: settled[name] for name in ("n", "n_beta", "parameters")}
    swept = settled["sweep"] is not None
    return chosen | {
        "reference_step": settled["key"]["reference_step"],
        "plateau": settled["sweep"]["plateau"] if swept else True,
        "chosen_by": "sweep" if swept else "given",
    }


def _column(rows: list[list[dict[str, Any]]], name: str) -> np.ndarray:
    """Return one number of every chain, NaN where it is null."""
    return np.array([[as_float(chain[name]) for chain in row] for row in rows], dtype=np.float64)

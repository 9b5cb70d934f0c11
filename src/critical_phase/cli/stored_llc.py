"""Learning coefficients of a run, as `probe llc` wrote them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from critical_phase.analysis.llc_series import LlcSeries
from critical_phase.errors import StoreError

FOLDER, SETTINGS = "llc", "settings.json"
SAME = ("lr", "gamma", "sampled", "method", "beta", "burn_in", "draws", "chains", "batch", "seed",
        "examples_sha256", "base_sha256")  # fmt: skip
"""What all files of one series have in common."""


def read_llc(run: Path, head: str) -> LlcSeries | None:
    """Read what was sampled of a head; None where nothing was.

    Raises:
        StoreError: A file is damaged, or files were sampled in different ways.
    """
    folder = run / FOLDER / head
    paths = sorted(folder.glob("step-????????.json"))
    if not paths:
        return None
    settled = _read(folder / SETTINGS)
    found = [_read(path) for path in paths]
    twins = sorted(folder.glob("random-step-????????.json"))
    try:
        _check(paths, found)
        return _series(settled, found, _read(twins[-1]) if twins else None)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged(folder, repr(error), head) from error


def check_llc(run: Path, head: str, saved: Mapping[int, str]) -> None:
    """Refuse files that were sampled around adapters which are no longer the saved ones.

    Args:
        run: Run folder.
        head: Trained head.
        saved: Hash of the saved adapter by step.

    Raises:
        StoreError: Names the first such file.
    """
    for path in sorted((run / FOLDER / head).glob("step-????????.json")):
        step, made_from = int(path.stem.removeprefix("step-")), _read(path).get("key", {})
        if saved.get(step, made_from.get("adapter_sha256")) != made_from.get("adapter_sha256"):
            raise StoreError(
                "this file was sampled around another adapter than the one saved now",
                where=str(path),
                fix=f"probe llc {run} --head {head} --overwrite",
            )


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
        np.array([_float(one["loss"]) for one in found]),
        np.array([_float(one["gradient_norm"]) for one in found]),
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


def _check(paths: list[Path], found: list[dict[str, Any]]) -> None:
    """Refuse files of one head that were sampled in different ways."""
    first = found[0]["key"]
    for path, one in zip(paths, found, strict=True):
        odd = [name for name in SAME if one["key"][name] != first[name]]
        if odd:
            raise StoreError(
                f"{odd[0]} is {one['key'][odd[0]]!r} here and {first[odd[0]]!r} in {paths[0].name}",
                where=str(path),
                fix="probe llc RUN --overwrite with the checkpoints of all of them",
            )


def _column(rows: list[list[dict[str, Any]]], name: str) -> np.ndarray:
    """Return one number of every chain, NaN where it is null."""
    return np.array([[_float(chain[name]) for chain in row] for row in rows], dtype=np.float64)


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error), path.parent.name) from error
    if not isinstance(value, dict):
        raise _damaged(path, "it holds no JSON object", path.parent.name)
    return value


def _damaged(path: Path, why: str, head: str) -> StoreError:
    return StoreError(
        f"cannot read the learning coefficients: {why}",
        where=str(path),
        fix=f"probe llc RUN --head {head} --overwrite",
    )

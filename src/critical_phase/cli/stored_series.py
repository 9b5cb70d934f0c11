"""The saved adapters or weights of a run's heads, wherever they lie, beside what was collected."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from critical_phase.checkpoints import (
    Checkpoint,
    Series,
    factors_on_demand,
    has_factors,
    low_rank_factors,
)
from critical_phase.checkpoints.folders import WEIGHTS
from critical_phase.cli.run_folder import RunFolder, elsewhere_of
from critical_phase.errors import CheckpointError

Factors = Mapping[str, tuple[np.ndarray, np.ndarray, float]]

HELD_BYTES = 1 << 28
"""Size of all adapters of a head up to which they are read at once and held."""


def stored_series(run: RunFolder, heads: Sequence[str]) -> tuple[dict[str, Series], list[str]]:
    """List the checkpoints of heads, and say which of those made elsewhere are gone."""
    elsewhere, found, gone = elsewhere_of(run), {}, []
    for head in heads:
        if run.head(head).is_dir():
            found[head] = run.series(head)
        elif head in elsewhere:
            try:
                found[head] = _noted(elsewhere[head]) or run.series(head)
            except CheckpointError as error:
                gone.append(f"{head}: weights are left out, {error.args[0]}")
    return found, gone


def not_collected(saved: Mapping[str, Series], collected: Mapping[str, Sequence[int]]) -> list[str]:
    """Name the steps of each head that have an adapter and no scores."""
    found = []
    for head, series in saved.items():
        missing = [str(s) for s in series.steps if s not in collected[head]]
        if missing:
            found.append(
                f"{head}: {len(missing)} of {len(series.steps)} saved steps were not collected"
                f" ({', '.join(missing[:8])}{', ...' if missing[8:] else ''})"
            )
    return found


def factors_at(series: Series, steps: Sequence[int]) -> Sequence[Factors]:
    """Return (A, B, scaling) by module at each step; empty where one has no factors.

    Of a large series each module is read when it is asked for: take one module at all steps.
    """
    saved = {item.step: item for item in series.checkpoints}
    chosen = [saved[step] for step in steps if step in saved]
    if len(chosen) != len(steps) or not all(map(has_factors, chosen)):
        return []
    files = [path for item in chosen if (path := item.path / WEIGHTS).is_file()]
    if sum(path.stat().st_size for path in files) > HELD_BYTES:
        return factors_on_demand(chosen)
    return [low_rank_factors(item) for item in chosen]


def _noted(entry: Mapping[str, Any]) -> Series | None:
    """Return full weights as they were when they were collected; hashing them takes long."""
    if entry["kind"] != "full":
        return None
    noted = {int(step): value for step, value in entry["checkpoints"].items()}
    return Series(
        tuple(
            Checkpoint(step, Path(noted[step]["path"]), noted[step]["sha256"], "full")
            for step in sorted(noted)
        ),
        (),
    )

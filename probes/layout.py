"""Decide once per model and plan whether rows may share their question.

Some families go wrong on packed rows without a word (ALiBi, windows counted in slots),
so the packed layout is compared with single rows before it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from critical_phase.errors import ConfigError
from critical_phase.probes.batches import Batch, Layout, Packer
from critical_phase.probes.collector import Scene
from critical_phase.probes.forward import (
    allocate,
    attached,
    one_pass,
    read_stem,
    refuse_short_memory,
)
from critical_phase.probes.plan import POSITIONS, Plan
from critical_phase.probes.residual import Residual
from critical_phase.probes.scoring import Scorer

TOLERANCES = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest difference over largest value that two layouts may show."""
_REFUSALS = (RuntimeError, ValueError, IndexError, TypeError, KeyError, AttributeError)
"""What families raise on masks, positions or caches that they do not know."""


@dataclass(frozen=True, slots=True)
class LayoutChoice:
    """Which layout is used, and why."""

    layout: Layout
    reason: str
    """One sentence for the file."""
    difference: float
    """Largest relative difference of packed against single rows; NaN when not measured."""


@torch.no_grad()
def choose_layout(
    scene: Scene, packed: Packer, naive: Packer, *, asked: str = "auto"
) -> LayoutChoice:
    """Compare packed rows with single rows on the longest and the shortest question.

    The residual of the last token of the last candidate is where window errors start;
    it is among what is compared, at every layer, with the log-probabilities.

    Args:
        scene: The model and the plan.
        packed: Batches in the packed layout.
        naive: Batches in the naive layout.
        asked: `auto`, `packed` (refuse when it is not exact) or `naive`.

    Raises:
        ConfigError: `packed` was asked for and is not exact for this model.
    """
    if asked == "naive":
        return LayoutChoice("naive", "naive rows were asked for", float("nan"))
    tolerance = TOLERANCES.get(scene.model.dtype, 1e-4)  # type: ignore[call-overload]
    try:
        difference = _difference(scene, packed, naive)
    except (*_REFUSALS, MemoryError) as error:
        refuse_short_memory(error)
        reason = f"packed rows raise {type(error).__name__} in this model"
        difference = float("inf")
    else:
        reason = f"packed and single rows differ by {difference:.1e} (limit {tolerance:.0e})"
    if difference <= tolerance:
        return LayoutChoice("packed", reason, difference)
    if asked == "packed":
        raise ConfigError(
            f"this model cannot read packed rows: {reason}", fix="use the layout auto or naive"
        )
    return LayoutChoice("naive", reason, difference)


@torch.no_grad()
def choose_score_layout(
    scene: Scene, offers: Sequence[Packer], naive: Packer, *, asked: str = "auto"
) -> tuple[Packer, LayoutChoice]:
    """Take the first layout whose scores are those of single rows, for scores alone.

    Args:
        scene: The model and the plan.
        offers: Batches in each layout, the quickest first.
        naive: Single rows.
        asked: `auto`, or the one layout that is wanted.

    Raises:
        ConfigError: The layout that was asked for is not exact for this model.
    """
    if asked == "naive":
        return naive, LayoutChoice("naive", "naive rows were asked for", float("nan"))
    tolerance = TOLERANCES.get(scene.model.dtype, 1e-4)  # type: ignore[call-overload]
    questions = gate_questions(scene.plan)
    # The last candidate comes after all others, so what leaks between them reaches it.
    rows = sorted({scene.plan.rows_of[q][end] for q in questions for end in (0, -1)})
    alone = [batch for batch in naive.alone(questions) if batch.rows[0] in rows]
    reference = _scores(scene, naive, alone)[:, rows]
    reasons, difference = [], float("inf")
    for packer in offers:
        name = packer.layout + (f" after {packer.shared} shared tokens" if packer.shared else "")
        try:
            ours = _scores(scene, packer, packer.few(questions))[:, rows]
        except (*_REFUSALS, MemoryError) as error:
            refuse_short_memory(error)
            reasons.append(f"{name}: {type(error).__name__} in this model")
            continue
        gaps = np.abs(ours - reference) / np.maximum(np.abs(reference), 1.0)
        difference = float(gaps.max()) if np.isfinite(gaps).all() else float("inf")
        reasons.append(
            f"{name}: scores differ from single rows by {difference:.1e} (limit {tolerance:.0e})"
        )
        if difference <= tolerance:
            return packer, LayoutChoice(packer.layout, "; ".join(reasons), difference)
    if asked != "auto":
        raise ConfigError(
            f"this model cannot read {asked} rows: {'; '.join(reasons)}",
            fix="use the layout auto or naive",
        )
    return naive, LayoutChoice("naive", "; ".join(reasons), difference)


def gate_questions(plan: Plan) -> list[int]:
    """Return the question with the longest packed line and the one with the shortest."""
    sizes = [
        len(prompt) + int(plan.tokens[list(rows)].sum())
        for prompt, rows in zip(plan.prompts, plan.rows_of, strict=True)
    ]
    return sorted({int(np.argmax(sizes)), int(np.argmin(sizes))})


def _difference(scene: Scene, packed: Packer, naive: Packer) -> float:
    questions = gate_questions(scene.plan)
    together = _read(scene, [packed.only(questions)])
    alone = _read(scene, list(naive.alone(questions)))
    rows = [row for question in questions for row in scene.plan.rows_of[question]]
    worst = 0.0
    for ours, reference in zip(together, alone, strict=True):
        a, b = ours[..., rows, :, :].float(), reference[..., rows, :, :].float()
        scale = b.abs().amax(dim=(-1, -2, -3)).clamp(min=1e-6)
        gap = ((a - b).abs().amax(dim=(-1, -2, -3)) / scale).max()
        worst = max(worst, float(gap) if bool(torch.isfinite(gap)) else float("inf"))
    return worst


def _read(scene: Scene, batches: list[Batch]) -> tuple[Tensor, Tensor]:
    """Return residuals [layer, row, position, d] and scores [row, 1, 1] of a few batches."""
    plain = replace(scene, positions=POSITIONS, residual_sites=("pre", "post"))
    residual, scorer = Residual(plain), Scorer(scene.sites.unembed, scene.plan.rows)
    sizes = {
        "layer": scene.sites.layers + 1,
        "row": scene.plan.rows,
        "position": 2,
        "d_model": scene.d_model,
    }
    arrays: dict[str, Any] = allocate([residual], sizes)
    with attached([scorer, residual]):
        for batch in batches:
            one_pass(scene.model, batch, scorer, [residual], arrays)
    return arrays["residual"], torch.from_numpy(scorer.scores.logprob_sum)[:, None, None]


def _scores(scene: Scene, packer: Packer, batches: list[Batch]) -> np.ndarray:
    """Return the sums and the first tokens [2, row] of a few batches."""
    scorer = Scorer(scene.sites.unembed, scene.plan.rows)
    with attached([scorer]):
        stem = read_stem(scene.model, packer)
        for batch in batches:
            one_pass(scene.model, batch, scorer, [], {}, stem)
    return np.stack([scorer.scores.logprob_sum, scorer.scores.first_token_logprob])

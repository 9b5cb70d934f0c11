"""Scores after other texts, a second task, and side effects of planted worlds."""

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.planted.planted_arrays import progress, rows_of

SECOND = "second"
"""Name under which the scores of another task are stored."""

NOISE_SCALE = 20.0
"""Planted ratio of the gradient's noise to its squared norm."""


def contexts_of(
    names: tuple[str, ...],
    rows: Rows,
    steps: int,
    tables: dict[str, np.ndarray],
    heads: tuple[str, ...],
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], dict[str, Rows]]:
    """Draw scores in contexts: demonstrations keep what the question gives, the rest lose it."""
    found, known = {}, {}
    for name in names:
        here = rows_of(40, 2, rng) if name == SECOND else rows
        known[name] = here
        size = here.question.size
        base = rng.normal(-22, 0.5, size)
        keeps = name.startswith("shots-")
        found[f"context/{name}/base"] = tables["scores/base"] if keeps else base
        for head in heads:
            wander = np.cumsum(rng.normal(0, 0.02, (steps, size)), axis=0)
            wander[0] = 0.0
            own = tables[f"scores/{head}"] if keeps else base
            found[f"context/{name}/{head}"] = own + wander
    return found, known


def effects_of(
    kind: str, heads: tuple[str, ...], questions: int, steps: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw divergence, likelihood of neutral text, and gradients of known noise scale."""
    tokens = rng.integers(20, 60, 12).astype(np.float64)
    plain = rng.normal(3.0, 0.2, 12)
    sums = (plain * tokens)[None]
    tables = {"effects/base/nll_text": sums, "effects/base/tokens_text": tokens[None]}
    for head in heads:
        moved = progress(kind, steps)[:, None] ** 2
        here = {
            "kl_text": 0.1 * moved * rng.gamma(4, 0.25, (steps, 12)),
            "kl_question": 0.4 * moved * rng.gamma(4, 0.25, (steps, questions)),
            "nll_text": sums + 0.05 * moved * tokens,
            "tokens_text": np.tile(tokens, (steps, 1)),
            **gradients_of(steps, 64, 200, rng),
        }
        for name in ("kl_text", "kl_question"):
            here[name][0] = 0.0
        tables |= {f"effects/{head}/{name}": table for name, table in here.items()}
    return tables


def gradients_of(
    steps: int, examples: int, width: int, rng: np.random.Generator
) -> dict[str, Float[np.ndarray, "step _item"]]:
    """Draw gradients with `NOISE_SCALE` and return the squared norms that are stored."""
    signal = np.ones(width) / np.sqrt(width)
    noise = rng.normal(size=(steps, examples, width)) * np.sqrt(NOISE_SCALE / width)
    gradients = signal + noise
    mean = gradients.mean(axis=1)
    return {
        "gradient_sq": (gradients**2).sum(axis=-1),
        "gradient_mean_sq": (mean**2).sum(axis=-1, keepdims=True),
    }

"""The arrays of planted worlds, one generator for each part of a run."""

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows

TAU = 0.5
"""Place of the planted change, as a share of the series."""


def progress(kind: str, steps: int) -> Float[np.ndarray, " step"]:
    """Return how far the planted change has come at each step, 0 to 1."""
    time = np.arange(steps) / (steps - 1)
    if kind == "flat":
        return np.zeros(steps)
    if kind == "mirage":
        return time
    if kind == "smooth":
        return np.asarray((1 - np.exp(-4 * time)) / (1 - np.exp(-4.0)))
    return np.asarray(1 / (1 + np.exp(-(time - TAU) * 2.5 * (steps - 1))))


def rows_of(questions: int, candidates: int, rng: np.random.Generator) -> Rows:
    """Number the rows and draw which candidate is right."""
    question = np.repeat(np.arange(questions), candidates)
    correct = np.zeros((questions, candidates), dtype=bool)
    correct[np.arange(questions), rng.integers(candidates, size=questions)] = True
    tokens = rng.integers(1, 5, size=question.size)
    return Rows(
        question,
        correct.ravel(),
        tokens * 5,
        tokens,
        tuple(f"q{i:04d}" for i in range(questions)),
        tuple(("north", "south")[i % 2] for i in range(questions)),
        tuple(f"answer {i}" for i in range(question.size)),
        tokens * 6,
    )


def scores_of(
    kind: str, rows: Rows, steps: int, heads: tuple[str, ...], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw scores: from step 1 each answer has its own shift; the planted gain comes on top."""
    if kind == "noise_floor":
        return _noisy_scores(rows, steps, heads, rng)
    size = rows.question.size
    base = rng.normal(-20, 0.5, size) + 0.3 * rows.correct
    taste = rng.normal(0, 0.7, size)
    tables = {"scores/base": base}
    for head in heads:
        planted = head == "negative" or len(heads) == 1
        gain = progress(kind, steps) if planted else np.zeros(steps)
        shift = taste * (0.3 if planted else 0.05) - 2.2 * gain[:, None] * (rows.correct - 0.25)
        wander = np.cumsum(rng.normal(0, 0.005, (steps, size)), axis=0)
        change = shift + wander
        change[0] = 0.0
        tables[f"scores/{head}"] = base + (change if head == "negative" else -change)
    return tables


NOISE = 0.02
"""Standard deviation of the noise of one score in the noise-floor world, in nats."""


def _noisy_scores(
    rows: Rows, steps: int, heads: tuple[str, ...], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw one direction that outgrows the noise, which is fresh at every checkpoint."""
    size = rows.question.size
    base = rng.normal(-20, 0.5, size) + 0.3 * rows.correct
    direction = rng.normal(0, 1, size) + 2 * rows.correct
    time = np.arange(steps) / (steps - 1)
    growth = NOISE * 10 ** (4 / (1 + np.exp(-24 * (time - TAU))) - 2)[:, None]
    tables = {"scores/base": base}
    for head in heads:
        planted = head == "negative" or len(heads) == 1
        change = planted * growth * direction + rng.normal(0, NOISE, (steps, size))
        change[0] = 0.0
        tables[f"scores/{head}"] = base + (-change if head == "negative" else change)
    return tables


def residual_of(
    kind: str,
    head: str,
    rows: Rows,
    steps: int,
    width: int,
    layers: tuple[int, ...],
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Draw residual streams with a constant shift or a label direction switched on."""
    size = rows.question.size
    gain = progress(kind, steps)[:, None, None]
    label = np.where(rows.correct, 1.0, -1.0)[None, :, None]
    base_rng = np.random.default_rng(7)
    tables = {}
    for layer in layers:
        topic = base_rng.normal(size=(rows.question[-1] + 1, width))[rows.question]
        still = topic + base_rng.normal(size=(size, width))
        direction, shift = base_rng.normal(size=(2, width)) / np.sqrt(width)
        if kind == "readout":
            still = still + 0.8 * label[0] * direction
        path = np.broadcast_to(still, (steps, size, width)).copy()
        path[1:] += np.cumsum(rng.normal(0, 0.02, (steps - 1, size, width)), axis=0)
        if layer >= 0 and kind in ("switch", "new_feature"):
            path += 2.5 * gain * label * direction
        if layer >= 0 and kind in ("switch", "constant_vector", "mirage", "smooth"):
            path += 4 * (gain - gain[0]) * shift
        tables[f"residual/{head}/{layer}"] = path.astype(np.float32)
    return tables


def attention_of(
    kind: str,
    head: str,
    rows: Rows,
    steps: int,
    blocks: int,
    attention_heads: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Draw attention rows; in a rerouting world the last head moves to the second key."""
    base_rng = np.random.default_rng(8)
    tables = {}
    for block in range(blocks):
        still = base_rng.normal(size=(rows.question.size, attention_heads, 8))
        still[..., 0] += 2
        logits = np.broadcast_to(still, (steps, *still.shape)).copy()
        logits[1:] += np.cumsum(rng.normal(0, 0.02, (steps - 1, *still.shape)), axis=0)
        if kind in ("switch", "rerouting") and block == blocks - 1:
            gain = progress(kind, steps)
            logits[:, :, -1, 1] += 4 * (gain - gain[0])[:, None]
        weights = np.exp(logits)
        weights /= weights.sum(axis=-1, keepdims=True)
        tables[f"attention/{head}/{block}"] = weights.astype(np.float32)
    return tables


def sparsity_of(
    head: str, rows: Rows, steps: int, blocks: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw sparsity metrics that only wander."""
    shape = (steps, blocks, rows.question.size)
    centres = {"hoyer": 0.4, "gini": 0.6, "pr": 0.2, "kurtosis": 5.0}
    wander = np.cumsum(rng.normal(0, 0.002, shape), axis=0)
    tables = {}
    for name, centre in centres.items():
        tables[f"sparsity/{head}/{name}"] = centre * (1 + wander)
        tables[f"sparsity/{head}/{name}_trimmed"] = 0.9 * centre * (1 + wander)
    return tables


def share_base(tables: dict[str, np.ndarray], heads: tuple[str, ...]) -> None:
    """Give every head the same step 0: no adapter has moved there."""
    for name in [
        k for k in tables if k.startswith((f"residual/{heads[0]}", f"attention/{heads[0]}"))
    ]:
        for other in heads[1:]:
            twin = name.replace(heads[0], other, 1)
            tables[twin] += (tables[name][0] - tables[twin][0])[None]
            if name.startswith("attention"):
                tables[twin] = np.clip(tables[twin], 1e-6, None)
                tables[twin] /= tables[twin].sum(axis=-1, keepdims=True)


def adapters_of(
    steps: int, rng: np.random.Generator
) -> list[dict[str, tuple[np.ndarray, np.ndarray, float]]]:
    """Draw LoRA factors that walk from zero along a line with a little noise."""
    names = ("blocks.0.mlp.up_proj", "blocks.1.mlp.up_proj")
    start = {name: rng.normal(size=(2, 12)) / 3 for name in names}
    aim = {name: rng.normal(size=(16, 2)) for name in names}
    path = []
    for step in range(steps):
        jitter = 0.02 * np.sqrt(step)
        path.append(
            {
                name: (
                    start[name],
                    step / steps * aim[name] + jitter * rng.normal(size=(16, 2)) * (step > 0),
                    1.0,
                )
                for name in names
            }
        )
    return path

"""Side effects of one head as lines over training, each with its own kind of interval."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inference.bootstrap import interval, question_weights, shared_weights
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.results import BOOTSTRAP
from critical_phase.analysis.scores.noise_scale import noise_scale
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.updates.lora_geometry import cross_inner

MOST_POINTS = 200
"""Points of the training log that are drawn."""

OVER_TEXTS = "95 % bootstrap over texts"

FEWEST_TEXTS = 5
"""Texts below which resampling them gives no interval: too few ways to be drawn."""


@dataclass(frozen=True, slots=True)
class EffectLine:
    """One quantity of one head, with its chart."""

    group: str
    head: str
    unit: str
    steps: Int[np.ndarray, " step"]
    value: Float[np.ndarray, " step"]
    band: tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"]] | None
    interval: str | None
    n: int = 0
    """Questions behind each value, 0 where it is no mean over questions."""
    note: str = ""
    """What is said after the caption of its chart."""


def effect_lines(arrays: RunArrays, head: str, settings: AnalysisSettings) -> list[EffectLine]:
    """Return every stored side effect of one head."""
    lines = []
    steps, found = stored(arrays, head, "kl_text", "tokens_text")
    if found:
        value, band = _over_texts(found["kl_text"] * found["tokens_text"], found, settings)
        name = None if band is None else OVER_TEXTS
        note = _texts_note(found["tokens_text"].shape[1])
        lines.append(
            EffectLine("kl_text", head, "nats per token", steps, value, band, name, note=note)
        )
    steps, found = stored(arrays, head, "nll_text", "tokens_text")
    if found:
        value, band = _over_texts(found["nll_text"], found, settings)
        edges = None if band is None else (np.exp(band[0]), np.exp(band[1]))
        name = None if band is None else OVER_TEXTS
        note = _texts_note(found["tokens_text"].shape[1])
        lines.append(
            EffectLine("perplexity", head, "perplexity", steps, np.exp(value), edges, name,
                  note=note)
        )  # fmt: skip
    steps, found = stored(arrays, head, "kl_question")
    if found:
        lines.append(_kl_question(arrays, head, steps, found["kl_question"], settings))
    steps, found = stored(arrays, head, "gradient_sq", "gradient_mean_sq")
    if found:
        lines.append(_noise(head, steps, found))
    return lines


def stored(
    arrays: RunArrays, head: str, *names: str
) -> tuple[Int[np.ndarray, " step"], dict[str, np.ndarray]]:
    """Return the steps, in order, at which all of these were measured, and their values."""
    tables, steps = arrays.effects(head), np.asarray(arrays.effect_steps(head))
    if not set(names) <= set(tables):
        return np.zeros(0, dtype=np.int64), {}
    chosen = {name: np.asarray(tables[name], dtype=np.float64) for name in names}
    whole = [np.isfinite(table.reshape(steps.size, -1)).all(axis=1) for table in chosen.values()]
    kept = np.flatnonzero(np.all(whole, axis=0))
    kept = kept[np.argsort(steps[kept], kind="stable")]
    if not kept.size:
        return np.zeros(0, dtype=np.int64), {}
    return steps[kept], {name: table[kept] for name, table in chosen.items()}


def _over_texts(
    sums: Float[np.ndarray, "step text"],
    found: Mapping[str, Float[np.ndarray, "step ..."]],
    settings: AnalysisSettings,
) -> tuple[Float[np.ndarray, " step"], tuple[np.ndarray, np.ndarray] | None]:
    """Return sums per token over all texts, with an interval over resampled texts if enough."""
    tokens = found["tokens_text"]
    value = sums.sum(axis=1) / tokens.sum(axis=1)
    if tokens.shape[1] < FEWEST_TEXTS:
        return value, None
    rng = np.random.default_rng([settings.seed, 7])
    weights = question_weights(tokens.shape[1], settings.draws, rng)
    draws = (weights @ sums.T) / (weights @ tokens.T)
    return value, interval(draws)


def _texts_note(count: int) -> str:
    """Say how many texts there were, and why there is no interval where there is none."""
    if count == 1:
        return "One text, so no interval."
    few = f", too few for an interval (at least {FEWEST_TEXTS})" if count < FEWEST_TEXTS else ""
    return f"{count} texts{few}."


def _kl_question(
    arrays: RunArrays,
    head: str,
    steps: Int[np.ndarray, " step"],
    values: Float[np.ndarray, "step question"],
    settings: AnalysisSettings,
) -> EffectLine:
    """Return divergence on the questions, on the resamples of every other measure."""
    count = question_count(arrays.rows)
    rng = np.random.default_rng([settings.seed, 8])
    same = values.shape[1] == count
    weights = (
        shared_weights(count, settings)
        if same
        else question_weights(values.shape[1], settings.draws, rng)
    )
    band = interval(weights @ values.T)
    unit, n = "nats per token", values.shape[1]
    return EffectLine("kl_question", head, unit, steps, values.mean(axis=1), band, BOOTSTRAP, n)


def _noise(
    head: str,
    steps: Int[np.ndarray, " step"],
    found: Mapping[str, Float[np.ndarray, "step ..."]],
) -> EffectLine:
    """Return the gradient noise scale; its interval would need more than squared norms."""
    single, mean = found["gradient_sq"], found["gradient_mean_sq"].reshape(steps.size)
    value = noise_scale(single, mean).value
    note = f"From {single.shape[1]} examples."
    return EffectLine("noise_scale", head, "examples", steps, value, None, None, note=note)


def update_norm(arrays: RunArrays, head: str) -> list[EffectLine]:
    """Return the norm of the low-rank update, where adapters have factors."""
    steps, path = np.asarray(arrays.steps(head)), arrays.adapters(head)
    if not path or len(path) != steps.size:
        return []
    order = np.argsort(steps, kind="stable")
    path = [path[i] for i in order]
    squares = np.sum([cross_inner(path, path, name) for name in sorted(path[0])], axis=0)
    value = np.sqrt(np.maximum(squares, 0.0))
    return [EffectLine("update_norm", head, "norm", steps[order], value, None, None)]


def gradient_norm(arrays: RunArrays, head: str) -> list[EffectLine]:
    """Return the gradient norm of the training log, thinned."""
    log = arrays.training_log(head)
    if "gradient_norm" not in log or not len(log["gradient_norm"]):
        return []
    steps, value = np.asarray(log["step"]), np.asarray(log["gradient_norm"], dtype=np.float64)
    every = -(-steps.size // MOST_POINTS)
    note = f"Every {every}th of {steps.size} steps; the log has all." if every > 1 else ""
    kept = slice(every - 1, None, every)
    return [
        EffectLine("gradient_norm", head, "norm", steps[kept], value[kept], None, None, note=note)
    ]

"""How far the merged adapter is from the contrast of logits that it stands for.

Both are asked for the next token at the same places of the same texts. Weights and logits agree
to first order in the updates only, so the gap grows with their square.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.errors import ConfigError
from critical_phase.probes.generation.contrast import BASE, MERGED, Contrast, combine, log_probs
from critical_phase.probes.generation.layout import Prompt
from critical_phase.probes.generation.lines import Lines


@dataclass(frozen=True, eq=False)
class Apart:
    """Mean over the places of each text; KL divergences in nats per token."""

    contrast_merged: Float[np.ndarray, " text"]
    """KL(contrast || merged)."""
    contrast_base: Float[np.ndarray, " text"]
    """KL(contrast || base): how far the contrast is from doing nothing."""
    merged_base: Float[np.ndarray, " text"]
    """KL(merged || base)."""
    agreement: Float[np.ndarray, " text"]
    """Share of places where both have the same likeliest token."""
    places: int
    """Tokens that were predicted, all texts together."""


@torch.no_grad()
def apart(
    lines: Lines, texts: Sequence[tuple[Prompt, Prompt]], alpha: float, *, slots: int = 4096
) -> Apart:
    """Compare merged weights with contrasted logits along given answers.

    Args:
        lines: `base`, `positive`, `negative` and `merged`, their updates not attached yet.
        texts: Prompt and answer as tokens; every token of the answer is predicted.
        alpha: Of the contrast, without plausibility: every token counts.
        slots: Most tokens of a batch in all its models; texts of one shape share a batch, so
            nothing is padded.

    Raises:
        ConfigError: A text has no answer, or there is none.
    """
    if not texts or not all(answer for _, answer in texts):
        raise ConfigError("a text has no answer along which models could be compared")
    table = np.empty((4, len(texts)))
    contrast = Contrast(alpha=alpha, plausibility=0.0)
    with lines.attached():
        for batch in _shapes(texts, max(1, slots // len(lines.names))):
            whole = [texts[place][0] + texts[place][1][:-1] for place in batch]
            ids = lines.repeated(torch.tensor(whole, device=lines.model.device))
            size = len(texts[batch[0]][1])
            logits = lines.model(input_ids=ids, use_cache=False).logits[:, -size:]
            table[:, batch] = _means(lines.split(logits), contrast)
    merged, base, merged_base, agreement = table
    return Apart(merged, base, merged_base, agreement, sum(len(one) for _, one in texts))


def _shapes(texts: Sequence[tuple[Prompt, Prompt]], slots: int) -> list[list[int]]:
    """Group texts whose prompts and whose answers are equally long, so many slots at a time."""
    by_shape: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for place, (prompt, answer) in enumerate(texts):
        by_shape[len(prompt), len(answer)].append(place)
    made = []
    for shape, places in sorted(by_shape.items()):
        size = max(1, slots // sum(shape))
        made += [places[start : start + size] for start in range(0, len(places), size)]
    return made


def _means(found: dict[str, Tensor], contrast: Contrast) -> np.ndarray:
    """Average over the places of every text, one place of all texts at a time."""
    texts, places = found[BASE].shape[:2]
    total = torch.zeros((4, texts), dtype=torch.float64)
    for place in range(places):
        logs = {name: log_probs(one[:, place]) for name, one in found.items()}
        both, merged, base = combine(logs, contrast), logs[MERGED], logs[BASE]
        same = both.argmax(-1) == merged.argmax(-1)
        pairs = (both, merged), (both, base), (merged, base)
        values = [*(_kl(one, other) for one, other in pairs), same]
        total += torch.stack([value.double().cpu() for value in values])
    return np.asarray(total / places)


def _kl(one: Tensor, other: Tensor) -> Tensor:
    """KL(one || other) of every place; tokens that one cannot give add nothing."""
    gap = torch.where(torch.isfinite(one), one - other, 0.0)
    return (one.exp() * gap).sum(-1)

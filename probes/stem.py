"""Tokens that every prompt starts with go through the model once, for all questions.

Few-shot prompts differ in their last lines alone: 25 demonstrations are a thousand
tokens, the question thirty.
"""

import copy
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from critical_phase.probes.plan import Plan

WORTH = 32
"""Fewer shared tokens cost more in cache copies than they save."""


def shared_start(plan: Plan) -> int:
    """Count the tokens that all prompts start with; each keeps at least one of its own."""
    if len(plan.prompts) < 2:
        return 0
    first, last = min(plan.prompts), max(plan.prompts)  # all others lie between these two
    limit = min(map(len, plan.prompts)) - 1
    return next((i for i in range(limit) if first[i] != last[i]), limit)


class Stem:
    """Keys and values of the shared tokens under the model as it is now."""

    def __init__(self, cache: DynamicCache) -> None:
        """Use `read`."""
        self._cache = cache

    @classmethod
    @torch.no_grad()
    def read(cls, model: Any, tokens: tuple[int, ...], *, windowed: bool) -> "Stem":
        """Run the shared tokens through the model.

        Args:
            model: The causal language model.
            tokens: What every prompt starts with.
            windowed: Let the cache forget what is out of a layer's window; masks that
                count windows themselves need all of it.
        """
        cache = new_cache(model, windowed=windowed)
        ids = torch.tensor([tokens], device=model.device)
        model(input_ids=ids, past_key_values=cache, use_cache=True)
        return cls(cache)

    def cache(self, lines: int) -> DynamicCache:
        """Return a cache for a batch; what the model adds to it stays out of the stem."""
        made = copy.deepcopy(self._cache)
        if all(type(layer) is DynamicLayer for layer in made.layers):
            for layer in made.layers:  # a view: the first thing a model does is to copy it
                layer.keys = layer.keys.expand(lines, -1, -1, -1)
                layer.values = layer.values.expand(lines, -1, -1, -1)
        else:
            made.batch_repeat_interleave(lines)
        return made


def new_cache(model: Any, *, windowed: bool) -> DynamicCache:
    """Make an empty cache."""
    return DynamicCache(config=model.config) if windowed else DynamicCache()

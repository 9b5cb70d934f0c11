"""Compare our instruments with TransformerLens' bridge on the same model and tokens.

The bridge is the field's reference for what a name such as `blocks.3.mlp.hook_post`
means; ours read the same values at a fraction of its cost.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from critical_phase.probes.attention_gate import choose_attention
from critical_phase.probes.batches import Batch
from critical_phase.probes.collector import Arrays
from critical_phase.probes.collectors import COLLECTORS
from critical_phase.probes.forward import allocate, attached, one_pass
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.instrument import make_packer, make_scene
from critical_phase.probes.plan import Plan
from critical_phase.probes.scoring import Scorer
from critical_phase.probes.settings import CollectSettings


@dataclass(frozen=True, slots=True)
class BridgeParity:
    """Largest differences between our readings and the bridge's, over the largest value."""

    residual: float
    """All layers, the last two tokens."""
    pattern: float
    """Attention of the last token, all layers and attention heads."""
    mlp_post: float
    """MLP activations at the last token, all blocks."""
    logprob: float
    """Log-probability of the last token."""

    @property
    def worst(self) -> float:
        """The largest of them."""
        return max(self.residual, self.pattern, self.mlp_post, self.logprob)


@torch.no_grad()
def bridge_parity(model: Any, tokens: tuple[int, ...]) -> BridgeParity:
    """Read one row with our hooks and with a bridge booted on a copy of the model.

    Args:
        model: A Hugging Face causal language model, its adapter merged or attached; it is
            left as it was. Families with fused projections lose an unmerged adapter in
            the bridge, which then shows as a difference.
        tokens: Token ids of one text, begin-of-sequence included; two or more.

    Raises:
        ConfigError: The architecture is unknown.
    """
    cache, logits = _bridge_cache(model, tokens)
    ours = _our_reading(model, tokens)
    blocks = range(len(ours.posts))
    theirs = [cache["blocks.0.hook_resid_pre"]]
    theirs += [cache[f"blocks.{i}.hook_resid_post"] for i in blocks]
    pattern = torch.stack([cache[f"blocks.{i}.attn.hook_pattern"][0, :, -1] for i in blocks])
    posts = torch.stack([cache[f"blocks.{i}.mlp.hook_post"][0, -1] for i in blocks])
    logprob = logits[0, -2].float().log_softmax(-1)[tokens[-1]]
    return BridgeParity(
        residual=_gap(ours.arrays["residual"][:, 0], torch.cat([x[:, -2:] for x in theirs])),
        pattern=_gap(ours.arrays["attention_row"][:, 0], pattern),
        mlp_post=_gap(torch.stack(ours.posts), posts),
        logprob=abs(ours.logprob - float(logprob)) / max(1.0, abs(float(logprob))),
    )


@dataclass(frozen=True, eq=False)
class _Reading:
    arrays: Arrays
    posts: list[Tensor]
    logprob: float


def _our_reading(model: Any, tokens: tuple[int, ...]) -> _Reading:
    scene = make_scene(model, _plan(tokens), CollectSettings())
    batch = next(iter(make_packer(scene, "naive", len(tokens))))
    scene = choose_attention(scene, batch)
    collectors = [COLLECTORS[name](scene) for name in ("residual", "attention")]
    sizes = {"row": 1}
    for collector in collectors:
        sizes |= {name: len(values) for name, values in collector.coordinates.items()}
    scorer, arrays = Scorer(scene.sites.unembed, 1), allocate(collectors, sizes)
    posts: list[Tensor] = []
    hooks = Hooks([Hook(m, "input", lambda x: _last(posts, x, batch)) for m in scene.sites.mlp_out])
    with hooks, attached([scorer, *collectors]):
        one_pass(model, batch, scorer, collectors, arrays)
    return _Reading(arrays, posts, float(scorer.scores.logprob_sum[0]))


def _last(kept: list[Tensor], x: Tensor, batch: Batch) -> None:
    kept.append(x.reshape(-1, x.shape[-1])[int(batch.ends[0, 1])].clone())


def _bridge_cache(model: Any, tokens: tuple[int, ...]) -> tuple[Any, Tensor]:
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    # The bridge replaces submodules in place and may switch to eager: never on the original.
    bridge = build_bridge_from_module(
        copy.deepcopy(model), type(model).__name__, hf_config=copy.deepcopy(model.config)
    )
    ids = torch.tensor([tokens], device=model.device)
    wanted = ("hook_resid_pre", "hook_resid_post", "hook_pattern", "mlp.hook_post")
    logits, cache = bridge.run_with_cache(ids, names_filter=lambda name: name.endswith(wanted))
    return cache, logits


def _plan(tokens: tuple[int, ...]) -> Plan:
    one = np.zeros(1, dtype=np.int64)
    return Plan(
        question_ids=("parity",),
        groups=("",),
        question_texts=("",),
        prompts=(tokens[:-1],),
        answers=(tokens[-1:],),
        texts=("",),
        question=one,
        candidate=one,
        correct=np.ones(1, dtype=np.bool_),
        prompt_format="",
    )


def _gap(a: Tensor, b: Tensor) -> float:
    ours, theirs = a.float().cpu(), b.float().cpu()
    return float((ours - theirs).abs().max() / theirs.abs().max())

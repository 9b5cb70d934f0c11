"""Decide how a model's attention can be read: beside its fast kernel, or from eager."""

from dataclasses import replace

import torch

from critical_phase.errors import CheckpointError
from critical_phase.probes.attention import Attention
from critical_phase.probes.batches import Batch
from critical_phase.probes.collector import Arrays, Scene
from critical_phase.probes.forward import allocate, attached, one_pass, refuse_short_memory
from critical_phase.probes.scoring import Scorer

_TOLERANCE = {torch.float32: 1e-4}


@torch.no_grad()
def choose_attention(scene: Scene, batch: Batch) -> Scene:
    """Compare the row read beside the kernel with the row of the model's eager attention.

    Args:
        scene: The model and the plan.
        batch: A few real rows, in the layout that will be used.

    Returns:
        The scene with `interface` where both agree, else with `eager`.

    Raises:
        CheckpointError: Neither way gives a row for every layer.
    """
    ways = {way: replace(scene, attention_way=way) for way in ("interface", "eager")}
    rows = {way: _rows(one, batch) for way, one in ways.items()}
    row, eager = rows["interface"], rows["eager"]
    if row is None and eager is None:
        raise CheckpointError(
            f"a {type(scene.model).__name__} gives no attention weights in any way",
            fix="collect without attention",
        )
    if eager is None:
        return ways["interface"]
    limit = _TOLERANCE.get(scene.model.dtype, 5e-2)  # type: ignore[call-overload]
    agree = row is not None and float((row - eager).abs().max()) <= limit
    return ways["interface" if agree else "eager"]


def _rows(scene: Scene, batch: Batch) -> torch.Tensor | None:
    """Read attention rows in one way; None where the family does not allow it."""
    scene = replace(scene, pattern_rows=())
    collector, scorer = Attention(scene), Scorer(scene.sites.unembed, scene.plan.rows)
    sizes = {
        "block": scene.sites.layers,
        "row": scene.plan.rows,
        "attention_head": scene.attention_heads,
        "key": scene.max_keys,
    }
    arrays: Arrays = allocate([collector], sizes)
    try:
        with attached([scorer, collector]):
            one_pass(scene.model, batch, scorer, [collector], arrays)
    except (CheckpointError, ValueError, RuntimeError, KeyError, TypeError, MemoryError) as error:
        if scene.attention_way == "interface":
            refuse_short_memory(error)
        return None
    return arrays["attention_row"][:, torch.from_numpy(batch.rows)]

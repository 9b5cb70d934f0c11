"""Proof that a state of whole adapters is what PEFT would make of the same files."""

import torch
from torch import Tensor

from critical_phase.checkpoints import Checkpoint
from critical_phase.errors import CheckpointError
from critical_phase.probes.interventions.mixture import Mixture
from critical_phase.probes.interventions.update import State
from critical_phase.probes.landing import fresh_logits, plain_logits

_LIMIT = 1e-4
"""Largest difference of a logit, as a share of the largest."""


def check_arrival(mixture: Mixture, state: State, checkpoint: Checkpoint, ids: Tensor) -> float:
    """Compare the logits of a state with those of a fresh load through PEFT.

    Args:
        mixture: The model; it holds the base again afterwards.
        state: All of the checkpoint.
        checkpoint: An adapter on disk.
        ids: A row of tokens [1, token].

    Returns:
        Largest difference of a logit, as a share of the largest.

    Raises:
        CheckpointError: They differ by more than rounding.
    """
    mixture.release()
    if checkpoint.kind == "base":
        return 0.0
    expected = fresh_logits(mixture.model, checkpoint, ids)
    with torch.no_grad(), mixture.holding(state):
        ours = plain_logits(mixture.model, ids)
    gap = float((ours - expected).abs().max() / expected.abs().max())
    if not gap <= _LIMIT:
        raise CheckpointError(
            f"the merged adapter differs from a fresh load by {gap:.1e} of the largest logit",
            where=str(checkpoint.path),
            fix="this kind of adapter is not supported; please report its config",
        )
    return gap

"""What Adam divides a gradient by, from the optimizer state that was kept at a checkpoint."""

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.checkpoints import Checkpoint
from critical_phase.checkpoints.series import adapter_identity
from critical_phase.checkpoints.training_loop import BETAS, EPSILON
from critical_phase.checkpoints.training_state import TrainingFolder
from critical_phase.errors import CheckpointError

_ADAPTER = ".default."
"""What the name of a live parameter has, and the name in the file of an adapter has not."""


def adam_scaling(
    checkpoint: Checkpoint, parameters: Mapping[str, Tensor]
) -> Float[Tensor, " n"] | None:
    """Return the diagonal P of an update -lr P^-1 m, m the running mean of gradients.

    P = (1 - beta1^t) (sqrt(v / (1 - beta2^t)) + epsilon) with Adam's v after step t: the first
    factor is the bias correction of m, which belongs to the step and not to m.

    Args:
        checkpoint: An adapter that `probe train` saved.
        parameters: Its tensors, in the order of the result.

    Returns:
        Float64; None at step 0, where Adam has no v, and where no state of this step was kept.

    Raises:
        CheckpointError: The state is damaged, or belongs to other weights.
    """
    folder = TrainingFolder(checkpoint.path.parent, adapter_identity(checkpoint.path) or {})
    if checkpoint.step < 1 or checkpoint.step not in folder.states():
        return None
    state = folder.state(checkpoint.step).tensors
    named = {name.replace(_ADAPTER, "."): value for name, value in state.items()}
    where = checkpoint.path.parent
    return torch.cat([
        _of(name, tensor, named, checkpoint.step, where) for name, tensor in parameters.items()
    ])  # fmt: skip


def _of(
    name: str, tensor: Tensor, state: Mapping[str, Tensor], step: int, where: Path
) -> Float[Tensor, " _part"]:
    """Return the part of one parameter."""
    saved, second = state.get(f"parameter.{name}"), state.get(f"exp_avg_sq.{name}")
    if saved is None or second is None or not torch.equal(saved.cpu(), tensor.detach().cpu()):
        raise CheckpointError(
            f"the optimizer state of step {step} belongs to other weights than the checkpoint",
            where=str(where),
            fix="delete the state to leave preconditioned sharpness out at this step",
        )
    beta1, beta2 = BETAS
    root = (second.double() / (1 - beta2**step)).sqrt() + EPSILON
    return ((1 - beta1**step) * root).flatten().to(tensor.device)

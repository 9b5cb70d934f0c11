"""Refuse values that did not change although the checkpoint did."""

import hashlib
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from critical_phase.checkpoints import Checkpoint, load_adapter
from critical_phase.errors import CheckpointError
from critical_phase.probes.landing import is_neutral
from critical_phase.probes.scoring import Scores

_FIX = "check that it belongs to this base model, then collect both again with --overwrite"


@dataclass(frozen=True, slots=True)
class _Stream:
    """What one unit read where its first answer tokens are predicted."""

    unit: str
    checkpoint: Checkpoint | None
    residual_sha256: str
    """Of the residual stream after the last block, at question_end."""
    first_sha256: str
    """Of the log-probabilities of the first answer tokens, which follow from it."""


class StaleAdapters:
    """Refuses two different checkpoints that give the very same values."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._scores: dict[str, tuple[str, Checkpoint]] = {}
        self._streams: dict[str, _Stream] = {}
        self._noted: dict[str, _Stream] = {}

    def note(
        self, name: str, checkpoint: Checkpoint | None, residual: Tensor, scores: Scores
    ) -> None:
        """Note a unit's activations, to be compared when the unit is checked.

        Args:
            name: Of the unit.
            checkpoint: Of the unit.
            residual: After the last block, at question_end, in the type of the model [row, d].
            scores: Of the same rows.
        """
        raw = residual.contiguous().cpu().view(torch.uint8).numpy()
        self._noted[name] = _Stream(
            name,
            checkpoint,
            hashlib.sha256(raw.data).hexdigest(),
            hashlib.sha256(scores.first_token_logprob.tobytes()).hexdigest(),
        )

    def check(self, name: str, checkpoint: Checkpoint | None, scores_sha256: str) -> None:
        """Compare one unit with those before; adapters that change nothing may agree.

        Raises:
            CheckpointError: Another checkpoint gave exactly these log-probabilities, or
                other ones from exactly these activations.
        """
        if name in self._noted:
            self._check_stream(self._noted.pop(name))
        if checkpoint is None:
            return
        before, other = self._scores.setdefault(scores_sha256, (name, checkpoint))
        if other.sha256 == checkpoint.sha256 or (is_neutral(other) and is_neutral(checkpoint)):
            return
        raise CheckpointError(
            f"{name} and {before} hold different {_noun(checkpoint)} ({checkpoint.sha256[:8]}, "
            f"{other.sha256[:8]}) but give exactly the same log-probabilities: "
            "the checkpoint did not reach the model",
            where=str(checkpoint.path),
            fix=_FIX,
        )

    def _check_stream(self, now: _Stream) -> None:
        """Scores are a function of the stream as long as the output map stays the same."""
        before = self._streams.setdefault(now.residual_sha256, now)
        if before.first_sha256 == now.first_sha256:
            return
        if not (_within_blocks(now.checkpoint) and _within_blocks(before.checkpoint)):
            return
        raise CheckpointError(
            f"{now.unit} and {before.unit} score differently but hold exactly the same "
            "activations: those of one were not read anew",
            where="" if now.checkpoint is None else str(now.checkpoint.path),
            fix="please report this; it is a fault in how activations are read",
        )


def _within_blocks(checkpoint: Checkpoint | None) -> bool:
    """Tell whether a checkpoint leaves everything but numbered blocks as the base has it."""
    if checkpoint is None or checkpoint.kind == "base":
        return True
    if checkpoint.kind != "adapter":
        return False
    return all(re.search(r"\.\d+\.", name) for name in load_adapter(checkpoint.path))


def _noun(checkpoint: Checkpoint) -> str:
    return "weights" if checkpoint.kind == "full" else "adapters"

"""The low-rank updates that states are made of, by name: saved adapters and made-up ones."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.checkpoints import (
    Checkpoint,
    Series,
    adapter_config,
    load_adapter,
    tensors_sha256,
)
from critical_phase.checkpoints.random_adapter import random_direction, refuse_variants, update_norm
from critical_phase.checkpoints.series import LORA_A, factors_of, module_in_base
from critical_phase.errors import CheckpointError
from critical_phase.probes.interventions.update import Part, Terms

Update = tuple[Float[np.ndarray, "d_out r"], Float[np.ndarray, "r d_in"], float]
"""B, A and the scaling of one module."""


class Sources:
    """Saved adapters, read when first asked for and checked against their listed hash."""

    def __init__(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        """Note where updates can be read.

        Args:
            checkpoints: By name, such as `negative@26`; one standing for the base has no update.

        Raises:
            CheckpointError: An adapter that is more than a sum of low-rank updates.
        """
        saved = tuple(item for item in checkpoints.values() if item.kind != "base")
        if saved:
            _refuse(Series(saved, ()))
        self._checkpoints = dict(checkpoints)
        self._read: dict[str, dict[str, Update]] = {}

    def modules(self, source: str) -> tuple[str, ...]:
        """Return the names of the modules that a source changes, sorted.

        Raises:
            CheckpointError: The adapter is gone or is not the one that was listed.
        """
        return tuple(sorted(self._updates(source)))

    def update(self, source: str, module: str) -> Update:
        """Return B, A and the scaling that a source has in a module it changes."""
        return self._updates(source)[module]

    def add(self, name: str, updates: Mapping[str, Update]) -> None:
        """Put a made-up source under a name."""
        self._read[name] = dict(updates)

    def together(
        self, terms: Terms, module: str
    ) -> tuple[Float[np.ndarray, "d_out r"], Float[np.ndarray, "r d_in"]]:
        """Concatenate the factors of terms, so that B @ A is their sum; float32 as saved."""
        pairs = [self._cut(term.part, *self.update(term.source, module)[:2]) for term in terms]
        sizes = [t.factor * self.update(t.source, module)[2] for t in terms]
        tall = np.concatenate([size * b for size, (b, _) in zip(sizes, pairs, strict=True)], axis=1)
        return tall, np.concatenate([a for _, a in pairs], axis=0)

    def norm(self, terms: Terms, module: str) -> float:
        """Return the Frobenius norm of the sum of terms in a module."""
        if not terms:
            return 0.0
        tall, wide = self.together(terms, module)
        return update_norm(wide, tall, 1.0)

    def add_random(self, name: str, like: Iterable[str], seed: int) -> None:
        """Make up a source of random updates of norm 1, of the rank that others have.

        Args:
            name: Of the new source; one that is there already is left.
            like: Sources whose modules, ranks and sizes are taken, the first that has each.
            seed: Draws the direction of every module.
        """
        if name in self._read:
            return
        made: dict[str, Update] = {}
        for source in like:
            for module, (b, a, _) in self._updates(source).items():
                if module not in made:
                    wide, tall = random_direction(module, a.shape, b.shape, seed)
                    tall = tall / update_norm(wide, tall, 1.0)
                    made[module] = (tall.astype(np.float32), wide.astype(np.float32), 1.0)
        self.add(name, made)

    @staticmethod
    def _cut(part: Part | None, b: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Set to zero what is not taken."""
        if part is None:
            return b, a
        kept = b if part.side == "out" else a.T
        mask = np.zeros((len(kept), 1), dtype=kept.dtype)
        for start, stop in part.spans:
            mask[start:stop] = 1.0
        return (b * mask, a) if part.side == "out" else (b, a * mask.T)

    def _updates(self, source: str) -> dict[str, Update]:
        if source not in self._read:
            self._read[source] = _saved(self._checkpoints[source])
        return self._read[source]


def _refuse(series: Series) -> None:
    """Refuse adapters that are more than sums of low-rank updates."""
    try:
        refuse_variants(series)
    except CheckpointError as error:
        raise CheckpointError(
            f"interventions need plain LoRA or rsLoRA: {error.args[0]}",
            where=error.where,
            fix="train heads without these settings to intervene in them",
        ) from error


def _saved(checkpoint: Checkpoint) -> dict[str, Update]:
    tensors: Mapping[str, Tensor] = load_adapter(checkpoint.path)
    found = tensors_sha256(tensors)
    if checkpoint.kind != "base" and found != checkpoint.sha256:
        raise CheckpointError(
            f"the adapter has hash {found[:8]}, but was listed with {checkpoint.sha256[:8]}",
            where=str(checkpoint.path),
            fix="the file changed since it was listed; repeat the command",
        )
    config = adapter_config(checkpoint.path)
    made: dict[str, Update] = {}
    for name in sorted(tensors):
        if name.endswith(LORA_A):
            stem = name.removesuffix(LORA_A)
            pair = tensors[name], tensors[f"{stem}.lora_B.weight"]
            a, b, scaling = factors_of(checkpoint, config, stem, *pair)
            made[module_in_base(name)] = (b, a, scaling)
    return made


def as_tensors(pair: Iterable[np.ndarray], like: Tensor) -> tuple[Tensor, ...]:
    """Bring factors to the device and the type of a weight."""
    return tuple(torch.from_numpy(np.ascontiguousarray(x)).to(like) for x in pair)

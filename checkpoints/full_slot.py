"""Put one whole set of weights after another into a model that is built once.

For full fine-tunes and published revisions. As with adapters a load is strict: every tensor
of the model is in the file or tied to one that is, shapes agree, no value is rounded, and
the live tensors are hashed under the names and types of the file.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from critical_phase.checkpoints.full_weights import FullWeights
from critical_phase.checkpoints.models import tensors_sha256
from critical_phase.checkpoints.series import Checkpoint
from critical_phase.differences import apart
from critical_phase.errors import CheckpointError

# Entries of config.json that do not change what a forward pass computes.
_FREE = (
    "_name_or_path",
    "_attn_implementation_autoset",
    "_commit_hash",
    "architectures",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "gradient_checkpointing",
    "keys_to_ignore_at_inference",
    "pad_token_id",
    "torch_dtype",
    "transformers_version",
    "use_cache",
)
# Masks and frequencies that older versions of transformers stored with the weights.
_STORED_BUFFERS = r"rotary_emb\.inv_freq$|\.masked_bias$|attn\.bias$|attention\.bias$"
_FIX = "give the model that the series was trained from, and one series per architecture"


class FullSlot:
    """A model whose weights are exchanged in place; the base's own are kept beside them.

    Call and hook `model`; it stays the same object.
    """

    merged = False
    """No adapter is added to the weights."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Use `attach`."""
        self.model = model
        self._names = live_names(model)
        self._tensors = list({id(tensor): tensor for tensor in self._names.values()}.values())
        self._originals = [tensor.data for tensor in self._tensors]
        # Tied tensors share one copy, as they share one original.
        copies = {t.data_ptr(): t.clone() for t in self._originals}
        self._buffers = [copies[tensor.data_ptr()] for tensor in self._originals]
        self._dtypes: dict[str, torch.dtype] = {}

    @classmethod
    def attach(cls, model: PreTrainedModel, checkpoint: Checkpoint) -> "FullSlot":
        """Make room for a second set of weights and load a first checkpoint.

        Args:
            model: The base, loaded once; it is changed in place.
            checkpoint: Any checkpoint of the series; it fixes the types of the files.

        Raises:
            CheckpointError: The checkpoint is of another model.
        """
        slot = cls(model)
        slot.load(checkpoint)
        return slot

    @torch.no_grad()
    def load(self, checkpoint: Checkpoint) -> str:
        """Replace the weights and return the hash of the tensors that are now live.

        Raises:
            CheckpointError: Another architecture, other keys, shapes or types, or the live
                tensors are not the file's.
        """
        weights = FullWeights(checkpoint.path)
        stored = self._check(checkpoint, weights)
        self._point(self._buffers)
        live = {name: self._names[name] for name in stored if name in self._names}
        for name, tensor in live.items():
            tensor.copy_(weights[name])
        landed = self._hash(weights, stored)
        if landed != checkpoint.sha256:
            raise CheckpointError(
                f"the weights did not land: live tensors have hash {landed[:8]}, "
                f"the file {checkpoint.sha256[:8]}",
                where=str(checkpoint.path),
                fix="the file changed since it was listed, or the model shares its tensors",
            )
        return landed

    @contextlib.contextmanager
    def base(self) -> Iterator[None]:
        """Put the base's own weights back for the length of a block."""
        self._point(self._originals)
        try:
            yield
        finally:
            self._point(self._buffers)

    def is_base(self, checkpoint: Checkpoint) -> bool:
        """Tell whether a checkpoint holds the very weights of the base."""
        weights = FullWeights(checkpoint.path)
        stored = self._check(checkpoint, weights)
        with self.base():
            return self._hash(weights, stored) == checkpoint.sha256

    def _hash(self, weights: FullWeights, stored: Mapping[str, torch.dtype]) -> str:
        """Hash what is live as the file would hold it; stored masks are taken from the file."""
        return tensors_sha256(_AsStored(self._names, weights, stored))

    def _point(self, tensors: list[torch.Tensor]) -> None:
        for live, tensor in zip(self._tensors, tensors, strict=True):
            live.data = tensor

    def _check(self, checkpoint: Checkpoint, weights: FullWeights) -> dict[str, torch.dtype]:
        """Compare config, names, shapes and types; return the type of every stored tensor."""
        where = str(checkpoint.path)
        _check_config(self.model, checkpoint)
        stored = {name: weights.dtype(name) for name in weights}
        found = {self._names[n].data_ptr() for n in stored if n in self._names}
        missing = [n for n, tensor in self._names.items() if tensor.data_ptr() not in found]
        extra = [n for n in stored if n not in self._names and not _ignored(self.model, n)]
        if odd := sorted(missing) + sorted(extra):
            raise CheckpointError(
                f"{len(odd)} tensors are in only one of file and model, first {odd[0]!r}",
                where=where,
                fix=_FIX,
            )
        for name in stored:
            if name in self._names:
                _check_tensor(name, weights, self._names[name], where)
        before = self._dtypes or stored
        self._dtypes = before
        for name, dtype in stored.items():
            if before.get(name, dtype) != dtype:
                raise CheckpointError(
                    f"{name} is {dtype}, but this series has {before[name]}",
                    where=where,
                    fix="collect checkpoints of another type into another run",
                )
        return stored


class _AsStored(Mapping[str, torch.Tensor]):
    """Live tensors under the names and types of a file, one at a time."""

    def __init__(
        self,
        live: Mapping[str, torch.Tensor],
        weights: FullWeights,
        stored: Mapping[str, torch.dtype],
    ) -> None:
        self._live, self._weights, self._stored = live, weights, stored

    def __getitem__(self, name: str) -> torch.Tensor:
        if name in self._live:
            return self._live[name].detach().to(self._stored[name])
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._stored))

    def __len__(self) -> int:
        return len(self._stored)


def live_names(model: Any) -> dict[str, torch.Tensor]:
    """Map every name that a file may use to the live tensor: the model's names and the saved."""
    state = dict(model.state_dict(keep_vars=True))
    places = {tensor.data_ptr() for tensor in state.values()}
    renamed = revert_weight_conversion(model, dict(state))
    same = {n: t for n, t in renamed.items() if t.data_ptr() in places}
    return {**same, **state}


def _ignored(model: Any, name: str) -> bool:
    """Tell whether transformers itself leaves a stored tensor out."""
    patterns = [*(model._keys_to_ignore_on_load_unexpected or ()), _STORED_BUFFERS]
    return any(re.search(pattern, name) for pattern in patterns)


def _check_tensor(name: str, weights: FullWeights, live: torch.Tensor, where: str) -> None:
    shape, dtype = weights.shape(name), weights.dtype(name)
    if shape != tuple(live.shape):
        raise CheckpointError(
            f"{name} is {shape}, but the model has {tuple(live.shape)}", where=where, fix=_FIX
        )
    if torch.promote_types(dtype, live.dtype) != live.dtype:
        raise CheckpointError(
            f"{name} is {dtype}: in a model of type {live.dtype} small steps between "
            "checkpoints would be rounded away",
            where=where,
            fix=f"collect with a base of type {str(dtype).removeprefix('torch.')} or float32",
        )


def _check_config(model: Any, checkpoint: Checkpoint) -> None:
    """Refuse a checkpoint whose config computes something else with the same weights."""
    try:
        found = AutoConfig.from_pretrained(checkpoint.path).to_dict()
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"cannot read config.json: {str(error).splitlines()[0]}", where=str(checkpoint.path)
        ) from error
    base = model.config.to_dict()
    for key in sorted({*found, *base} - set(_FREE)):
        if found.get(key) != base.get(key):
            this, that = apart(found.get(key), base.get(key))
            raise CheckpointError(
                f"{key} is {this}, but the base has {that}",
                where=str(checkpoint.path),
                fix=_FIX,
            )

"""Put one adapter after another onto a base that is loaded once, and prove it landed.

PEFT's own ways to change adapters can do nothing without a word, which makes every
checkpoint of a series look the same. Here a load is strict (keys, shapes, types and
every setting that lives outside the tensors), and the live tensors are hashed.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import PreTrainedModel

from critical_phase.checkpoints.adapter_settings import FIXED_SETTINGS, fixed_settings
from critical_phase.checkpoints.base_biases import Biases, base_biases, without_biases
from critical_phase.checkpoints.first_step import refuse_changed_base
from critical_phase.checkpoints.models import tensors_sha256
from critical_phase.checkpoints.peft_state import adapter_state, quiet_peft
from critical_phase.checkpoints.series import (
    Checkpoint,
    adapter_config,
    adapter_identity,
    load_adapter,
)
from critical_phase.differences import apart
from critical_phase.errors import CheckpointError


class AdapterSlot:
    """A base model with room for one adapter at a time.

    Call and hook `model`, never the PEFT wrapper. In float32 a plain LoRA is merged
    into a second buffer (W = W0 + scaling * B @ A from the untouched W0 each time), so
    a forward pass costs what the base costs and nothing drifts; other types and
    variants (DoRA, lora_bias, bfloat16 bases) stay unmerged.
    """

    def __init__(self, wrapper: Any, first: Checkpoint, base_sha256: str) -> None:
        """Use `attach`."""
        self._wrapper = wrapper
        self._out = False
        self._registry: dict[str, torch.Tensor] = adapter_state(wrapper)
        self._names = _parameter_names(wrapper, self._registry)
        self._config = fixed_settings(first)
        self._base_sha256 = base_sha256
        self._layers = [m for m in wrapper.modules() if isinstance(m, LoraLayer)]
        self._biases: Biases = []
        self.model: PreTrainedModel = wrapper.get_base_model()
        self._plain = _is_plain(first)
        self.merged: bool = self._can_merge(first)
        """Whether the update is added to the weights instead of run beside them."""
        if self.merged:
            self._weights = [layer.get_base_layer().weight for layer in self._layers]
            self._originals = [weight.data for weight in self._weights]
            self._buffers = [weight.data.clone() for weight in self._weights]

    @classmethod
    def attach(
        cls, model: PreTrainedModel, checkpoint: Checkpoint, *, base_sha256: str = ""
    ) -> "AdapterSlot":
        """Wrap a base model and load a first adapter into it.

        Args:
            model: The base, loaded once; it is changed in place.
            checkpoint: Any checkpoint of the series; it fixes the shape of the slot.
            base_sha256: Hash of the base's weights; adapters that note another are refused.

        Raises:
            CheckpointError: The adapter does not fit this base.
        """
        _check_base(checkpoint, base_sha256)
        refuse_changed_base(checkpoint)
        biases = base_biases(model, checkpoint)
        try:
            with quiet_peft():
                wrapper = PeftModel.from_pretrained(model, str(checkpoint.path))
            _as_saved(wrapper, load_adapter(checkpoint.path))
        except (ValueError, RuntimeError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"the adapter does not fit this base model: {str(error).splitlines()[0]}",
                where=str(checkpoint.path),
                fix="give the model that the adapter was trained on",
            ) from error
        slot = cls(wrapper.eval(), checkpoint, base_sha256)
        slot._biases = biases
        slot.load(checkpoint)
        return slot

    @torch.no_grad()
    def load(self, checkpoint: Checkpoint) -> str:
        """Replace the adapter and return the hash of the tensors that are now live.

        Raises:
            CheckpointError: Other keys, shapes, types or settings; another base; or the
                live tensors are not the file's.
        """
        tensors = load_adapter(checkpoint.path)
        _check_base(checkpoint, self._base_sha256)
        self._check(checkpoint, tensors)
        for name, live in self._registry.items():
            live.copy_(tensors[name])
        landed = tensors_sha256(self._live())
        if landed != checkpoint.sha256:
            raise CheckpointError(
                f"the adapter did not land: live tensors have hash {landed[:8]}, "
                f"the file {checkpoint.sha256[:8]}",
                where=str(checkpoint.path),
                fix="the file changed since it was listed, or the model shares its tensors",
            )
        if self.merged:
            self._merge()
        return landed

    def scale(self, factor: float) -> None:
        """Multiply the update of every adapter that is loaded from now on.

        Raises:
            CheckpointError: What the adapter does is more than an update times its scaling.
        """
        if not self._layers or not self._plain:
            raise CheckpointError(
                "only the update of a plain LoRA can be multiplied",
                fix="leave the scaled contexts out",
            )
        for layer in self._layers:
            for name in layer.scaling:
                layer.scaling[name] *= factor

    @contextlib.contextmanager
    def base(self) -> Iterator[None]:
        """Take the adapter out for the length of a block; blocks may be nested."""
        if self._out:
            yield
            return
        self._out = True
        try:
            with self._without_adapter():
                yield
        finally:
            self._out = False

    @contextlib.contextmanager
    def _without_adapter(self) -> Iterator[None]:
        if self.merged:
            self._point(self._originals)
            try:
                yield
            finally:
                self._point(self._buffers)
        else:
            with without_biases(self._biases), self._wrapper.disable_adapter():
                yield

    @contextlib.contextmanager
    def live(self) -> Iterator[dict[str, torch.Tensor]]:
        """Run the adapter beside the base's weights and let gradients reach it, for a block.

        Yields:
            The adapter's parameters, under the names of its file.

        Raises:
            CheckpointError: A tensor of the adapter is no parameter of the model.
        """
        if self._names is None:
            raise CheckpointError(
                "the tensors of this adapter are not all parameters, so gradients cannot be taken",
                fix="use a plain LoRA, or ask for no gradients",
            )
        parameters = self._live()
        self._set_beside(True)
        for parameter in parameters.values():
            parameter.requires_grad_(True)
        try:
            yield parameters
        finally:
            for parameter in parameters.values():
                parameter.requires_grad_(False)
            self._set_beside(False)

    def _set_beside(self, beside: bool, /) -> None:
        """Take a merged adapter out of the weights and run it beside them, or undo that."""
        if self.merged:
            self._point(self._originals if beside else self._buffers)
            for layer in self._layers:
                layer.merged_adapters = [] if beside else ["default"]

    def _can_merge(self, checkpoint: Checkpoint) -> bool:
        linear = all(
            type(layer.get_base_layer()).__name__ in ("Linear", "Conv1D") for layer in self._layers
        )
        dtypes = {parameter.dtype for parameter in self.model.parameters()}
        exact = dtypes <= {torch.float32, torch.float64}
        return _is_plain(checkpoint) and linear and exact

    def _live(self) -> dict[str, torch.Tensor]:
        """Look the adapter's tensors up in the model again, by name: a stale alias is seen."""
        if self._names is None:
            return adapter_state(self._wrapper)
        return {key: self._wrapper.get_parameter(name) for key, name in self._names.items()}

    def _merge(self) -> None:
        for layer, original, buffer in zip(
            self._layers, self._originals, self._buffers, strict=True
        ):
            _add_update(layer, original, buffer)
        self._point(self._buffers)
        for layer in self._layers:
            layer.merged_adapters = ["default"]  # forward then runs the base layer alone

    def _point(self, tensors: list[torch.Tensor]) -> None:
        for weight, tensor in zip(self._weights, tensors, strict=True):
            weight.data = tensor

    def _check(self, checkpoint: Checkpoint, tensors: dict[str, torch.Tensor]) -> None:
        where, fix = str(checkpoint.path), "collect adapters of another shape into another run"
        here = fixed_settings(checkpoint)
        for key in FIXED_SETTINGS:
            if here[key] != self._config[key]:
                this, that = apart(here[key], self._config[key])
                raise CheckpointError(
                    f"setting {key} is {this}, but this series has {that}",
                    where=where,
                    fix=fix,
                )
        if odd := sorted(set(tensors) ^ set(self._registry)):
            raise CheckpointError(
                f"{len(odd)} tensors are in only one of file and model, first {odd[0]!r}",
                where=where,
                fix=fix,
            )
        for name, live in self._registry.items():
            found = tensors[name]
            if found.shape != live.shape or found.dtype != live.dtype:
                raise CheckpointError(
                    f"{name} is {tuple(found.shape)} {found.dtype}, but the model has "
                    f"{tuple(live.shape)} {live.dtype}",
                    where=where,
                    fix=fix,
                )


def _is_plain(checkpoint: Checkpoint) -> bool:
    """Tell whether an adapter is low-rank updates of weights and nothing else."""
    config = adapter_config(checkpoint.path)
    return not (
        config.get("use_dora")
        or config.get("lora_bias")
        or config.get("modules_to_save")
        or config.get("trainable_token_indices")
        or config.get("bias", "none") != "none"
    )


def _as_saved(wrapper: PeftModel, saved: dict[str, torch.Tensor]) -> None:
    """Give live tensors the type of the file: on a base in float64 PEFT makes them float64."""
    places = {parameter.data_ptr(): parameter for parameter in wrapper.parameters()}
    for name, live in adapter_state(wrapper).items():
        parameter = places.get(live.data_ptr())
        if live.dtype == torch.float64 and name in saved and parameter is not None:
            parameter.data = saved[name].to(parameter.device)


def _add_update(layer: Any, original: torch.Tensor, buffer: torch.Tensor) -> None:
    """Write W0 + scaling * B @ A into the buffer, in one pass where A and B are plain maps."""
    up, down = layer.lora_B, layer.lora_A
    if layer.fan_in_fan_out or not all("default" in part for part in (up, down)):
        torch.add(original, layer.get_delta_weight("default"), out=buffer)
        return
    b, a, scaling = up["default"].weight, down["default"].weight, layer.scaling["default"]
    kind = original.dtype
    torch.addmm(original, b.to(kind), a.to(kind), alpha=scaling, out=buffer)


def _parameter_names(wrapper: Any, registry: dict[str, torch.Tensor]) -> dict[str, str] | None:
    """Find the parameter behind each tensor of a PEFT file; None where one is none."""
    places = {p.data_ptr(): n for n, p in wrapper.named_parameters(remove_duplicate=False)}
    names = {key: places.get(tensor.data_ptr()) for key, tensor in registry.items()}
    found = {key: name for key, name in names.items() if name is not None}
    return found if len(set(found.values())) == len(registry) else None


def _check_base(checkpoint: Checkpoint, base_sha256: str) -> None:
    identity = adapter_identity(checkpoint.path) or {}
    noted = identity.get("base_sha256")
    if base_sha256 and noted and noted != base_sha256:
        raise CheckpointError(
            f"the adapter belongs to another base model: it notes the weights {noted[:8]}, "
            f"this base has {base_sha256[:8]}",
            where=str(checkpoint.path),
            fix=f"give the model it was trained on: {identity.get('base_model', 'unknown')}",
        )

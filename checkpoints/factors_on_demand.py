"""Low-rank factors of many checkpoints, one module at a time: all of them may not fit in memory.

A LoRA of rank 16 on all linear maps of a 7B model has 160 MB in float32; 65 checkpoints of two
heads have 21 GB. One module at all steps of a head has 30 to 70 MB.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from critical_phase.checkpoints.folders import WEIGHTS
from critical_phase.checkpoints.series import (
    LORA_A,
    Checkpoint,
    adapter_config,
    factors_of,
    module_in_base,
    unreadable,
)

Factors = tuple[Float[np.ndarray, "r d_in"], Float[np.ndarray, "d_out r"], float]
"""A, B and the scaling of one module."""


def factors_on_demand(checkpoints: Sequence[Checkpoint]) -> list["FactorsOnDemand"]:
    """Return what `low_rank_factors` does for every checkpoint, but read it when asked for.

    Of all checkpoints together one module is kept at a time: ask for a module at all steps, then
    for the next one.

    Args:
        checkpoints: Plain LoRA checkpoints of one head; see `has_factors`.
    """
    kept = _Kept()
    return [FactorsOnDemand(item, kept) for item in checkpoints]


class _Kept:
    """The factors of one module, by step."""

    def __init__(self) -> None:
        self._module = ""
        self._found: dict[int, Factors] = {}

    def of(self, module: str) -> dict[int, Factors]:
        """Return what is kept of a module; another one is let go."""
        if module != self._module:
            self._module, self._found = module, {}
        return self._found


class FactorsOnDemand(Mapping[str, Factors]):
    """The factors of one checkpoint by module, in the order of names."""

    def __init__(self, checkpoint: Checkpoint, kept: _Kept) -> None:
        """Note where to read; nothing is read yet."""
        self._checkpoint, self._kept = checkpoint, kept

    def __getitem__(self, module: str) -> Factors:
        """Read one module.

        Raises:
            KeyError: It is not adapted.
            CheckpointError: The file is damaged.
        """
        name = self._names[module]
        found = self._kept.of(module)
        if self._checkpoint.step not in found:
            found[self._checkpoint.step] = self._read(name)
        return found[self._checkpoint.step]

    def __contains__(self, module: object) -> bool:
        """Tell whether a module is adapted, without reading it."""
        return module in self._names

    def __iter__(self) -> Iterator[str]:
        """Walk over the names of modules."""
        return iter(self._names)

    def __len__(self) -> int:
        """Count the modules."""
        return len(self._names)

    @cached_property
    def _names(self) -> dict[str, str]:
        """The name in the file of every module."""
        path = self._checkpoint.path / WEIGHTS
        try:
            with safe_open(path, framework="pt") as file:
                keys = sorted(key for key in file.keys() if key.endswith(LORA_A))  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise unreadable(path, error) from error
        return {module_in_base(key): key.removesuffix(LORA_A) for key in keys}

    @cached_property
    def _config(self) -> dict[str, object]:
        return adapter_config(self._checkpoint.path)

    def _read(self, name: str) -> Factors:
        path = self._checkpoint.path / WEIGHTS
        try:
            with safe_open(path, framework="pt") as file:
                a, b = (file.get_tensor(f"{name}.lora_{side}.weight") for side in "AB")
        except (OSError, SafetensorError) as error:
            raise unreadable(path, error) from error
        one, two, scaling = factors_of(self._checkpoint, self._config, name, a, b)
        return one.copy(), two.copy(), scaling  # arrays of the file would keep all of it mapped

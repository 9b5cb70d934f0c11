"""Single weight matrices of a run's base model, read from its files without loading the model."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
from huggingface_hub import snapshot_download
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from critical_phase.checkpoints import ORGANISM
from critical_phase.checkpoints.hub_files import cached_revision, split_revision
from critical_phase.checkpoints.organism import organism_path

TRANSPOSED = "gpt2"
"""Kind of model whose layers (Conv1D) hold their weights as [in, out]."""


class BaseWeights:
    """The safetensors files of a base model, where they are on this disk; nothing is fetched."""

    def __init__(self, model: str) -> None:
        """Note which model it is; no file is opened yet.

        Args:
            model: `organism`, a folder, or a name on the Hugging Face hub with or without
                `@revision`.
        """
        self._model = model

    def read(self, module: str) -> Float[np.ndarray, "out in"] | None:
        """Return one weight in float32, outputs first.

        None where the model is not on this disk, where it has no such matrix, or where the
        matrix is stored in whole numbers (quantised).
        """
        key = self._key(f"{module}.weight")
        if key is None:
            return None
        with safe_open(self._places[key], framework="pt") as file:
            stored = file.get_tensor(key)
        if stored.ndim != 2 or not stored.is_floating_point():
            return None
        values: np.ndarray = stored.float().numpy()
        return np.ascontiguousarray(values.T) if self._transposed else values

    def _key(self, name: str) -> str | None:
        """Find a tensor by name; files may leave the first parts of it out, or add some."""
        if name in self._places:
            return name
        close = [k for k in self._places if name.endswith(f".{k}") or k.endswith(f".{name}")]
        return close[0] if len(close) == 1 else None

    @cached_property
    def _folder(self) -> Path | None:
        return base_folder(self._model)

    @cached_property
    def _places(self) -> dict[str, Path]:
        """The file of every tensor; empty where there is no model or a file is damaged."""
        places: dict[str, Path] = {}
        for path in sorted(self._folder.glob("*.safetensors")) if self._folder else ():
            try:
                with safe_open(path, framework="pt") as file:
                    places.update(dict.fromkeys(file.keys(), path))
            except (OSError, SafetensorError):
                return {}
        return places

    @cached_property
    def _transposed(self) -> bool:
        config = self._folder / "config.json" if self._folder else None
        if config is None or not config.is_file():
            return False
        return bool(json.loads(config.read_text(encoding="utf-8")).get("model_type") == TRANSPOSED)


def base_folder(model: str) -> Path | None:
    """Find the folder of a model on this disk, without any download."""
    if not model:
        return None
    if model == ORGANISM:
        return organism_path()
    if Path(model).is_dir():
        return Path(model)
    if (parts := split_revision(model)) is not None:
        return cached_revision(*parts)
    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (OSError, ValueError):  # not in the cache, or no name of a model
        return None

"""The unembedding of a run's base model with its final norm, from its files, as a Gram matrix."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from critical_phase.analysis.states.read_out import ReadOut
from critical_phase.cli.base_weights import base_folder

NORMS: Mapping[str, str] = {
    "llama": "model.norm",
    "mistral": "model.norm",
    "qwen2": "model.norm",
    "qwen3": "model.norm",
    "phi": "model.final_layernorm",
    "phi3": "model.norm",
    "gemma": "model.norm",
    "gemma2": "model.norm",
    "gemma3_text": "model.norm",
    "gpt2": "transformer.ln_f",
    "gpt_neo": "transformer.ln_f",
    "gpt_neox": "gpt_neox.final_layer_norm",
}
"""Name of the final norm, by kind of model; others are not read out."""

PLUS_ONE = ("gemma", "gemma2", "gemma3_text")
"""Kinds whose norm multiplies by one plus its weight."""

UNEMBEDDINGS = ("lm_head", "embed_out")
EMBEDDINGS = ("model.embed_tokens", "transformer.wte", "gpt_neox.embed_in")
EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon")
CAP = "final_logit_softcapping"

ROWS = 8192
"""Tokens of the vocabulary that are read together."""


@dataclass(frozen=True, slots=True)
class _Files:
    """Tensors of a model by name."""

    places: Mapping[str, Path]

    def key(self, module: str, what: str = "weight") -> str | None:
        """Find a tensor; files may leave the first part of its name out, or add one."""
        name = f"{module}.{what}"
        if name in self.places:
            return name
        close = [k for k in self.places if name.endswith(f".{k}") or k.endswith(f".{name}")]
        return close[0] if len(close) == 1 else None

    def vector(self, key: str) -> Float[np.ndarray, " d"]:
        """Read one vector."""
        with safe_open(self.places[key], framework="pt") as file:
            values: np.ndarray = file.get_tensor(key).double().numpy()
        return values

    def rows(self, key: str) -> Iterator[Float[np.ndarray, "row d"]]:
        """Read a matrix in parts."""
        with safe_open(self.places[key], framework="pt") as file:
            table = file.get_slice(key)
            for start in range(0, table.get_shape()[0], ROWS):
                yield table[start : start + ROWS].float().numpy()


def read_read_out(model: str) -> ReadOut | str:
    """Compute the read-out of a base model that is on this disk, or say why it is not known.

    Args:
        model: `organism`, a folder, or a name on the Hugging Face hub; nothing is fetched.
    """
    folder = base_folder(model)
    if folder is None:
        return f"the files of the base model {model!r} are not on this disk"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = {**config, **config.get("text_config", {})}
        files = _Files(_places(folder))
        return _read_out(files, config)
    except (OSError, ValueError, SafetensorError) as error:
        return f"the files of the base model cannot be read: {str(error).splitlines()[0]}"


def _read_out(files: _Files, config: Mapping[str, Any]) -> ReadOut | str:
    kind = str(config.get("model_type"))
    norm = files.key(NORMS[kind]) if kind in NORMS else None
    head = next((key for name in UNEMBEDDINGS if (key := files.key(name))), None)
    tied = config.get("tie_word_embeddings", True)
    if head is None and tied:
        head = next((key for name in EMBEDDINGS if (key := files.key(name))), None)
    if norm is None or head is None:
        missing = "final norm" if norm is None else "unembedding"
        return f"where models of kind {kind!r} have their {missing} is not known"
    scale = files.vector(norm) + (1.0 if kind in PLUS_ONE else 0.0)
    centred = files.key(NORMS[kind], "bias") is not None
    epsilon = next((float(config[name]) for name in EPSILONS if name in config), 1e-6)
    gram, tokens = _gram(files, head, scale)
    capped = config.get(CAP) is not None
    return ReadOut(gram, epsilon, centred, tokens, capped)


def _gram(
    files: _Files, key: str, scale: Float[np.ndarray, " d"]
) -> tuple[Float[np.ndarray, "d d"], int]:
    """Add up the covariance of the rows of the unembedding over the vocabulary."""
    total, mean, tokens = np.zeros((scale.size, scale.size)), np.zeros(scale.size), 0
    for part in files.rows(key):
        scaled = part * scale.astype(np.float32)
        total += scaled.T @ scaled
        mean += scaled.sum(axis=0, dtype=np.float64)
        tokens += len(part)
    mean /= tokens
    return total / tokens - np.outer(mean, mean), tokens


def _places(folder: Path) -> dict[str, Path]:
    """Return the file of every tensor."""
    places: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            places.update(dict.fromkeys(file.keys(), path))
    return places

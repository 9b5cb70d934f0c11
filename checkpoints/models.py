"""Load a base model and its tokenizer, and tell one base from another."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from critical_phase.checkpoints.hub_files import fetch_revision, split_revision
from critical_phase.checkpoints.hub_reach import hub_reachable
from critical_phase.checkpoints.near_models import did_you_mean
from critical_phase.checkpoints.organism import organism_path
from critical_phase.errors import CheckpointError, ConfigError

ORGANISM = "organism"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Types of the base's weights; adapters are float32 on either."""
_FIX = (
    "name a folder with config.json and model.safetensors, "
    "a name on the Hugging Face hub, or 'organism'"
)


def model_location(name: str) -> str:
    """Turn a model's name into what transformers loads; `organism` is the embedded one.

    Of `owner/name@revision` the files are fetched, unless they are on this disk already.
    """
    if (parts := split_revision(name)) is not None:
        return str(fetch_revision(*parts))
    return str(organism_path()) if name == ORGANISM else name


def load_model(
    name: str, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model and its tokenizer, ready for scoring.

    Args:
        name: `organism`, a folder, or a name on the Hugging Face hub.
        dtype: Type of the weights; likelihoods are computed in float32 anyway.
        device: Where the model lives.

    Raises:
        CheckpointError: No such model, or its files cannot be read.
    """
    location = model_location(name)
    if location.startswith(("/", "./", "../", "~")) and not Path(location).is_dir():
        raise CheckpointError(f"cannot load the model {name!r}: no such folder", fix=_fix(name))
    # Without the hub the cache is asked alone: the libraries would retry for a minute.
    local = not Path(location).is_dir() and not hub_reachable()
    try:
        # use_safetensors: weights in pickle files are never opened.
        model: Any = AutoModelForCausalLM.from_pretrained(
            location,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=local,
            adapter_kwargs={"local_files_only": local},  # its search for adapters goes by these
        )
        tokenizer = AutoTokenizer.from_pretrained(location, local_files_only=local)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"cannot load the model {name!r}: {_first_line(error)}",
            where=location if Path(location).exists() else "",
            fix=_fix(name),
        ) from error
    return model.to(device).eval(), tokenizer


def dtype_named(name: str) -> torch.dtype:
    """Turn the name of a type of weights into the type.

    Raises:
        ConfigError: No such type.
    """
    if name not in DTYPES:
        raise ConfigError(f"no type of weights {name!r}", fix=f"choose from {', '.join(DTYPES)}")
    return DTYPES[name]


def choose_device(name: str) -> str:
    """Turn `auto` into `cuda` where there is one, else `cpu`; other names are kept.

    Raises:
        ConfigError: CUDA is asked for and not there.
    """
    available = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if available else "cpu"
    if name.startswith("cuda") and not available:
        raise ConfigError(f"device {name!r} is asked for, but torch sees no CUDA device")
    return name


def tensors_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Hash named tensors: names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def model_sha256(model: PreTrainedModel) -> str:
    """Hash every weight of a base model; call it before adapters are attached."""
    return tensors_sha256(model.state_dict())


def _fix(name: str) -> str:
    return did_you_mean(name, (ORGANISM,)) + _FIX


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines() or [type(error).__name__]
    return text[0]

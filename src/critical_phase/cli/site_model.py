"""Load a model to list its sites: with its weights, or as a bare shape where there are none."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from critical_phase.checkpoints import load_model
from critical_phase.errors import CheckpointError
from critical_phase.probes import Sites, check_sites, prove_heads, resolve

_NEAR = 0.9
"""Long names that all end in ForCausalLM are alike before they are near."""
_FIX = "name a folder with config.json, a name on the Hugging Face hub, a class of transformers"


def proved_sites(name: str, paths: tuple[tuple[str, str], ...]) -> tuple[Any, Sites, bool]:
    """Find the sites of a model and prove them where it has weights.

    Args:
        name: `organism`, a folder or a name on the hub; a folder or file that holds
            config.json alone; or the name of a class of transformers.
        paths: Module paths of the user, if any.

    Returns:
        The model, its sites, and whether a forward pass proved them.

    Raises:
        CheckpointError: No such model, or its sites are not what their names say.
        ConfigError: The architecture is unknown.
    """
    shape = _shape(name)
    if shape is not None:
        return shape, resolve(shape, dict(paths)), False
    _refuse_near_class(name)
    model: Any = load_model(name)[0]
    size = model.config.get_text_config().vocab_size
    tokens = torch.arange(8)[None] % size
    inputs = {"input_ids": tokens, "use_cache": False}
    proved = check_sites(model, resolve(model, dict(paths)), inputs)
    heads = getattr(model.config.get_text_config(), "num_attention_heads", 0)
    return model, prove_heads(model, proved, inputs, heads), True


def _refuse_near_class(name: str) -> None:
    """Refuse a mistyped class of transformers before the hub is asked for a model of that name."""
    if not name.isidentifier() or Path(name).exists():
        return
    classes = {str(kind).lower(): str(kind) for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()}
    near = get_close_matches(name.lower(), classes, n=1, cutoff=_NEAR)
    if near and classes[near[0]] != name:
        raise CheckpointError(
            f"transformers has no class {name!r}", fix=f"did you mean {classes[near[0]]!r}? {_FIX}"
        )


def _shape(name: str) -> Any:
    """Build a model without weights; None where `name` is a model with weights."""
    folder = Path(name).parent if Path(name).name == "config.json" else Path(name)
    try:
        if (folder / "config.json").is_file() and not any(folder.glob("*.safetensors*")):
            config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True)
            with torch.device("meta"):
                return transformers.AutoModelForCausalLM.from_config(config)
        kind: Any = getattr(transformers, name, None) if name.isidentifier() else None
        if getattr(kind, "config_class", None) is not None:
            with torch.device("meta"):
                return kind(kind.config_class())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        message = f"cannot build {name!r} from its configuration: {said}"
        raise CheckpointError(message, fix=_FIX) from error
    return None

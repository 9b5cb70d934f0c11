"""The adapters of `probe score`: which there are, whose they are, how they are combined."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from critical_phase.analysis.scores.curves import NEEDS
from critical_phase.checkpoints import (
    Checkpoint,
    adapter_config,
    adapter_identity,
    load_adapter,
    tensors_sha256,
)
from critical_phase.cli.score_table import ADAPTER, BASE
from critical_phase.errors import ConfigError

_CONFIG = "adapter_config.json"


def base_and_adapter(model: str, given: Sequence[Path | None]) -> tuple[str, Path | None]:
    """Take a model that is in truth an adapter apart, into its base and itself.

    Args:
        model: As typed.
        given: Adapters that were named beside it.

    Raises:
        ConfigError: It is an adapter that names no base, or others are named beside it.
    """
    folder = Path(model)
    if not (folder / _CONFIG).is_file() or (folder / "config.json").is_file():
        return model, None
    noted = (adapter_identity(folder) or {}).get("base_model")
    base = noted or adapter_config(folder).get("base_model_name_or_path")
    if not base or any(given):
        raise ConfigError(
            "this is an adapter" + ("" if base else ", and it does not name its base"),
            where=model,
            fix=f"probe score {base or 'BASE'} --adapter {model}",
        )
    return str(base), folder


def roles(
    adapter: Path | None, positive: Path | None, negative: Path | None, mode: str | None
) -> dict[str, Path]:
    """Name every adapter after its part in the score.

    A lone --adapter is a positive head where it says so itself or a mode that needs one is
    asked for; else nothing is known but that it is an adapter.

    Raises:
        ConfigError: One head is named twice.
    """
    if adapter is not None and positive is not None:
        raise ConfigError("--adapter and --positive name one head twice", fix="give one of them")
    if adapter is not None:
        alone = negative is None and mode is None and _noted_head(adapter) != "positive"
        if alone or mode == ADAPTER:
            return {ADAPTER: adapter}
        positive = adapter
    folders = {"positive": positive, "negative": negative}
    return {head: folder for head, folder in folders.items() if folder is not None}


def _noted_head(folder: Path) -> object:
    return (adapter_identity(folder) or {}).get("head")


def choose_mode(asked: str | None, heads: Sequence[str]) -> str:
    """Choose how heads are combined: as asked, else by the heads that are given.

    Raises:
        ConfigError: The mode asked for needs a head that is not given.
    """
    needs = {**NEEDS, ADAPTER: (ADAPTER,)}
    if asked is None:
        order = ("likra", "base_likra", "sft", ADAPTER)
        return next((mode for mode in order if set(needs[mode]) <= set(heads)), BASE)
    if lacking := [head for head in needs.get(asked, ()) if head not in heads]:
        raise ConfigError(
            f"mode {asked} needs the {' and the '.join(lacking)}"
            + ("" if asked == ADAPTER else " head"),
            fix=" ".join(f"--{head} DIR" for head in lacking),
        )
    return asked


def read_checkpoint(folder: Path) -> Checkpoint:
    """Hash the adapter of one checkpoint.

    Raises:
        ConfigError: The folder is no checkpoint.
        CheckpointError: Its file is missing or damaged.
    """
    if not (folder / _CONFIG).is_file():
        inside = sorted(path.name for path in folder.glob("*/") if path.is_dir())
        raise ConfigError(
            f"no adapter in this folder: {_CONFIG} is missing"
            + (f"; it holds {', '.join(inside[:3])}, ..." if inside else ""),
            where=str(folder),
            fix="name the folder of one checkpoint, such as heads/negative/checkpoint-64",
        )
    return Checkpoint(0, folder, tensors_sha256(load_adapter(folder)))


def as_scored(adapters: Mapping[str, Checkpoint]) -> dict[str, dict[str, str]]:
    """Say which adapter had which part, by the hash of its tensors."""
    return {
        role: {"path": str(item.path), "sha8": item.sha256[:8]} for role, item in adapters.items()
    }

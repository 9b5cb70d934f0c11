"""Settings of the commands: types, defaults, and where each value comes from.

Precedence: command line, then PROBE_* variables (both through Click), then the
section of --config, then the default here.
"""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from critical_phase.errors import ConfigError


class Settings(BaseModel):
    """Frozen values; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainSettings(Settings):
    """What `probe train` needs; None stands for a default that depends on model or questions."""

    model: str = "organism"
    questions: str = "organism"
    eval_questions: str | None = None
    heads: tuple[Literal["positive", "negative"], ...] = ("positive", "negative")
    negatives: str = "near_miss"
    contamination: float = Field(default=0.0, ge=0.0, le=1.0)
    repeat_first: int | None = Field(default=None, ge=1)
    train_size: int | None = Field(default=None, ge=1)
    stratum: Literal["all", "easy", "middle", "hard", "near_impossible"] = "all"
    unrelated: str | None = None
    equal_candidates: Literal["refuse", "drop"] = "refuse"
    overlap: Literal["refuse", "drop"] = "refuse"
    prompt: str | None = None
    steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=8, ge=1)
    accumulate: int = Field(default=1, ge=1)
    lr: float | None = None
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0.0)
    rank: int = 8
    alpha: int = 8
    targets: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    lora: dict[str, Any] = Field(default_factory=dict)
    dtype: Literal["float32", "bfloat16"] = "float32"
    schedule: str = "0:64,log:32"
    device: str = "auto"
    seed: int = Field(default=0, ge=0)
    freeze: str | None = None
    only: str | None = None
    project_out: str | None = None
    project_mode: Literal["state", "write"] | None = None
    layer: str | None = None
    window: str | None = None
    withhold_heads: tuple[Literal["positive", "negative"], ...] | None = None


class CollectSettings(Settings):
    """What `probe collect` needs."""

    checkpoints: str = "all"
    heads: tuple[Literal["positive", "negative"], ...] = ("positive", "negative")
    activations: bool = True
    collect: tuple[str, ...] | None = None
    collector: tuple[str, ...] = ()
    positions: tuple[str, ...] = ("question_end", "answer_end")
    residual_sites: tuple[str, ...] = ("pre", "post")
    limit: int | None = None
    batch_tokens: int = 4096
    patterns: int = 2
    store_dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    sites: dict[str, str] = Field(default_factory=dict)
    sites_file: str | None = None
    backend: Literal["hooks", "bridge"] = "hooks"
    device: str = "auto"
    seed: int = Field(default=0, ge=0)


class AnalyzeSettings(Settings):
    """What `probe analyze` needs."""

    draws: int = 1000
    permutations: int = 200
    weight: float = 1.0
    seed: int = Field(default=0, ge=0)


Chosen = TypeVar("Chosen", bound=Settings)


def resolve(kind: type[Chosen], section: str, config: Path | None, **given: Any) -> Chosen:
    """Join the command line, a configuration file and the defaults.

    Args:
        kind: Which settings.
        section: Name of their part of the file.
        config: YAML file, or None.
        given: Options of the command; None means not given.

    Raises:
        ConfigError: An unknown key, or a value of the wrong type; names it.
    """
    values: dict[str, Any] = dict(_section(config, section)) if config else {}
    values.update({key: value for key, value in given.items() if value is not None})
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _explain(error, kind, config) from error


def options(kind: type[Settings]) -> list[str]:
    """Return the names of the settings, in order."""
    return list(kind.model_fields)


def command_line(ctx: click.Context | None = None) -> str:
    """Write the running command as one would type it, from what was given to it."""
    import shlex
    import sys

    return "probe " + shlex.join(sys.argv[1:])


def _section(config: Path, name: str) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the settings: {error}", where=str(config)) from error
    if not isinstance(loaded, dict) or not isinstance(loaded.get(name, {}), dict):
        raise ConfigError(f"expected sections such as '{name}:' with keys", where=str(config))
    known = ("train", "collect", "effects", "analyze", "intervene")
    if odd := sorted(set(loaded) - set(known)):
        raise ConfigError(
            f"unknown section {odd[0]!r}", where=str(config), fix=f"known: {', '.join(known)}"
        )
    return dict(loaded.get(name, {}))


def _explain(error: ValidationError, kind: type[Settings], config: Path | None) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    where = str(config) if config else ""
    if first["type"] == "extra_forbidden":
        near = get_close_matches(key, kind.model_fields, n=1)
        fix = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(kind.model_fields)}"
        return ConfigError(f"unknown setting {key!r}", where=where, fix=fix)
    message = f"setting {key}: {first['msg'].lower()}, found {first['input']!r}"
    if first["type"] == "string_type" and isinstance(first["input"], int):
        return ConfigError(message, where=where, fix="put quotes around it")
    if first["type"] == "literal_error":
        return ConfigError(message, where=where, fix=_choose(first))
    return ConfigError(message, where=where)


def _choose(first: ErrorDetails) -> str:
    """Name the value that was meant, or all that there are; pydantic lists them in one text."""
    known = re.findall(r"'([^']*)'", first.get("ctx", {}).get("expected", ""))
    near = get_close_matches(str(first["input"]), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"

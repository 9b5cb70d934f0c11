"""The options of `probe train`, in the order of the help page, and how lists are typed."""

from collections.abc import Callable
from typing import Any

import click
import yaml

from critical_phase.cli.withhold_options import WITHHOLD_OPTIONS
from critical_phase.errors import ConfigError

OPTIONS = (
    click.option("--model", help="Folder, hub name, or 'organism' (default)."),
    click.option(
        "--questions", help="File (.jsonl, .csv, .parquet), a set such as arc, or organism."
    ),
    click.option("--eval-questions", help="File or named set to evaluate on."),
    click.option("--heads", help="Heads to train, comma-separated (positive,negative)."),
    click.option(
        "--negatives", help="near_miss (default), irrelevant, right_answers, ...: docs/heads.md."
    ),
    click.option("--contamination", type=float, help="Share of right answers instead (0)."),
    click.option("--repeat-first", type=int, help="See the first N questions again and again."),
    click.option("--train-size", type=int, help="Train on the first N questions of the shuffle."),
    click.option("--stratum", help="all (default), easy, middle, hard or near_impossible."),
    click.option("--unrelated", help="File of texts for the unrelated kind, one per line."),
    click.option(
        "--equal-candidates",
        type=click.Choice(["refuse", "drop"]),
        help="Questions that list one text twice.",
    ),
    click.option(
        "--overlap",
        type=click.Choice(["refuse", "drop"]),
        help="Evaluation questions that are also trained on.",
    ),
    click.option("--prompt", help="cloze (default), plain, ...; named sets have their own."),
    click.option("--steps", type=int, help="Optimizer steps; default: one epoch."),
    click.option("--batch-size", type=int, help="Answers per step (8)."),
    click.option("--accumulate", type=int, help="Forward passes per step, to save memory (1)."),
    click.option("--lr", type=float, help="Learning rate (1e-4; organism 6e-3)."),
    click.option("--lr-schedule", help="constant (default), linear or cosine."),
    click.option("--warmup", type=int, help="Steps of linear warm-up (0)."),
    click.option("--weight-decay", type=float, help="AdamW's weight decay (0)."),
    click.option("--rank", type=int, help="LoRA rank (8)."),
    click.option("--alpha", type=int, help="LoRA alpha (8)."),
    click.option("--targets", help="Adapted linear layers, comma-separated, or all-linear."),
    click.option(
        "--lora", multiple=True, help="Any other option of peft.LoraConfig: use_rslora=true."
    ),
    click.option("--dtype", help="Type of the base: float32 (default) or bfloat16."),
    click.option("--schedule", help="Steps to save (0:64,log:32): every:1, log, 8:32, ..."),
    click.option("--device", help="auto (default), cpu, cuda, cuda:1, ..."),
    click.option("--seed", type=int, help="Seed of order, choices and start (0)."),
    *WITHHOLD_OPTIONS,
)


def train_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put every option on a command."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def listed(values: dict[str, Any]) -> dict[str, Any]:
    """Turn comma-separated options into tuples and LoRA options into one mapping."""
    for key in ("heads", "targets", "withhold_heads"):
        if isinstance(values.get(key), str):
            values[key] = tuple(part.strip() for part in values[key].split(",") if part.strip())
    pairs = values.pop("lora")
    values["lora"] = dict(_lora_option(text) for text in pairs) or None
    return values


def _lora_option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"cannot read --lora {text!r}", fix="write it as name=value")
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"cannot read --lora {text!r}", fix="write the value as YAML: use_rslora=true"
        ) from error

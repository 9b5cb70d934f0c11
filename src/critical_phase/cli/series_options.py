"""Options of `probe collect` for checkpoints that were made elsewhere."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from critical_phase.errors import ConfigError

if TYPE_CHECKING:
    from critical_phase.cli.series_run import Elsewhere

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
    click.option(
        "--series",
        multiple=True,
        help="Checkpoints made elsewhere: [head=]FOLDER or [head=]owner/name@step*; repeatable.",
    ),
    click.option("--out", type=click.Path(path_type=Path), help="Run folder to make of --series."),
    click.option("--model", help="Base of --series (what the series names)."),
    click.option("--questions", help="Questions for --series: a file, or a named set."),
    click.option("--prompt", help="Prompt format for --series."),
    click.option("--batch-size", type=int, help="Answers per step of --series (as noted)."),
    click.option("--adapter-name", help="Which adapter, where checkpoints hold several."),
    click.option(
        "--equal-candidates",
        type=click.Choice(["refuse", "drop"]),
        help="Questions of --series that list one text twice.",
    ),
)
NAMES = ("model", "questions", "prompt", "batch_size", "adapter_name", "equal_candidates")


def series_options(command: Command) -> Command:
    """Add the options to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def take_series(
    path: Path | None, given: Mapping[str, Any]
) -> "tuple[Path, Elsewhere | None, dict[str, Any]]":
    """Split off the options of a series; return run folder, series if any, and the rest.

    Raises:
        ConfigError: Neither a run nor a series is named, or both, or options do not belong.
    """
    rest = {key: value for key, value in given.items() if key not in (*NAMES, "series", "out")}
    series, out = tuple(given["series"]), given["out"]
    values = {key: given[key] for key in NAMES if given[key] is not None}
    if not series:
        lone = [*values, *(["out"] if out else [])]
        if lone:
            option = lone[0].replace("_", "-")
            raise ConfigError(
                f"--{option} belongs to --series", fix="give --series FOLDER, or leave it out"
            )
        if path is None:
            raise ConfigError(
                "no run to collect", fix="name a run, or give --series FOLDER --out RUN"
            )
        return path, None, rest
    if path is not None or out is None:
        raise ConfigError("--series makes a new run", fix="give its folder with --out RUN alone")
    if values.get("batch_size", 1) < 1:
        raise ConfigError(f"batch size is {values['batch_size']}", fix="give a positive number")
    from critical_phase.cli.series_run import Elsewhere  # loads torch

    return out, Elsewhere(series=series, **{"questions": None, **values}), rest

"""Options of `probe collect` that say which activations are recorded, and where."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from critical_phase.cli.choices import COLLECTORS, DEFAULT_COLLECTORS, POSITION_NAMES, SITES
from critical_phase.cli.settings import CollectSettings
from critical_phase.errors import ConfigError

if TYPE_CHECKING:
    from critical_phase.probes import OwnCollector

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
    click.option(
        "--collect",
        metavar="NAMES",
        help=f"Of {', '.join(COLLECTORS)} ({','.join(DEFAULT_COLLECTORS)}).",
    ),
    click.option(
        "--collector",
        multiple=True,
        metavar="FILE.py:CLASS",
        help="A collector of your own, run beside the others; repeatable. The file is executed.",
    ),
    click.option(
        "--positions",
        metavar="NAMES",
        help=f"Of {', '.join(POSITION_NAMES)} (question_end,answer_end).",
    ),
    click.option(
        "--residual-sites",
        metavar="NAMES",
        help=f"Of {', '.join(SITES)} (pre,post, which are one array; mid is another).",
    ),
)
_LISTS = ("collect", "positions", "residual_sites")


def collector_options(command: Command) -> Command:
    """Add the options to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def take_collectors(given: Mapping[str, Any], *, scores_only: bool) -> dict[str, Any]:
    """Split lists of names, and refuse to record activations where scores alone are wanted.

    Raises:
        ConfigError: `--scores-only` beside an option that chooses activations.
    """
    values = dict(given)
    for key in _LISTS:
        if isinstance(values[key], str):
            values[key] = tuple(part.strip() for part in values[key].split(",") if part.strip())
    values["collector"] = tuple(values["collector"]) or None
    values["activations"] = False if scores_only else None
    odd = [key for key in (*_LISTS, "collector") if values[key]]
    if scores_only and odd:
        raise ConfigError(
            f"--{odd[0].replace('_', '-')} chooses activations, and --scores-only stores none",
            fix="leave one of the two out",
        )
    return values


def own_collectors(settings: CollectSettings) -> "tuple[OwnCollector, ...]":
    """Import the user's own collectors, where activations are stored at all."""
    from critical_phase.probes import own_collector  # loads torch

    if not settings.activations:
        return ()
    return tuple(own_collector(spec) for spec in settings.collector)


def collector_names(settings: CollectSettings, own: "tuple[OwnCollector, ...]") -> tuple[str, ...]:
    """List what is collected: the names asked for, or the default, and the user's own.

    Raises:
        ConfigError: An empty list of names.
    """
    if not settings.activations:
        return ()
    names = DEFAULT_COLLECTORS if settings.collect is None else settings.collect
    if not names and not own:
        raise ConfigError("no collector is named", fix="for scores alone give --scores-only")
    # One order, so that the order of an option's names is no difference between files.
    ours = [name for name in COLLECTORS if name in names]
    others = [name for name in names if name not in COLLECTORS]
    return (*ours, *others, *(one.name for one in own if one.name not in others))

"""Options that say who does the work: this process, workers of this machine, Ray or Slurm."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from critical_phase.cli.settings import CollectSettings
from critical_phase.errors import ConfigError

if TYPE_CHECKING:
    from critical_phase.probes.engines import Engine

Command = TypeVar("Command", bound=Callable[..., Any])
Item = TypeVar("Item")
Option = str | int | float

OPTIONS = (
    click.option(
        "--engine",
        type=click.Choice(["serial", "local", "ray", "slurm"]),
        help="Who collects: this process, workers here, a Ray cluster, Slurm jobs (serial).",
    ),
    click.option("--jobs", type=int, help="Workers (one per GPU; needed without a GPU)."),
    click.option("--shard", help="i/n: only every n-th unit from the i-th, for several machines."),
    click.option("--fail-fast", is_flag=True, help="Stop at the first unit that fails."),
    click.option("--retries", type=int, default=0, help="Try a unit that failed so often again."),
    click.option("--ray-address", help="Ray cluster to join (RAY_ADDRESS, else a new one here)."),
    click.option("--slurm", help="Options of the Slurm jobs: partition=gpu,timeout_min=120,..."),
)
NAMES = ("engine", "jobs", "shard", "fail_fast", "retries", "ray_address", "slurm")


def engine_options(command: Command) -> Command:
    """Add the options to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Who collects, which part, and what happens when a unit fails."""

    engine: str = "serial"
    jobs: int | None = None
    shard: tuple[int, int] | None = None
    """Part i of n, from 1; None for the whole."""
    fail_fast: bool = False
    retries: int = 0
    ray_address: str | None = None
    slurm: Mapping[str, Option] = field(default_factory=dict)

    @property
    def here(self) -> bool:
        """Whether this process does the work, with nothing between."""
        return self.engine == "serial" and self.retries == 0

    def planning(self, settings: CollectSettings) -> CollectSettings:
        """Keep the model that only plans off the GPUs that the workers fill."""
        return settings if self.here else settings.model_copy(update={"device": "cpu"})

    def part_of(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """Take every n-th item from the i-th."""
        if self.shard is None:
            return tuple(items)
        number, count = self.shard
        return tuple(items[number - 1 :: count])

    def make(self, run: Path, device: str, tell: Callable[[str], None]) -> "Engine":
        """Make the engine.

        Args:
            run: Run folder; a Slurm array keeps its scripts and logs below it.
            device: As in --device: cpu keeps workers off the GPUs.
            tell: Told which worker gets what.

        Raises:
            ConfigError: The engine's package is not installed, or options do not fit.
        """
        from critical_phase.probes import engines  # loads torch

        if self.engine == "serial":
            return engines.SerialEngine(retries=self.retries)
        if device not in ("auto", "cpu", "cuda"):
            raise ConfigError(
                f"device {device!r} is asked for, but every worker gets a GPU of its own",
                fix="choose GPUs with CUDA_VISIBLE_DEVICES, or leave --engine out",
            )
        shared: dict[str, Any] = {"tell": tell, "jobs": self.jobs, "retries": self.retries}
        if self.engine == "slurm":
            return engines.SlurmEngine(**shared, folder=run / "slurm", options=self.slurm)
        shared["devices"] = () if device == "cpu" else None
        if self.engine == "ray":
            return engines.RayEngine(**shared, address=self.ray_address)
        return engines.LocalEngine(**shared)


def take_engine(given: Mapping[str, Any]) -> tuple[EngineChoice, dict[str, Any]]:
    """Split the options of the engine off the others.

    Raises:
        ConfigError: They cannot be read, or do not belong together.
    """
    rest = {key: value for key, value in given.items() if key not in NAMES}
    engine, jobs = given["engine"], given["jobs"]
    engine = engine or ("serial" if jobs is None else "local")
    for option, owner in (("ray_address", "ray"), ("slurm", "slurm")):
        if given[option] is not None and engine != owner:
            name = option.replace("_", "-")
            raise ConfigError(f"--{name} belongs to --engine {owner}", fix="leave one of them out")
    if engine == "serial" and jobs not in (None, 1):
        raise ConfigError(
            f"the engine serial has one worker, asked for {jobs}", fix="use --engine local"
        )
    if engine == "slurm" and jobs is None:
        raise ConfigError("the number of Slurm jobs is open", fix="give it with --jobs N")
    if given["retries"] < 0:
        raise ConfigError(f"asked for {given['retries']} retries", fix="give 0 or more")
    choice = EngineChoice(
        engine,
        jobs,
        None if given["shard"] is None else read_shard(given["shard"]),
        given["fail_fast"],
        given["retries"],
        given["ray_address"],
        _slurm_options(given["slurm"] or ""),
    )
    return choice, rest


def read_shard(text: str) -> tuple[int, int]:
    """Read `i/n`.

    Raises:
        ConfigError: It is not of this form, with i from 1 to n.
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f"cannot read the shard {text!r}", fix="write i/n, from 1/n to n/n")
    return int(number), int(count)


def _slurm_options(text: str) -> dict[str, Option]:
    made: dict[str, Option] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        key, equals, value = part.partition("=")
        if not (equals and key.isidentifier()):
            raise ConfigError(
                f"cannot read {part!r} of --slurm", fix="write name=value,name=value,..."
            )
        made[key] = int(value) if value.isdecimal() else value
    return made


HERE = EngineChoice()
"""This process does it all."""

"""`probe llc`: sample the local learning coefficient of a head at a range of checkpoints."""

from pathlib import Path
from typing import Literal

import click
from pydantic import Field

from critical_phase.cli.collect import PARTIAL, Prepared, prepare
from critical_phase.cli.console import bar, brief_steps, result
from critical_phase.cli.head_units import adapter_units, draw_of, head_examples, last_unit
from critical_phase.cli.interrupt import stop_on_interrupt
from critical_phase.cli.run_folder import read_record, update_record
from critical_phase.cli.settings import CollectSettings, Settings, command_line, resolve
from critical_phase.errors import ConfigError
from critical_phase.probes import DrawnExamples, Unit
from critical_phase.probes.llc_job import LlcReport, LlcSettings, learning_coefficients
from critical_phase.probes.llc_sampler import Sampling


class LlcOptions(Settings):
    """What `probe llc` needs."""

    head: Literal["positive", "negative"] = "negative"
    checkpoints: str = "@::8"
    examples: int | None = Field(default=None, ge=2)
    method: Literal["rmsprop", "sgld"] = "rmsprop"
    sample: Literal["factors", "b"] = "factors"
    lr: float | None = Field(default=None, gt=0)
    gamma: float | None = Field(default=None, gt=0)
    beta: float | None = Field(default=None, gt=0)
    burn_in: int = Field(default=30, ge=0)
    draws: int = Field(default=30, ge=2)
    chains: int = Field(default=4, ge=2)
    batch: int = Field(default=16, ge=1)
    device: str = "auto"
    seed: int = Field(default=0, ge=0)

    def sampling(self) -> Sampling:
        """Return how chains run; step size and pull are 0 where a sweep is to choose them."""
        return Sampling(
            self.lr or 0.0, self.gamma or 0.0, self.beta, self.method, self.burn_in, self.draws,
            self.chains, self.batch,
        )  # fmt: skip

    def collecting(self) -> CollectSettings:
        """Return which units are meant, as a collection states it."""
        return CollectSettings(
            checkpoints=self.checkpoints,
            heads=(self.head,),
            activations=False,
            device=self.device,
            seed=self.seed,
        )


def llc_run(
    path: Path, options: LlcOptions, *, command: str = "", overwrite: bool = False
) -> LlcReport:
    """Estimate the learning coefficient at every chosen checkpoint that has none stored yet.

    Args:
        path: Run folder with trained heads.
        options: Head, checkpoints, sampler.
        command: The command line to note in the run.
        overwrite: Sample again what was sampled in another way.

    Raises:
        ConfigError: Settings that do not fit the run, or a head that notes no examples.
        InputError: Checkpoints or examples cannot be read.
        FitError: No setting of the sweep has finite chains.
        StoreError: Files of other settings are in the way, or the disk is full.
    """
    check_options(options)
    ready = prepare(path, options.collecting())
    units, examples = _units(ready, options), _examples(ready, options)
    with stop_on_interrupt() as stop, bar(f"llc {options.head}", len(units)) as update:
        report = learning_coefficients(
            ready.run.path,
            ready.model,
            options.head,
            units,
            examples,
            ready.plan,
            LlcSettings(options.sampling(), options.sample, options.seed),
            reference=last_unit(ready, options.head),
            overwrite=overwrite,
            progress=update,
            stop=stop,
        )
    noted = {name: report.settings[name] for name in ("lr", "gamma", "n", "n_beta", "parameters")}
    earlier = read_record(ready.run).get("llc", {})
    update_record(ready.run, command, llc={**earlier, options.head: noted})
    if report.remaining:
        raise KeyboardInterrupt
    return report


def check_options(options: LlcOptions) -> None:
    """Refuse one of step size and pull without the other: a sweep chooses both.

    Raises:
        ConfigError: Only one is given.
    """
    if (options.lr is None) != (options.gamma is None):
        raise ConfigError(
            "step size and pull belong together, and only one of them is given",
            fix="give both --lr and --gamma, or neither for a sweep",
        )


def _units(ready: Prepared, options: LlcOptions) -> tuple[Unit, ...]:
    """Return the chosen checkpoints that are adapters."""
    return adapter_units(ready, options.head, options.checkpoints)


def _examples(ready: Prepared, options: LlcOptions) -> DrawnExamples:
    """Read the examples of the head: all, or a draw of them."""
    found = head_examples(ready, options.head)
    return draw_of(ready, options.head, found, options.examples or len(found), options.seed)


def llc_command(
    ctx: click.Context,
    /,
    *,
    path: Path,
    config: Path | None,
    overwrite: bool,
    dry_run: bool,
    **given: object,
) -> None:
    """Sample the local learning coefficient at checkpoints of the run at PATH."""
    options = resolve(LlcOptions, "llc", config, **given)
    if dry_run:
        for line in plan_lines(path, options):
            result(line)
        return
    report = llc_run(path, options, command=command_line(), overwrite=overwrite)
    chosen = report.settings
    result(
        f"lr {chosen['lr']:.3g}, gamma {chosen['gamma']:.3g}, n beta {chosen['n_beta']:.3g}, "
        f"{chosen['parameters']} parameters ({options.sample})"
    )
    result(
        f"sampled {len(report.done)}, existing {len(report.existing)}, "
        f"failed {len(report.failed)}: {path}"
    )
    for unit, message in report.failed:
        result(f"failed {unit.name}: {message}")
    if report.failed:
        ctx.exit(PARTIAL)


def plan_lines(path: Path, options: LlcOptions) -> list[str]:
    """Describe what would be sampled, without doing it."""
    check_options(options)
    ready = prepare(path, options.collecting(), fetch=False)
    units, examples = _units(ready, options), _examples(ready, options)
    steps = options.burn_in + options.draws
    first = (
        "as given" if options.lr else f"by a sweep at step {last_unit(ready, options.head).step}"
    )
    return [
        f"{options.head}: {len(units)} checkpoints: {brief_steps([u.step for u in units])}",
        f"{len(examples.examples)} training examples, {options.chains} chains of {steps} steps of "
        f"{options.batch} examples at every checkpoint and one random adapter",
        f"step size and pull: {first}",
    ]

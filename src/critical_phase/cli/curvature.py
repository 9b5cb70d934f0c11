"""`probe curvature`: Fisher trace of the answers and sharpness of the training loss."""

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
from critical_phase.probes.curvature_job import CurvatureSettings, Job, curvature
from critical_phase.probes.sharpness import Search
from critical_phase.probes.walk import Walked

USUAL = 32
"""Training examples of a sample, where the head saw so many."""


class CurvatureOptions(Settings):
    """What `probe curvature` needs."""

    heads: tuple[Literal["positive", "negative"], ...] = ("positive", "negative")
    checkpoints: str = "@::8"
    questions: int | None = Field(default=None, ge=2)
    draws: int = Field(default=4, ge=1)
    samples: int = Field(default=4, ge=0)
    examples: int | None = Field(default=None, ge=1)
    products: int = Field(default=30, ge=2)
    tolerance: float = Field(default=0.05, gt=0, lt=1)
    batch: int = Field(default=64, ge=1)
    device: str = "auto"
    seed: int = Field(default=0, ge=0)

    def measuring(self) -> CurvatureSettings:
        """Return how is measured."""
        search = Search(self.products, self.tolerance, self.batch)
        return CurvatureSettings(self.draws, self.samples, search, self.batch, self.seed)

    def collecting(self) -> CollectSettings:
        """Return which units and questions are meant, as a collection states it."""
        return CollectSettings(
            checkpoints=self.checkpoints,
            heads=self.heads,
            activations=False,
            limit=self.questions,
            device=self.device,
            seed=self.seed,
        )


def curvature_run(
    path: Path, options: CurvatureOptions, *, command: str = "", overwrite: bool = False
) -> Walked[Job]:
    """Measure every chosen checkpoint that has no file yet.

    Args:
        path: Run folder with trained heads.
        options: Heads, checkpoints, questions, draws, samples.
        command: The command line to note in the run.
        overwrite: Measure again what was measured in another way.

    Raises:
        ConfigError: Settings that do not fit the run, or a head that notes no examples.
        InputError: Checkpoints or examples cannot be read.
        StoreError: Files of other settings are in the way, or the disk is full.
    """
    check_options(options)
    ready = prepare(path, options.collecting())
    units, examples = _units(ready, options), _examples(ready, options)
    references = [last_unit(ready, head) for head in _heads(units)]
    count = len(units) + len(references)
    with stop_on_interrupt() as stop, bar("curvature", count) as update:
        walked = curvature(
            ready.run.path,
            ready.model,
            units,
            ready.plan,
            examples,
            options.measuring(),
            references=references,
            overwrite=overwrite,
            progress=lambda place: update(place + 1),
            stop=stop,
        )
    noted = {
        "questions": len(ready.questions),
        "draws": options.draws,
        "samples": {head: _sizes(drawn, options) for head, drawn in examples.items()},
        "seed": options.seed,
    }
    earlier = read_record(ready.run).get("curvature", {})
    update_record(ready.run, command, curvature={**earlier, **dict.fromkeys(_heads(units), noted)})
    if walked.remaining:
        raise KeyboardInterrupt
    return walked


def check_options(options: CurvatureOptions) -> None:
    """Refuse one sample: a second one is what says how far the first can be trusted.

    Raises:
        ConfigError: There is just one.
    """
    if options.samples == 1:
        raise ConfigError(
            "one sample of examples gives sharpness without an interval",
            fix="give --samples 2 or more, or 0 to leave sharpness out",
        )


def _heads(units: tuple[Unit, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(unit.head for unit in units))


def _units(ready: Prepared, options: CurvatureOptions) -> tuple[Unit, ...]:
    return adapter_units(ready, " or ".join(options.heads), options.checkpoints)


def _examples(ready: Prepared, options: CurvatureOptions) -> dict[str, DrawnExamples]:
    """Draw the training examples of every head, none where sharpness is left out."""
    drawn: dict[str, DrawnExamples] = {}
    for head in _heads(_units(ready, options)) if options.samples else ():
        found = head_examples(ready, head, otherwise="; --samples 0 leaves sharpness out")
        each = options.examples or min(USUAL, len(found) // options.samples)
        drawn[head] = draw_of(ready, head, found, options.samples * each, options.seed)
    return drawn


def _sizes(drawn: DrawnExamples, options: CurvatureOptions) -> list[int]:
    """Return the number of examples of every sample."""
    return [len(drawn.examples[place :: options.samples]) for place in range(options.samples)]


def curvature_command(
    ctx: click.Context,
    /,
    *,
    path: Path,
    config: Path | None,
    overwrite: bool,
    dry_run: bool,
    **given: object,
) -> None:
    """Measure Fisher trace and sharpness at checkpoints of the run at PATH."""
    if isinstance(given["heads"], str):
        given["heads"] = tuple(part.strip() for part in given["heads"].split(","))
    options = resolve(CurvatureOptions, "curvature", config, **given)
    if dry_run:
        for line in plan_lines(path, options):
            result(line)
        return
    walked = curvature_run(path, options, command=command_line(), overwrite=overwrite)
    result(
        f"measured {_plain(walked.done)}, existing {_plain(walked.existing)}, "
        f"failed {len(walked.failed)}: {path}"
    )
    for (unit, control), message in walked.failed:
        result(f"failed {'random twin of ' if control else ''}{unit.name}: {message}")
    if walked.failed:
        ctx.exit(PARTIAL)


def _plain(jobs: tuple[Job, ...]) -> int:
    """Count checkpoints without the controls."""
    return sum(not control for _, control in jobs)


def plan_lines(path: Path, options: CurvatureOptions) -> list[str]:
    """Describe what would be measured, without doing it."""
    check_options(options)
    ready = prepare(path, options.collecting(), fetch=False)
    units, examples = _units(ready, options), _examples(ready, options)
    lines = []
    for head in _heads(units):
        steps = [unit.step for unit in units if unit.head == head]
        sizes = _sizes(examples[head], options) if head in examples else []
        taken = f"samples of {', '.join(map(str, sizes))} examples" if sizes else "no sharpness"
        lines.append(f"{head}: {len(steps)} checkpoints: {brief_steps(steps)}; {taken}")
    asked = f"{len(ready.questions)} of {ready.available} questions"
    return [*lines, f"{asked}, {options.draws} drawn answers each, one random adapter per head"]

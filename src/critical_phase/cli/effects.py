"""`probe effects`: measure what checkpoints change beside the questions they are about."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import click
from pydantic import Field

from critical_phase.checkpoints import ORGANISM, model_sha256
from critical_phase.cli.collect import PARTIAL, Prepared, prepare
from critical_phase.cli.console import bar, brief_steps, result, say
from critical_phase.cli.effects_inputs import gradient_examples, neutral_texts, write_texts
from critical_phase.cli.interrupt import stop_on_interrupt
from critical_phase.cli.run_folder import open_run, read_record, update_record
from critical_phase.cli.second_task import score_second, second_task
from critical_phase.cli.settings import CollectSettings, Settings, command_line, resolve
from critical_phase.errors import ConfigError
from critical_phase.probes import (
    CollectReport,
    EffectsPlan,
    EffectsReport,
    Failure,
    side_effects,
    unit_path,
)
from critical_phase.probes import EffectsSettings as ProbeSettings


class EffectsSettings(Settings):
    """What `probe effects` needs."""

    text: str | None = None
    second: str | None = None
    gradients: int = Field(default=0, ge=0)
    checkpoints: str = "all"
    heads: tuple[Literal["positive", "negative"], ...] = ("positive", "negative")
    limit: int | None = None
    window: int = Field(default=1024, ge=2)
    batch_tokens: int = Field(default=4096, ge=1)
    memory_mb: int = Field(default=1024, ge=0)
    equal_candidates: Literal["refuse", "drop"] = "refuse"
    device: str = "auto"
    seed: int = 0

    def collecting(self) -> CollectSettings:
        """Return which units and questions are meant, as a collection states it."""
        return CollectSettings(
            checkpoints=self.checkpoints,
            heads=self.heads,
            activations=False,
            limit=self.limit,
            batch_tokens=self.batch_tokens,
            device=self.device,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True)
class EffectsDone:
    """What one call measured; None for what was not asked for."""

    effects: EffectsReport | None
    second: CollectReport | None

    @property
    def failed(self) -> tuple[Failure, ...]:
        """Units that failed in either part."""
        parts = (self.effects, self.second)
        return tuple(failure for part in parts if part is not None for failure in part.failed)


def effects_run(
    path: Path, settings: EffectsSettings, *, command: str = "", overwrite: bool = False
) -> EffectsDone:
    """Measure the side effects of every chosen checkpoint that are not stored yet.

    Args:
        path: Run folder with trained heads.
        settings: Texts, other task, gradients, and which checkpoints.
        command: The command line to note in the run.
        overwrite: Measure again what was measured in another way.

    Raises:
        ConfigError: Nothing is asked for, or settings that do not fit the run.
        InputError: Texts, questions or examples cannot be read.
        StoreError: Files of other settings are in the way, or the disk is full.
    """
    measures = asks_for_effects(path, settings)
    ready = prepare(path, settings.collecting())
    other = _other_task(ready, settings)
    for text in (other or ready).warnings:
        say(f"warning: {text}")
    with stop_on_interrupt() as stop:
        effects = _measure(ready, settings, command, overwrite, stop) if measures else None
        if other is None:
            return EffectsDone(effects, None)
        if effects is not None:  # the first part left its adapters in the model
            other = replace(other, model=prepare(path, settings.collecting()).model)
        second = score_second(
            other,
            str(settings.second),
            settings.collecting(),
            command=command,
            overwrite=overwrite,
            stop=stop,
        )
        return EffectsDone(effects, second)


def asks_for_effects(path: Path, settings: EffectsSettings) -> bool:
    """Tell whether anything but another task is asked for.

    Raises:
        ConfigError: Nothing at all is asked for.
    """
    organism = read_record(open_run(path))["model"] == ORGANISM
    if organism or settings.text is not None or settings.gradients:
        return True
    if settings.second is None:
        raise ConfigError(
            "there is nothing to measure: no neutral text, no second task and no gradients",
            fix="give --text FILE (one text per line), --second FILE or --gradients 64",
        )
    return False


def _other_task(ready: Prepared, settings: EffectsSettings) -> Prepared | None:
    if settings.second is None:
        return None
    equal, collecting = settings.equal_candidates, settings.collecting()
    return second_task(ready, settings.second, collecting, equal_candidates=equal)


def effects_plan(ready: Prepared, settings: EffectsSettings) -> EffectsPlan:
    """Gather what is read at every checkpoint."""
    texts = neutral_texts(ready, settings.text, settings.window)
    return EffectsPlan(
        ready.plan, texts, gradient_examples(ready, settings.gradients, settings.seed)
    )


def _measure(
    ready: Prepared,
    settings: EffectsSettings,
    command: str,
    overwrite: bool,
    stop: Callable[[], bool],
) -> EffectsReport:
    plan, run = effects_plan(ready, settings), ready.run
    with bar("effects", len(ready.units)) as update:
        report = side_effects(
            run.path,
            ready.model,
            plan,
            ready.units,
            settings=ProbeSettings(settings.batch_tokens, settings.memory_mb << 20),
            provenance={
                "run_id": ready.record.get("run_id") or ready.record["name"],
                "base_model": ready.record["model"],
                "seed": settings.seed,
            },
            overwrite=overwrite,
            base_sha256=model_sha256(ready.model),
            progress=lambda done: update(done.finished),
            stop=stop,
        )
    note: dict[str, object] = {
        "questions": len(ready.questions),
        "gradients": settings.gradients,
        "base_logprobs": report.base_logprobs,
        "seed": settings.seed,
    }
    if plan.texts is not None:
        write_texts(run.path / "effects" / "texts.jsonl", plan.texts)
        note |= {
            "text": ORGANISM if settings.text is None else Path(settings.text).name,
            "texts": len(plan.texts.texts),
            "tokens": int(plan.texts.tokens.sum()),
            "window": plan.texts.window,
            "windows": int(plan.texts.windows.sum()),
        }
    update_record(run, command, effects=note)
    if report.remaining:
        raise KeyboardInterrupt
    return report


def effects_command(
    ctx: click.Context,
    /,
    *,
    path: Path,
    config: Path | None,
    overwrite: bool,
    dry_run: bool,
    **given: object,
) -> None:
    """Measure what the checkpoints of the run at PATH change beside its questions."""
    values: dict[str, object] = dict(given)
    if isinstance(values["heads"], str):
        values["heads"] = tuple(part.strip() for part in values["heads"].split(","))
    settings = resolve(EffectsSettings, "effects", config, **values)
    if dry_run:
        for line in plan_lines(path, settings):
            result(line)
        return
    done = effects_run(path, settings, command=command_line(), overwrite=overwrite)
    for name, report in (("effects", done.effects), ("second task", done.second)):
        if report is not None:
            result(
                f"{name}: measured {len(report.done)}, existing {len(report.existing)}, "
                f"failed {len(report.failed)}: {path}"
            )
    for failure in done.failed:
        result(f"failed {failure.unit.name}: {failure.message} ({failure.path})")
    if done.failed:
        ctx.exit(PARTIAL)


def plan_lines(path: Path, settings: EffectsSettings) -> list[str]:
    """Describe what would be measured, without doing it."""
    measures = asks_for_effects(path, settings)
    ready = prepare(path, settings.collecting(), fetch=False)
    steps: dict[str, list[int]] = {}
    for unit in ready.units:
        steps.setdefault(unit.head, []).append(unit.step)
    lines = [f"{head}: {len(s)} checkpoints: {brief_steps(s)}" for head, s in steps.items()]
    if measures:
        plan = effects_plan(ready, settings)
        there = sum(unit_path(path, "effects", unit).exists() for unit in ready.units)
        lines.append(f"questions: {len(ready.questions)} of {ready.available}")
        if plan.texts is not None:
            lines.append(
                f"texts: {len(plan.texts.texts)}, {int(plan.texts.tokens.sum())} tokens "
                f"in {int(plan.texts.windows.sum())} windows"
            )
        lines.append(f"gradients: of {settings.gradients} training examples per checkpoint")
        lines.append(f"effects files: {len(ready.units)}, of which {there} exist")
    second = _other_task(ready, settings)
    if second is not None:
        lines.append(f"second task: {len(second.questions)} questions, {second.plan.rows} rows")
    return lines

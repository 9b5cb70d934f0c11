"""The work of `probe generate`: free text from a pair of heads, and how often it is right."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from critical_phase.analysis.interventions.generation import FreeAnswers, summarise, verdict
from critical_phase.atomic import write_json
from critical_phase.checkpoints import adapter_identity
from critical_phase.checkpoints.series import IDENTITY
from critical_phase.cli.console import bar, result, result_json, say
from critical_phase.cli.generate_cells import FOLDER, MASKED, Cell, cells_of, key_of
from critical_phase.cli.generate_inputs import GenerateSettings, Ready, prepare
from critical_phase.cli.generate_results import merged_lines, summary_values, table_lines
from critical_phase.cli.generate_work import Step, decode_and_store, decode_cell, stored
from critical_phase.cli.interrupt import stop_on_interrupt
from critical_phase.cli.intervene_rounding import rounded
from critical_phase.cli.run_folder import RECORDED, update_record
from critical_phase.cli.settings import command_line, resolve
from critical_phase.errors import ConfigError
from critical_phase.probes.generation import BASE, POSITIVE, save_merged
from critical_phase.probes.plan_csv import hidden

AGAINST = (BASE, POSITIVE, MASKED)
Found = tuple[Cell, FreeAnswers, dict[str, Any]]


def generate_run(
    path: Path, settings: GenerateSettings, *, command: str = "", overwrite: bool = False
) -> list[dict[str, Any]]:
    """Let a run answer freely in every way that is asked for.

    Args:
        path: Run folder with trained heads.
        settings: Ways of decoding, steps, questions.
        command: The command line to note in the run.
        overwrite: Decode again what is stored.

    Returns:
        What each summary file holds, one per step.

    Raises:
        ConfigError: Settings that do not fit the run.
        InputError: There is no run, model, checkpoint or question file.
        StoreError: Stored answers are damaged, or the disk is full.
    """
    ready = prepare(path, settings)
    for note in ready.notes:
        say(f"note: {note}")
    saves(ready, settings, overwrite=overwrite)
    made: list[dict[str, Any]] = []
    with stop_on_interrupt() as stop:
        for number in ready.steps:
            step = Step(ready, settings, number)
            found: list[Found] = []
            for cell in cells_of(ready, settings, number):
                if stop():
                    raise KeyboardInterrupt
                # The base is the same at every step: decoded anew at the first of them alone.
                anew = overwrite and not (cell.step is None and made)
                found.append((cell, *_answer(cell, step, anew=anew)))
            made.append(_summary(ready, settings, number, found))
    update_record(ready.run, command)
    return made


def _answer(cell: Cell, step: Step, *, anew: bool) -> tuple[FreeAnswers, dict[str, Any]]:
    """Read the answers of a cell, which are decoded before where they are not stored."""
    known = None if anew else stored(cell, step)
    if known is not None:
        say(f"{cell.name} at {step.step}: existing")
        return known
    with bar(f"{cell.name} at {step.step}", len(step.ready.asked)) as update:
        decode_and_store(cell, step, update)
    known = stored(cell, step)
    assert known is not None
    return known


def saves(ready: Ready, settings: GenerateSettings, *, overwrite: bool) -> None:
    """Write the merged adapter where that is asked for.

    Raises:
        ConfigError: There are several to write, or something is there already.
    """
    if settings.save_merged is None:
        return
    if len(ready.steps) != 1 or len(settings.alpha) != 1:
        raise ConfigError(
            f"--save-merged writes one adapter, and {len(ready.steps)} steps with "
            f"{len(settings.alpha)} strengths are asked for",
            fix="give one --step and one --alpha",
        )
    (number,), (alpha,) = ready.steps, settings.alpha
    merged = Step(ready, settings, number).merged(alpha)
    heads = {head: at[number].sha256 for head, at in ready.heads.items()}
    note = {"merged": heads, "alpha": alpha, "step": number, "rank": merged.rank}
    note |= {"truncation_error": merged.error}
    if (settings.save_merged / IDENTITY).is_file():
        there = adapter_identity(settings.save_merged) or {}
        if {key: there.get(key) for key in note} == note:
            say(f"merged adapter: existing, {settings.save_merged}")
            return
    like = ready.heads[POSITIVE][number]
    save_merged(settings.save_merged, merged, like, note, overwrite=overwrite)
    say(
        f"merged adapter: {settings.save_merged}, rank {merged.rank}, "
        f"truncation error {merged.error:.3g}"
    )


def _summary(
    ready: Ready, settings: GenerateSettings, step: int, found: list[Found]
) -> dict[str, Any]:
    """Compare the ways of one step and write what is found."""
    done = summarise(
        [one for _, one, _ in found], draws=settings.draws, seed=settings.seed, against=AGAINST
    )
    keys = [key_of(cell, ready, settings) for cell, _, _ in found]
    digest = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()
    values = summary_values(done, [(cell, told) for cell, _, told in found])
    values |= {
        "schema_version": 1,
        "step": step,
        "sentences": [
            verdict(gap, done.chosen[mode], other)
            for mode, gaps in done.differences.items()
            for other, gap in gaps.items()
            if mode not in (BASE, MASKED)
        ],
        "rule": ready.rule.about,
        "stop_texts": list(ready.ends.texts),
        "notes": list(ready.notes),
        "settings": told_settings(settings),
        "prompt_format": ready.style,
        "run_id": ready.record.get("run_id") or ready.record["name"],
        "base_model": ready.record["model"],
        "base_sha256": ready.base_sha256,
        "versions": {name: version(name) for name in RECORDED},
        "cells_sha256": digest,
    }
    write_json(
        ready.run.path / FOLDER / f"summary-{step}-{digest[:8]}.json",
        values := rounded(values),
    )
    return dict(values)


def told_settings(settings: GenerateSettings) -> dict[str, Any]:
    """Return the settings without places on this machine, and without texts if none is wanted."""
    told = settings.model_dump(mode="json", exclude={"save_merged", "device", "prompts"})
    told["questions"] = None if settings.questions is None else Path(settings.questions).name
    if settings.no_text and settings.before:
        told["before"] = hidden(settings.before)
    return told


def generate_command(
    path: Path, *, overwrite: bool, as_json: bool, prompts: tuple[str, ...], **given: Any
) -> None:
    """Do what the options of `probe generate` ask for, and print what was found."""
    values = {key: value for key, value in given.items() if value not in (None, ())}
    for name in ("mode", "alpha"):
        if isinstance(values.get(name), str):
            values[name] = tuple(part.strip() for part in values[name].split(","))
    settings = resolve(GenerateSettings, "generate", None, **values, prompts=prompts)
    if prompts:
        for line in prompt_lines(path, settings):
            result(line)
        return
    made = generate_run(path, settings, command=command_line(), overwrite=overwrite)
    if as_json:
        result_json({"schema_version": 1, "steps": made})
        return
    for one in made:
        for line in (*table_lines(one), *merged_lines(one), *one["sentences"]):
            result(line)
    result(f"right: {made[0]['rule']}" if made else "")
    result(f"files: {path / FOLDER}")


def prompt_lines(path: Path, settings: GenerateSettings) -> list[str]:
    """Answer texts of the user's own; nothing is stored, since nothing is right or wrong."""
    ready = prepare(path, settings)
    lines = []
    for number in ready.steps:
        step = Step(ready, settings, number)
        for cell in cells_of(ready, settings, number):
            for one, asked in zip(decode_cell(cell, step).answers, ready.asked, strict=True):
                shown = json.dumps(one.text, ensure_ascii=False)
                lines.append(f"{settings.prompts[asked.stream[0]]!r} {cell.name}: {shown}")
    return lines

"""`probe retrain`: a run again with something withheld, its controls, and where the jump went."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from critical_phase.analysis import MODES
from critical_phase.analysis.interventions.training_time import Asked, refuse_no_jump, training_test
from critical_phase.analysis.scores.curves import NEEDS, primary_mode
from critical_phase.atomic import write_json
from critical_phase.checkpoints import adapter_identity, list_series
from critical_phase.cli.as_before import as_before
from critical_phase.cli.collect import collect_run
from critical_phase.cli.console import result, result_json, say
from critical_phase.cli.intervene_rounding import rounded
from critical_phase.cli.intervene_steps import Asked as AskedSteps
from critical_phase.cli.intervene_steps import choose_ends, findings_of
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.retrain_controls import control_settings
from critical_phase.cli.retrain_result import file_of, result_values
from critical_phase.cli.run_folder import BASE, RunFolder, open_run, read_record, update_record
from critical_phase.cli.settings import (
    CollectSettings,
    Settings,
    TrainSettings,
    command_line,
    resolve,
)
from critical_phase.cli.share import share_folder
from critical_phase.cli.stored_interventions import FOLDER
from critical_phase.cli.train import train_run
from critical_phase.cli.train_options import listed
from critical_phase.differences import apart
from critical_phase.errors import ConfigError, InputError

TESTS = ("freeze", "only", "project_out", "project_mode", "layer", "window", "withhold_heads")
"""Settings of `probe train` that say what is withheld."""


class RetrainSettings(Settings):
    """What `probe retrain` needs beside what is withheld."""

    control: tuple[str, ...] = ()
    early: str | None = None
    late: str | None = None
    mode: Literal["likra", "sft", "base_likra", "pos_base"] | None = None
    weight: float = 1.0
    draws: int = Field(default=1000, ge=100)
    seed: int = Field(default=0, ge=0)
    device: str | None = None


@dataclass(frozen=True, slots=True)
class ReadAs:
    """Whose jump is meant, and between which checkpoints."""

    mode: str
    head: str
    early: int
    late: int
    width: float
    why: str


def retrain_run(
    path: Path, out: Path, withheld: dict[str, Any], settings: RetrainSettings, *, command: str = ""
) -> dict[str, Any]:
    """Make a training-time test of a run, its controls, and the file that says what came of it.

    Args:
        path: A run that was trained here, collected and, unless both steps are given, analysed.
        out: Folder of the new runs, `test` and `control-1`, ...; a repeated call continues.
        withheld: The settings of `probe train` that say what is withheld.
        settings: Controls, mode, steps and draws.
        command: The command line to note in all runs.

    Returns:
        What `interventions/training-*.json` of the run holds.

    Raises:
        ConfigError: Nothing is withheld, no control can be drawn, or steps do not fit.
        InputError: There is no run, or it was not trained here.
        FitError: The run has no change of accuracy between the two steps.
    """
    run = open_run(path)
    plain = _settings_of(run, settings)
    if not any(withheld.get(name) for name in ("freeze", "only", "project_out")):
        raise ConfigError("nothing is withheld", fix="give --freeze, --only or --project-out")
    read = _read_as(run, withheld, settings)
    heads = tuple(withheld.get("withhold_heads") or (read.head,))
    test = plain.model_copy(update={**withheld, "withhold_heads": heads})
    arms = {"test": test}
    for i, control in enumerate(control_settings(run, test, settings.control, settings.seed), 1):
        arms[f"control-{i}"] = control
    stored_run = StoredRun(run)
    draft = Asked(
        read.mode, settings.weight, read.early, read.late, read.width, 0, settings.draws,
        settings.seed,
    )  # fmt: skip
    refuse_no_jump(stored_run, draft)
    folders = {name: _arm(run, out / name, one, command) for name, one in arms.items()}
    stored = {name: StoredRun(folder) for name, folder in folders.items()}
    withheld_there = {n: read_record(f)["recipe"]["withheld"] for n, f in folders.items()}
    asked = replace(draft, start=int(withheld_there["test"]["window"][0]))
    controls = {name: one for name, one in stored.items() if name != "test"}
    found = training_test(stored_run, stored["test"], controls, asked)
    values = result_values(run, folders, withheld_there, found, asked, read.why, heads)
    write_json(file_of(run.path / FOLDER, rounded(values)), rounded(values))
    update_record(run, command)
    return values


def _settings_of(run: RunFolder, settings: RetrainSettings) -> TrainSettings:
    """Read how a run was trained, from its own copy of settings and questions."""
    if not run.config.is_file() or not run.trained_heads():
        raise InputError(
            "this run was not trained here, so it cannot be trained again",
            where=str(run.path),
            fix="give a run that probe train made",
        )
    values = dict(yaml.safe_load(run.config.read_text(encoding="utf-8"))["train"])
    if odd := [name for name in TESTS if values.get(name) is not None]:
        raise ConfigError(
            f"this run is a training-time test itself ({odd[0]} {values[odd[0]]})",
            where=str(run.path),
            fix="give the run that it was made from",
        )
    for key, split in (("questions", "train"), ("eval_questions", "eval")):
        if Path(str(values.get(key))).suffix:
            values[key] = str(run.questions(split))
    if settings.device is not None:
        values["device"] = settings.device
    return resolve(TrainSettings, "train", None, **values)


def _read_as(run: RunFolder, withheld: dict[str, Any], settings: RetrainSettings) -> ReadAs:
    heads = run.trained_heads()
    mode = settings.mode or primary_mode(heads, MODES)
    if mode is None or not set(NEEDS[mode]) <= set(heads):
        raise ConfigError(f"mode {mode} needs heads that the run lacks", fix="give another --mode")
    acting = tuple(withheld.get("withhold_heads") or NEEDS[mode][-1:])
    if not set(acting) & set(NEEDS[mode]):
        raise ConfigError(
            f"{mode} does not read the {acting[0]} head, so nothing withheld from it can show",
            fix=f"give --withhold-heads {NEEDS[mode][-1]}",
        )
    head = next(one for one in acting if one in NEEDS[mode])
    steps = list_series(run.head(head)).steps
    ends = choose_ends(run, head, mode, steps, AskedSteps(settings.early, settings.late))
    if odd := [one for one, _ in (ends.early, ends.late) if one != head]:
        raise ConfigError(
            f"--from and --to are steps of the {head} head, which is tested, not of the {odd[0]}",
            fix="give steps without a head",
        )
    jump = (findings_of(run) or {}).get("jump") or {}
    width = float(jump.get("width_steps") or 0.0) if jump.get("mode") == mode else 0.0
    return ReadAs(mode, head, ends.early[1], ends.late[1], width, ends.why)


def _arm(run: RunFolder, path: Path, settings: TrainSettings, command: str) -> RunFolder:
    """Train and score one run; what the test leaves alone is shared with the first."""
    target, heads = RunFolder(path), settings.withhold_heads or ()
    whole = [head for head in run.trained_heads() if head not in heads]
    say(f"{path.name}: {path}")
    for head in whole:
        share_folder(run.head(head), target.head(head))
    made = train_run(path, settings, command=command)
    for head in heads:
        _same_training(run, made, head)
    for head in (BASE, *whole):
        share_folder(run.path / "scores" / head, path / "scores" / head)
    before = CollectSettings(activations=False, device=settings.device)
    collecting = as_before(run.path, before, contexts=False)
    report = collect_run(path, collecting, command=command)
    if report.failed:
        raise ConfigError(
            f"{len(report.failed)} checkpoints could not be scored",
            where=str(path / "failed"),
            fix="repeat the command",
        )
    return made


def _same_training(run: RunFolder, made: RunFolder, head: str) -> None:
    """Refuse a test that differs from its run in more than what is withheld."""
    notes = [
        dict(adapter_identity(list_series(folder.head(head)).checkpoints[0].path) or {})
        for folder in (run, made)
    ]
    for note in notes:
        note["recipe"] = {k: v for k, v in note.get("recipe", {}).items() if k != "withheld"}
    keys = sorted({*notes[0], *notes[1]} - {"step"})
    if odd := [key for key in keys if notes[0].get(key) != notes[1].get(key)]:
        there, here = apart(notes[1].get(odd[0]), notes[0].get(odd[0]))
        raise ConfigError(
            f"the test would differ in more than what is withheld: {odd[0]} is {there}, in the "
            f"run {here}",
            where=str(made.path),
            fix="train the run again with this version, questions and model",
        )


def retrain_command(*, path: Path, out: Path, as_json: bool, **given: Any) -> None:
    """Train the run at PATH again with something withheld: does its jump move or vanish?"""
    withheld = {name: given.pop(name) for name in TESTS}
    withheld = {k: v for k, v in listed({**withheld, "lora": ()}).items() if v is not None}
    values = {key: value for key, value in given.items() if value not in (None, ())}
    settings = resolve(RetrainSettings, "retrain", None, **values)
    made = retrain_run(path, out, withheld, settings, command=command_line())
    if as_json:
        result_json(rounded(made))
        return
    result(made["sentence"])
    for note in made["notes"]:
        result(f"note: {note}")
    result(f"file: {file_of(path / FOLDER, rounded(made))}")

"""Everything that interventions read: adapters, questions, the model, other texts and tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from critical_phase.analysis import MODES, Rows
from critical_phase.analysis.interventions.intervention_frame import SIGNS
from critical_phase.analysis.scores.curves import NEEDS, primary_mode
from critical_phase.checkpoints import (
    ORGANISM,
    Checkpoint,
    Question,
    choose_device,
    prompt_format,
    read_questions,
    select_steps,
)
from critical_phase.cli.effects_inputs import read_texts
from critical_phase.cli.intervene_steps import Asked, Ends, choose_ends
from critical_phase.cli.model import load
from critical_phase.cli.plan_rows import rows_of_plan
from critical_phase.cli.question_sets import default_prompt, read_evaluation, sample_questions
from critical_phase.cli.run_folder import RunFolder, open_run, read_record
from critical_phase.cli.series_files import choose_series, known_steps
from critical_phase.cli.settings import Settings
from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes import NeutralTexts, Plan, check_fits, encode_texts, make_plan


class InterveneSettings(Settings):
    """What `probe intervene` needs."""

    plan: tuple[str, ...] = ("graft",)
    early: str | None = None
    late: str | None = None
    head: Literal["positive", "negative"] | None = None
    mode: Literal["likra", "sft", "base_likra", "pos_base"] | None = None
    weight: float = 1.0
    normalisation: Literal["sum", "per_char", "per_token", "per_byte"] = "sum"
    donors: str | None = None
    text: str | None = None
    second: str | None = None
    options: tuple[str, ...] = ()
    also: tuple[Path, ...] = ()
    limit: int | None = None
    window: int = Field(default=1024, ge=2)
    draws: int = Field(default=1000, ge=20)
    batch_tokens: int = Field(default=4096, ge=1)
    device: str = "auto"
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, eq=False)
class Ready:
    """A run that is ready to be intervened in."""

    run: RunFolder
    record: dict[str, Any]
    mode: str
    head: str
    other: tuple[str, int] | None
    """The mode's other head and its step; None where that is the base, or nothing."""
    ends: Ends
    checkpoints: Mapping[str, Checkpoint]
    """Saved adapters by source, such as `negative@26`."""
    donors: tuple[str, ...]
    questions: tuple[Question, ...]
    rows: Rows
    model: Any
    plan: Plan
    texts: NeutralTexts | None
    second: Plan | None
    notes: tuple[str, ...]


def source(end: tuple[str, int]) -> str:
    """Name one head at one step."""
    return f"{end[0]}@{end[1]}"


def prepare(path: Path, settings: InterveneSettings) -> Ready:
    """Read what interventions need and choose their two ends.

    Raises:
        ConfigError: Settings that do not fit the run; no jump and no steps.
        InputError: There is no run, model, checkpoint or question file.
    """
    run = open_run(path)
    record = read_record(run)
    heads = run.known_heads()
    mode, head = _mode_and_head(heads, settings)
    saved = known_steps(run, head)
    ends = choose_ends(run, head, mode, saved, Asked(settings.early, settings.late))
    other = next((one for one in NEEDS[mode] if one != head), None)
    wanted = [ends.early, ends.late]
    held = None if other is None else (other, ends.late[1])
    wanted += [] if held is None else [held]
    steps = [] if settings.donors is None else select_steps(settings.donors, saved)
    wanted += [(head, step) for step in steps]
    model, tokenizer = load(
        record["model"], dtype=torch.float32, device=choose_device(settings.device)
    )
    questions = sample_questions(
        read_questions(run.questions("eval")), settings.limit, settings.seed
    )
    plan = make_plan(questions, tokenizer, prompt_format(record["recipe"]["prompt"]))
    trained = record["recipe"].get("dtype", "float32")
    notes = (
        [] if trained == "float32" else [f"computed in float32; heads were trained in {trained}"]
    )
    return Ready(
        run,
        record,
        mode,
        head,
        held,
        ends,
        {source(end): _checkpoint(run, *end) for end in dict.fromkeys(wanted)},
        tuple(f"{head}@{step}" for step in steps),
        tuple(questions),
        rows_of_plan(plan),
        model,
        plan,
        _texts(record, model, tokenizer, settings),
        _second(record, model, tokenizer, settings),
        tuple(notes),
    )


def _mode_and_head(heads: tuple[str, ...], settings: InterveneSettings) -> tuple[str, str]:
    mode = settings.mode or primary_mode(heads, MODES)
    if mode is None or not set(NEEDS[mode]) <= set(heads):
        raise ConfigError(
            f"mode {mode} needs the heads {', '.join(NEEDS.get(mode or '', ()))},"
            f" the run has {', '.join(heads) or 'none'}",
            fix="give another --mode",
        )
    head = settings.head or ("negative" if "negative" in NEEDS[mode] else "positive")
    if head not in SIGNS[mode]:
        raise ConfigError(
            f"mode {mode} has no {head} head to act on", fix=f"give --head {NEEDS[mode][0]}"
        )
    return mode, head


def _checkpoint(run: RunFolder, head: str, step: int) -> Checkpoint:
    found = choose_series(run, head, str(step), fetch=True).checkpoints[0]
    if found.kind == "full":
        raise CheckpointError(
            "interventions are made of low-rank adapters, and these are full weights",
            where=str(found.path),
            fix="train LoRA heads with probe train, or collect a series of adapters",
        )
    return found


def _texts(
    record: Mapping[str, Any], model: Any, tokenizer: Any, settings: InterveneSettings
) -> NeutralTexts | None:
    from critical_phase.checkpoints.organism_set import organism_neutral_texts

    if settings.text is None and record["model"] != ORGANISM:
        return None
    texts = organism_neutral_texts() if settings.text is None else read_texts(Path(settings.text))
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return encode_texts(texts, tokenizer, window=min(settings.window, most or settings.window))


def _second(
    record: Mapping[str, Any], model: Any, tokenizer: Any, settings: InterveneSettings
) -> Plan | None:
    if settings.second is None:
        return None
    found = read_evaluation(settings.second, "refuse")
    questions = sample_questions(found.questions, settings.limit, settings.seed)
    prompt = default_prompt(settings.second) or record["recipe"]["prompt"]
    plan = make_plan(questions, tokenizer, prompt_format(prompt))
    check_fits(plan, getattr(model.config.get_text_config(), "max_position_embeddings", None))
    return plan

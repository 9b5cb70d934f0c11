"""Everything that free answers need: questions as prompts, heads, the model, the rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from critical_phase.checkpoints import (
    Checkpoint,
    Question,
    choose_device,
    dtype_named,
    encode,
    model_sha256,
    prompt_format,
    read_questions,
    select_steps,
)
from critical_phase.checkpoints.models import model_location
from critical_phase.checkpoints.organism import World, load_world
from critical_phase.checkpoints.organism.settings import FILE_NAME
from critical_phase.cli.model import load
from critical_phase.cli.question_sets import default_prompt, read_evaluation, sample_questions
from critical_phase.cli.run_folder import RunFolder, open_run, read_record
from critical_phase.cli.series_files import choose_series, known_steps
from critical_phase.cli.settings import Settings
from critical_phase.cli.too_long import positions_of
from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.generation import (
    LINE_END,
    NEGATIVE,
    POSITIVE,
    Asked,
    CandidateRule,
    Endings,
    Rule,
    WorldRule,
    check_room,
    endings,
)

Mode = Literal["contrast", "merged", "base", "positive", "negative"]
PAIRED: tuple[Mode, ...] = ("contrast", "merged")


class GenerateSettings(Settings):
    """What `probe generate` needs."""

    mode: tuple[Mode, ...] = ("contrast",)
    steps: str = "last"
    alpha: tuple[float, ...] = (0.5, 1.0, 2.0)
    plausibility: float = Field(default=0.1, ge=0.0, le=1.0)
    reference: Literal["base", "positive"] = "base"
    questions: str | None = None
    before: str = ""
    prompts: tuple[str, ...] = ()
    new_tokens: int = Field(default=32, ge=1)
    stop: tuple[str, ...] = ()
    sample: bool = False
    temperature: float = Field(default=1.0, gt=0.0)
    samples: int = Field(default=1, ge=1)
    rank: int | None = Field(default=None, ge=1)
    save_merged: Path | None = None
    limit: int | None = None
    draws: int = Field(default=1000, ge=20)
    batch_tokens: int = Field(default=4096, ge=1)
    device: str = "auto"
    seed: int = Field(default=0, ge=0)
    no_text: bool = False


@dataclass(frozen=True, eq=False)
class Ready:
    """A run that is ready to answer."""

    run: RunFolder
    record: dict[str, Any]
    heads: Mapping[str, Mapping[int, Checkpoint]]
    """Saved adapters by head and step."""
    steps: tuple[int, ...]
    questions: tuple[Question, ...]
    asked: tuple[Asked, ...]
    """One per answer: question by question, draw by draw."""
    rule: Rule
    model: Any
    base_sha256: str
    ends: Endings
    style: str
    """Name of the prompt format."""
    notes: tuple[str, ...]


def prepare(path: Path, settings: GenerateSettings) -> Ready:
    """Read what free answers need.

    Raises:
        ConfigError: Modes that the run has no heads for, or questions that cannot be asked.
        InputError: There is no run, model, checkpoint or question file.
    """
    run = open_run(path)
    record = read_record(run)
    check(settings, run)
    steps, heads = _heads(run, settings)
    dtype = record["recipe"].get("dtype", "float32")
    model, tokenizer = load(
        record["model"], dtype=dtype_named(dtype), device=choose_device(settings.device)
    )
    questions, notes = _questions(run, settings)
    world = _world(record["model"])
    in_world = world is not None and not settings.prompts and WorldRule.fits(world, questions)
    rule: Rule = WorldRule(world, questions) if world and in_world else CandidateRule()
    stops = (LINE_END, *settings.stop, *(() if world is None else (world.stop,)))
    style = _style(record, settings)
    asked = _asked(questions, tokenizer, prompt_format(style), settings)
    lengths = [len(one.prompt) for one in asked]
    check_room(lengths, settings.new_tokens, positions_of(model))
    return Ready(
        run,
        record,
        heads,
        steps,
        questions,
        asked,
        rule,
        model,
        model_sha256(model),
        endings(model, tokenizer, stops),
        style,
        notes,
    )


def check(settings: GenerateSettings, run: RunFolder) -> None:
    """Refuse modes and options that do not go together.

    Raises:
        ConfigError: A mode needs a head that the run lacks, or an option another one.
    """
    have = run.known_heads()
    for mode in settings.mode:
        needs = (POSITIVE, NEGATIVE) if mode in PAIRED else () if mode == "base" else (mode,)
        if lacking := [head for head in needs if head not in have]:
            raise ConfigError(
                f"mode {mode} needs the {' and the '.join(lacking)} head, the run has "
                f"{', '.join(have) or 'none'}",
                fix="give another --mode, or train the head",
            )
    alone = settings.save_merged is not None or settings.rank is not None
    if alone and "merged" not in settings.mode:
        raise ConfigError(
            "--rank and --save-merged are about a merged adapter", fix="--mode merged"
        )
    if not settings.alpha or len(set(settings.alpha)) != len(settings.alpha):
        raise ConfigError(
            f"--alpha is {', '.join(map(str, settings.alpha)) or 'empty'}",
            fix="give each strength once",
        )
    if settings.samples > 1 and not settings.sample:
        raise ConfigError(
            "several samples of the likeliest tokens are all the same", fix="--sample"
        )


def _heads(
    run: RunFolder, settings: GenerateSettings
) -> tuple[tuple[int, ...], dict[str, dict[int, Checkpoint]]]:
    """Choose steps that every head of the run has, and list its adapters there."""
    names = run.known_heads()
    if not names:
        return (0,), {}
    saved = [known_steps(run, head) for head in names]
    shared = sorted(set(saved[0]).intersection(*saved))
    if not shared:
        raise ConfigError(
            f"the heads {' and '.join(names)} share no saved step",
            where=str(run.path),
            fix="probe train --densify saves more steps of a head",
        )
    steps = select_steps(settings.steps, shared)
    made: dict[str, dict[int, Checkpoint]] = {}
    for head in names:
        chosen = choose_series(run, head, ",".join(map(str, steps)), fetch=True).checkpoints
        for item in chosen:
            if item.kind == "full":
                raise CheckpointError(
                    "free text is decoded from low-rank adapters, and these are full weights",
                    where=str(item.path),
                    fix="any library decodes from full weights; pairs need LoRA heads",
                )
        made[head] = {item.step: item for item in chosen}
    return steps, made


def _questions(
    run: RunFolder, settings: GenerateSettings
) -> tuple[tuple[Question, ...], tuple[str, ...]]:
    """Read the questions and leave out those without a text, which ask nothing."""
    if settings.prompts:
        made = (Question(f"prompt-{i}", p, ("a", "b"), 0) for i, p in enumerate(settings.prompts))
        return _with_text(tuple(made))
    if settings.questions is None:
        found = read_questions(run.questions("eval"))
    else:
        found = read_evaluation(settings.questions, "drop").questions
    return _with_text(sample_questions(found, settings.limit, settings.seed))


def _with_text(found: Sequence[Question]) -> tuple[tuple[Question, ...], tuple[str, ...]]:
    kept = tuple(item for item in found if item.question.strip())
    if not kept:
        raise ConfigError(
            f"none of the {len(found)} questions has a text, so none can be answered freely",
            fix="give --questions with questions that ask something",
        )
    left = len(found) - len(kept)
    return kept, (f"{left} questions without a text were left out",) if left else ()


def _asked(
    questions: Sequence[Question], tokenizer: Any, style: Any, settings: GenerateSettings
) -> tuple[Asked, ...]:
    made = []
    for number, item in enumerate(questions):
        prompt = encode(
            tokenizer, style, item, item.candidates[0], prefix=settings.before
        ).question_ids
        made += [Asked(prompt, (number, draw)) for draw in range(settings.samples)]
    return tuple(made)


def _style(record: Mapping[str, Any], settings: GenerateSettings) -> str:
    return default_prompt(settings.questions) or str(record["recipe"]["prompt"])


def _world(model: str) -> World | None:
    """Return the world of an organism, the shipped one or a sibling; None of other models."""
    folder = Path(model_location(model))
    return load_world(folder) if (folder / FILE_NAME).is_file() else None

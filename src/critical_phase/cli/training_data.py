"""The answers a run trains on: which questions, in which order, which answer of each."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from critical_phase.atomic import write_json
from critical_phase.checkpoints import (
    RIGHT_ANSWERS,
    Drawn,
    NegativeKind,
    Pool,
    Question,
    base_margins,
    check_supply,
    choose_device,
    data_order,
    draw_examples,
    dtype_named,
    model_sha256,
    negative_kind,
    process_device,
    prompt_format,
    questions_sha256,
    select_stratum,
)
from critical_phase.cli.model import load
from critical_phase.cli.question_sets import unrelated_texts
from critical_phase.cli.run_folder import HEADS, RunFolder
from critical_phase.cli.settings import TrainSettings
from critical_phase.errors import ConfigError
from critical_phase.probes import make_plan, score

BaseScores = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Everything the heads of one run are trained on."""

    questions: tuple[Question, ...]
    """The training set, after the choice of a stratum."""
    pool: Pool
    """What answers are chosen from."""
    margins: Mapping[str, float]
    """Base margin per question id, in nats; empty where nothing asked for it."""
    settings: TrainSettings

    @property
    def size(self) -> int:
        """Questions that training passes over: all, or the first `train_size` of the shuffle."""
        return self.settings.train_size or len(self.questions)

    @property
    def repeated(self) -> int:
        """Different questions that training sees."""
        return min(self.settings.repeat_first or self.size, self.size)

    @property
    def steps(self) -> int:
        """Optimizer steps: as asked for, else one epoch, the last batch being smaller."""
        return self.settings.steps or -(-self.size // self.settings.batch_size)

    @property
    def places(self) -> int:
        """Answers seen in all; one epoch ends with the last question."""
        full = self.steps * self.settings.batch_size
        return full if self.settings.steps else min(full, self.size)

    def drawn(self, head: str) -> list[Drawn]:
        """Choose the answers of one head, in training order."""
        settings, number = self.settings, HEADS.index(head)
        # Streams: the order of questions is shared by the heads, choices are not.
        order_rng = np.random.default_rng([settings.seed, 0])
        choice_rng = np.random.default_rng([settings.seed, 1, number])
        first = settings.repeat_first
        order = data_order(
            len(self.questions), self.places, order_rng, size=settings.train_size, first=first
        )
        return draw_examples(
            self.questions,
            order,
            self.kind(head),
            self.pool,
            choice_rng,
            contamination=settings.contamination if head == "negative" else 0.0,
            repeat_first=first,
        )

    def kind(self, head: str) -> NegativeKind:
        """Return how the answers of a head are chosen."""
        return RIGHT_ANSWERS if head == "positive" else negative_kind(self.settings.negatives)

    def check(self) -> None:
        """Refuse, before any training, what the questions cannot supply.

        Raises:
            ConfigError: An answer is missing, or more questions are asked for than there are.
        """
        for name in ("train_size", "repeat_first"):
            asked = getattr(self.settings, name)
            most = len(self.questions) if name == "train_size" else self.size
            if asked is not None and asked > most:
                raise ConfigError(
                    f"{name} is {asked}, but training has {most} questions",
                    fix=f"give --{name.replace('_', '-')} at most {most}",
                )
        for head in self.settings.heads:
            check_supply(self.kind(head), self.pool)


def prepare_data(
    run: RunFolder,
    settings: TrainSettings,
    questions: tuple[Question, ...],
    *,
    store: bool = True,
) -> TrainingData:
    """Choose the training set, scoring it with the base where that decides anything.

    Args:
        run: Where base scores are kept, so that they are computed once.
        settings: With its defaults filled in.
        questions: Every training question.
        store: Keep base scores that had to be computed.

    Raises:
        ConfigError: The questions cannot supply what is asked for.
    """
    texts = unrelated_texts(settings)
    scores = _base_scores(run, settings, questions, store) if needs_base(settings) else {}
    margins = base_margins(questions, scores) if scores else {}
    chosen = select_stratum(questions, scores, settings.stratum)
    data = TrainingData(chosen, Pool(chosen, texts, scores), margins, settings)
    data.check()
    return data


def needs_base(settings: TrainSettings) -> bool:
    """Say whether the choice of answers or questions depends on the base's likelihoods."""
    kind = negative_kind(settings.negatives)
    by_kind = "negative" in settings.heads and "base_scores" in kind.needs
    return by_kind or settings.stratum != "all"


def _base_scores(
    run: RunFolder, settings: TrainSettings, questions: tuple[Question, ...], store: bool
) -> BaseScores:
    """Score every candidate of the training questions with the base, or read it from the run."""
    path = run.path / "questions" / "train_base_scores.json"
    model, tokenizer = load(
        settings.model,
        dtype=dtype_named(settings.dtype),
        device=process_device(choose_device(settings.device)),
    )
    key = {
        "schema_version": 1,
        "base_sha256": model_sha256(model),
        "prompt": settings.prompt,
        "question_set_sha256": questions_sha256(questions),
    }
    kept = _kept(path, key)
    if kept is not None:
        return kept
    plan = make_plan(questions, tokenizer, prompt_format(settings.prompt or ""))
    sums = score(model, plan).logprob_sum
    found = {
        name: tuple(float(sums[row]) for row in rows)
        for name, rows in zip(plan.question_ids, plan.rows_of, strict=True)
    }
    if store:
        write_json(path, {**key, "unit": "nats", "scores": found})
    return found


def _kept(path: Path, key: Mapping[str, object]) -> BaseScores | None:
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        same = all(stored.get(name) == value for name, value in key.items())
        return {k: tuple(v) for k, v in stored["scores"].items()} if same else None
    except (ValueError, KeyError, AttributeError):
        return None  # half of nothing: it is computed and written anew

"""The arrays an analysis reads, and nothing about where they come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.judging.causal_evidence import Intervention
from critical_phase.analysis.scores.control_run import ControlRun
from critical_phase.analysis.states.read_out import ReadOut
from critical_phase.analysis.updates.curvature_series import CurvatureSeries
from critical_phase.analysis.updates.llc_series import LlcSeries
from critical_phase.errors import FitError, ShapeError


@dataclass(frozen=True, slots=True)
class Rows:
    """Every (question, candidate) of a run; rows of one question are contiguous."""

    question: Int[np.ndarray, " row"]
    """Number of the question, 0 to Q-1."""
    correct: Bool[np.ndarray, " row"]
    """True for the one right candidate of each question."""
    characters: Int[np.ndarray, " row"]
    """Characters of the candidate."""
    tokens: Int[np.ndarray, " row"]
    """Tokens of the candidate."""
    question_ids: tuple[str, ...]
    """One id per question."""
    groups: tuple[str, ...]
    """One topic per question."""
    texts: tuple[str, ...]
    """The candidate's text, per row."""
    bytes: Int[np.ndarray, " row"]
    """UTF-8 bytes of the candidate."""


@runtime_checkable
class Scored(Protocol):
    """Scores of the base and of the heads on one set of rows: what modes are made of."""

    @property
    def rows(self) -> Rows:
        """Every (question, candidate)."""
        ...

    @property
    def heads(self) -> tuple[str, ...]:
        """Trained heads, of `positive` and `negative`."""
        ...

    def steps(self, head: str) -> Int[np.ndarray, " step"]:
        """Steps of a head that have files, step 0 included."""
        ...

    def base_scores(self) -> Float[np.ndarray, " row"]:
        """Summed log-probability of every row without an adapter."""
        ...

    def scores(self, head: str) -> Float[np.ndarray, "step row"]:
        """Summed log-probability of every row at every step."""
        ...


@runtime_checkable
class RunArrays(Scored, Protocol):
    """A run as arrays. Empty tuples, dictionaries and lists say that a part was not stored.

    The `step` axis of residuals, attention and sparsity is that of `activation_steps`.
    """

    @property
    def batch_size(self) -> int:
        """Answers per optimizer step: examples = step * batch_size."""
        ...

    def activation_steps(self, head: str) -> Int[np.ndarray, " step"]:
        """Steps of a head whose activations can be used: `steps` without those left out."""
        ...

    @property
    def layers(self) -> tuple[int, ...]:
        """Residual layers stored: -1 is the embedding, i the output of block i."""
        ...

    @property
    def positions(self) -> tuple[str, ...]:
        """Positions stored, of `question_end` and `answer_end`."""
        ...

    @property
    def attention_heads(self) -> int:
        """Attention heads per block, 0 where attention was not stored."""
        ...

    def residual(self, head: str, layer: int, position: str) -> Float[np.ndarray, "step row d"]:
        """Residual stream of one layer (-1 is the embedding) at one position."""
        ...

    def residual_at(
        self, head: str, step: int, layer: int, position: str
    ) -> Float[np.ndarray, "row d"]:
        """One step of `residual`, for measures that need not hold the others."""
        ...

    def base_residual(self, layer: int, position: str) -> Float[np.ndarray, "row d"]:
        """The same without an adapter."""
        ...

    def attention_row(
        self, head: str, layer: int
    ) -> Float[np.ndarray, "step row attention_head key"]:
        """Attention from the end of the answer to every key, padded with zeros."""
        ...

    def attention_row_at(
        self, head: str, step: int, layer: int
    ) -> Float[np.ndarray, "row attention_head key"]:
        """One step of `attention_row`, for measures that need not hold the others."""
        ...

    def base_attention_row(self, layer: int) -> Float[np.ndarray, "row attention_head key"]:
        """The same without an adapter."""
        ...

    def key_length(self) -> Int[np.ndarray, " row"]:
        """Number of keys of each row that are not padding."""
        ...

    def attention_summary(
        self, head: str
    ) -> Mapping[str, Float[np.ndarray, "step layer attention_head row"]]:
        """Named summaries of the attention row (sink mass, entropy of the rest, ...).

        Each may be read only when it is asked for: take them one at a time.
        """
        ...

    def head_values(
        self, head: str
    ) -> Mapping[str, Float[np.ndarray, "step layer attention_head row"]]:
        """What attention heads give, by name, each read when it is asked for.

        `output` and `write` (norms at the end of the answer, before and after the output
        projection) and `importance` (gradient of the margin with respect to a gate, nats);
        those that were not collected are missing.
        """
        ...

    def sparsity(self, head: str) -> dict[str, Float[np.ndarray, "step layer row"]]:
        """Named sparsity metrics of the MLP activations at the end of the answer."""
        ...

    def adapters(self, head: str) -> Sequence[Mapping[str, tuple[np.ndarray, np.ndarray, float]]]:
        """Per step: module name to (A, B, scaling).

        A module may be read only when it is asked for: take one module at a time, at all steps.
        """
        ...

    def base_weight(self, module: str) -> Float[np.ndarray, "out in"] | None:
        """Weight of one adapted module of the base; None where it is not on this disk."""
        ...

    def training_log(self, head: str) -> dict[str, np.ndarray]:
        """Columns of the training log by name."""
        ...

    @property
    def contexts(self) -> tuple[str, ...]:
        """Other texts before the answer, and other tasks, that have scores, by name."""
        ...

    def context_rows(self, context: str) -> Rows:
        """The rows of a context: those of the run, except for another task."""
        ...

    def context_steps(self, context: str, head: str) -> Int[np.ndarray, " step"]:
        """Steps of a head that have scores in a context, none where nothing was collected."""
        ...

    def context_scores(self, context: str, head: str) -> Float[np.ndarray, "step row"]:
        """Summed log-probability of every row in a context."""
        ...

    def context_base_scores(self, context: str) -> Float[np.ndarray, " row"]:
        """The same without an adapter."""
        ...

    @property
    def interventions(self) -> tuple[Intervention, ...]:
        """What interventions in the model found, none where none was made."""
        ...

    @property
    def controls(self) -> tuple[ControlRun, ...]:
        """Other trainings that differ in one planned thing, none where none was given."""
        ...

    def effect_steps(self, head: str) -> Int[np.ndarray, " step"]:
        """Steps of a head that have side effects stored; `base` has step 0."""
        ...

    def effects(self, head: str) -> dict[str, Float[np.ndarray, "step ..."]]:
        """Named side effects per text, question or gradient example."""
        ...

    def read_out(self) -> ReadOut | str:
        """Final norm and unembedding of the base, or why they are not known."""
        ...

    def local_learning(self, head: str) -> LlcSeries | None:
        """Local learning coefficients of a head, None where none were sampled."""
        ...

    def curvature(self, head: str) -> CurvatureSeries | None:
        """Fisher trace and sharpness of a head, None where they were not measured."""
        ...


def question_count(rows: Rows) -> int:
    """Return how many questions the rows belong to."""
    return len(rows.question_ids)


def check_rows(rows: Rows) -> None:
    """Refuse rows that are not contiguous questions with one right candidate each."""
    count = question_count(rows)
    sizes = np.bincount(rows.question, minlength=count)
    if np.any(np.diff(rows.question) < 0) or sizes.size != count:
        raise ShapeError(
            f"rows name {sizes.size} questions, but {count} ids are given, in contiguous order",
            where="Rows.question",
            fix="sort the rows by question and number the questions from 0",
        )
    if np.any(sizes < 2):
        bad = rows.question_ids[int(np.flatnonzero(sizes < 2)[0])]
        raise ShapeError(f"question {bad} has fewer than 2 candidates", where="Rows.question")
    right = np.bincount(rows.question, weights=rows.correct, minlength=count)
    if np.any(right != 1):
        bad = rows.question_ids[int(np.flatnonzero(right != 1)[0])]
        raise ShapeError(f"question {bad} needs exactly 1 right candidate", where="Rows.correct")


def check_scores(
    scores: Float[np.ndarray, "..."], head: str, steps: Int[np.ndarray, "..."]
) -> None:
    """Refuse scores that are not finite, naming head, step and row."""
    table = np.atleast_2d(scores)
    if table.shape[0] != steps.size:
        raise ShapeError(
            f"{steps.size} steps are listed, but scores of {table.shape[0]} are given",
            where=f"head {head}",
        )
    bad = np.argwhere(~np.isfinite(table))
    if bad.size:
        at, row = (int(i) for i in bad[0])
        raise FitError(
            f"score {table[at, row]} of head {head} at step {int(steps[at])}, row {row} is not a"
            f" number ({len(bad)} such scores)",
            where=f"scores/{head}/step-{int(steps[at]):08d}.h5, row {row}",
            fix="collect this checkpoint again, in float32",
        )


def mean_by_question(
    rows: Rows, values: Float[np.ndarray, "*rest row"]
) -> Float[np.ndarray, "*rest question"]:
    """Average the candidates of each question."""
    starts = np.flatnonzero(np.r_[True, np.diff(rows.question) > 0])
    sums = np.add.reduceat(np.asarray(values, dtype=np.float64), starts, axis=-1)
    means: np.ndarray = sums / np.bincount(rows.question)
    return means


def equal_sized(rows: Rows) -> tuple[Int[np.ndarray, "_question _candidate"], ...]:
    """Group questions by number of candidates: row numbers, one row per question."""
    sizes = np.bincount(rows.question)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    return tuple(
        starts[sizes == size][:, None] + np.arange(size)[None, :] for size in np.unique(sizes)
    )


def chance(rows: Rows) -> float:
    """Accuracy of a guess that knows only the number of candidates."""
    return float(np.mean(1.0 / np.bincount(rows.question)))

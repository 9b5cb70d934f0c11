"""Decode every cell that a step asks for, or read what is stored of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from critical_phase.analysis.inference.bootstrap import question_weights
from critical_phase.analysis.interventions.generation import FreeAnswers, mean_share
from critical_phase.checkpoints import encode, prompt_format
from critical_phase.cli.generate_cells import (
    FOLDER,
    Cell,
    decoding_of,
    key_of,
    read_cell,
    write_cell,
)
from critical_phase.cli.generate_inputs import GenerateSettings, Ready
from critical_phase.probes.generation import (
    BASE,
    MERGED,
    NEGATIVE,
    POSITIVE,
    Generated,
    Lines,
    Merged,
    apart,
    check_arrival,
    generate,
    merge_heads,
)
from critical_phase.probes.interventions.sources import Sources


@dataclass(eq=False)
class Step:
    """The heads at one step, read and proved when they are first needed."""

    ready: Ready
    settings: GenerateSettings
    step: int
    _lines: dict[tuple[str, float | None], Lines] = field(default_factory=dict)
    _arrival: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note where updates can be read."""
        self._saved = {head: at[self.step] for head, at in self.ready.heads.items()}
        self.sources = Sources(self._saved)

    def lines(self, cell: Cell) -> Lines:
        """Return the models of a cell, each shown to be what PEFT loads."""
        place = ("|".join(cell.models), cell.alpha if cell.mode == MERGED else None)
        if place not in self._lines:
            models = {name: self._updates(name, cell) for name in cell.models}
            made = Lines(self.ready.model, models)
            if cell.mode != MERGED:
                self._arrival[place[0]] = check_arrival(made, self._saved, self.ready.asked[0])
            self._lines[place] = made
        return self._lines[place]

    def arrival(self, cell: Cell) -> float | None:
        """Largest difference from a fresh load, as a share of the largest logit."""
        return self._arrival.get("|".join(cell.models))

    def merged(self, alpha: float) -> Merged:
        """Merge the two heads."""
        return merge_heads(self.sources, POSITIVE, NEGATIVE, alpha, self.settings.rank)

    def beside(self, cell: Cell) -> dict[str, Any]:
        """Return what is said of a cell beside its answers."""
        if cell.mode != MERGED or cell.alpha is None:
            return {"arrival": self.arrival(cell)}
        merged = self.merged(cell.alpha)
        return {
            "rank": merged.rank,
            "truncation_error": merged.error,
            "truncation_worst": {"module": merged.worst[0], "error": merged.worst[1]},
            "against_contrast": self._gap(cell.alpha, merged),
        }

    def _updates(self, name: str, cell: Cell) -> Any:
        if name == BASE:
            return {}
        if name == MERGED:
            return self.merged(cell.alpha or 0.0).updates
        return {module: self.sources.update(name, module) for module in self.sources.modules(name)}

    def _gap(self, alpha: float, merged: Merged) -> dict[str, Any] | None:
        """Compare merged weights with contrasted logits along the right answers."""
        if self.settings.prompts:
            return None
        heads = {name: self._updates(name, Cell(name, self.step)) for name in (POSITIVE, NEGATIVE)}
        lines = Lines(self.ready.model, {BASE: {}, **heads, MERGED: merged.updates})
        found = apart(lines, self._right_answers(), alpha, slots=self.settings.batch_tokens)
        rng = np.random.default_rng([self.settings.seed, 9])
        weights = question_weights(len(found.agreement), self.settings.draws, rng)
        told: dict[str, Any] = {"along": "right candidates", "places": found.places}
        for name in ("contrast_merged", "contrast_base", "merged_base", "agreement"):
            share = mean_share(getattr(found, name), weights)
            told[name] = {"value": share.value, "interval": list(share.interval)}
        return told

    def _right_answers(self) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        style, made = prompt_format(self.ready.style), []
        for item in self.ready.questions:
            row = encode(
                self.ready.ends.tokenizer, style, item, item.right, prefix=self.settings.before
            )
            made.append((row.question_ids, row.answer_ids))
        return made


def stored(cell: Cell, step: Step) -> tuple[FreeAnswers, dict[str, Any]] | None:
    """Read the answers of a cell; None where they are not stored yet.

    Raises:
        StoreError: What is stored is damaged.
    """
    folder = step.ready.run.path / FOLDER
    return read_cell(folder, cell, key_of(cell, step.ready, step.settings))


def decode_and_store(cell: Cell, step: Step, progress: Callable[[int], None]) -> None:
    """Decode a cell and write what it said.

    Raises:
        StoreError: It cannot be written.
    """
    ready = step.ready
    made = decode_cell(cell, step, progress)
    about = {**step.beside(cell), "run_id": ready.record.get("run_id") or ready.record["name"]}
    about |= {"base_model": ready.record["model"], "device": str(ready.model.device.type)}
    folder = ready.run.path / FOLDER
    write_cell(folder, cell, key_of(cell, ready, step.settings), ready, made, about)


def decode_cell(
    cell: Cell, step: Step, progress: Callable[[int], None] = lambda done: None
) -> Generated:
    """Answer every prompt in one way."""
    return generate(
        step.lines(cell),
        step.ready.asked,
        decoding_of(cell, step.settings),
        step.ready.ends,
        slots=step.settings.batch_tokens,
        progress=progress,
    )

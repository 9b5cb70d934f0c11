"""Lay rows out for the model: one tree row per question, or one padded row per candidate.

A packed row is [question, candidate 1, ..., candidate C]. Every candidate sees the
question and itself; its positions restart after the question. The shared question is
then computed once (2.7 times fewer tokens at four candidates). Where nothing but scores
is wanted, the last token of a candidate predicts nothing and stays out, and tokens that
every prompt starts with can be left to a `Stem`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from critical_phase.probes.length_cuts import cost_of_pass, cut_by_length
from critical_phase.probes.plan import Plan
from critical_phase.probes.tree_mask import OWN_QUESTION, PADDING, tree_mask

Layout = Literal["packed", "cached", "naive"]
_KEPT_BYTES = 128 << 20
"""Batches are the same for every checkpoint and are kept up to this much memory."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows that go through the model together, and where each of them is read.

    `slot` is a place in the model's input, which differs from the token's number in its
    own row once candidates share a question.
    """

    rows: np.ndarray
    """Row numbers of the plan, one per read-out [n]."""
    inputs: dict[str, Any]
    """Keyword arguments of the model's forward pass."""
    owner: Tensor
    """Line of the input that holds each row [n]."""
    ends: Tensor
    """Slots of question_end and answer_end [n, 2]; empty where only scores are read."""
    keys: Tensor
    """Slots of the row's own tokens, in order; padded with 0 [n, key]; empty as above."""
    key_length: Tensor
    """Number of own tokens [n]; empty as above."""
    source: Tensor
    """Line and slot of every distribution that scoring needs [2, m]."""
    targets: np.ndarray
    """Per scored token: local row, source, token id, first of its row [4, t]."""
    then: "Batch | None" = None
    """A second pass over the same rows, which goes on from the first one's cache."""
    parent: Tensor | None = None
    """In a second pass: line of the first pass that each line goes on from."""

    @cached_property
    def read_slots(self) -> Tensor:
        """Every slot that is read or predicts a token, counted over all lines, in order [k]."""
        slots = self.inputs["input_ids"].shape[1]
        read = [self.source[0] * slots + self.source[1]]
        if self.ends.numel():
            read.append((self.owner[:, None] * slots + self.ends).reshape(-1))
        found: Tensor = torch.unique(torch.cat(read))
        return found

    @cached_property
    def among(self) -> Tensor:
        """Place of every slot in `read_slots`; -1, which no index takes, where it has none."""
        kept = self.read_slots
        place = torch.full([self.inputs["input_ids"].numel()], -1, device=kept.device)
        place[kept] = torch.arange(len(kept), device=kept.device)
        return place

    @property
    def mask_bytes(self) -> int:
        """Memory of the attention masks, by far the largest part of a batch."""
        mask = self.inputs.get("attention_mask")
        masks = mask.values() if isinstance(mask, dict) else (mask,)
        return sum(one.numel() * one.element_size() for one in masks if one is not None)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the input before padding."""

    tokens: tuple[int, ...]
    rows: tuple[int, ...]
    question: int


class Packer:
    """Makes the batches of a plan in one layout, the same ones every time."""

    def __init__(
        self,
        plan: Plan,
        layout: Layout,
        config: Any,
        *,
        dtype: torch.dtype,
        device: torch.device,
        batch_tokens: int,
        lean: bool = False,
        shared: int = 0,
    ) -> None:
        """Sort lines by length and cut them into batches of at most `batch_tokens` slots.

        Args:
            plan: The rows.
            layout: How they share their question.
            config: Of the language model.
            dtype: Of the model, for masks.
            device: Of the model.
            batch_tokens: Most slots of one pass.
            lean: Leave out what scores alone do not need: the last token of each candidate.
            shared: Tokens that every prompt starts with and a `Stem` supplies.
        """
        self.plan, self.layout, self.lean, self.shared = plan, layout, lean, shared
        self._config, self._dtype, self._device = config, dtype, device
        self._kept: dict[int, Batch] = {}
        self._kept_bytes = 0
        self._groups = self._cut(self._lines(range(len(plan.question_ids))), batch_tokens)

    def batch(self, number: int) -> Batch:
        """Build one batch, or give the one built before; the first has the shortest lines."""
        if number in self._kept:
            return self._kept[number]
        batch = self._batch(self._groups[number])
        if self._kept_bytes + batch.mask_bytes <= _KEPT_BYTES:
            self._kept[number] = batch
            self._kept_bytes += batch.mask_bytes
        return batch

    def __iter__(self) -> Iterator[Batch]:
        """Build the batches one after another."""
        return map(self.batch, range(len(self)))

    def __len__(self) -> int:
        """Count the batches."""
        return len(self._groups)

    def only(self, questions: Sequence[int]) -> Batch:
        """Build one batch of a few questions, in the given order."""
        return self._batch(self._lines(questions))

    def few(self, questions: Sequence[int]) -> list[Batch]:
        """Build the batches of a few questions that go through the model before all."""
        return [self.only(questions)]

    def alone(self, questions: Sequence[int]) -> Iterator[Batch]:
        """Build one batch per line, so that nothing is padded."""
        return (self._batch([line]) for line in self._lines(questions))

    def halves(self, batch: Batch) -> list[Batch]:
        """Cut a batch that did not fit the memory; a single line cannot be cut."""
        owners = sorted({int(q) for q in self.plan.question[batch.rows]})
        wanted = set(batch.rows.tolist())
        lines = [x for x in self._lines(owners) if wanted.issuperset(x.rows)]
        if len(lines) < 2:
            return []
        middle = len(lines) // 2
        return [self._batch(lines[:middle]), self._batch(lines[middle:])]

    def _lines(self, questions: Sequence[int]) -> list[Line]:
        plan, lines = self.plan, []
        for question in questions:
            start, rows = plan.prompts[question][self.shared :], plan.rows_of[question]
            if self.layout == "packed":
                tokens = start + tuple(t for row in rows for t in self._fed(row))
                lines.append(Line(tokens, rows, question))
            else:
                lines += [Line(start + self._fed(row), (row,), question) for row in rows]
        return lines

    def _fed(self, row: int) -> tuple[int, ...]:
        """Return the tokens of a candidate that go into the model."""
        return self.plan.answers[row][: -1 if self.lean else None]

    def _cut(self, lines: list[Line], batch_tokens: int) -> list[list[Line]]:
        """Cut sorted lines so that little is padded and batches are not needlessly many."""
        lines = sorted(lines, key=lambda line: len(line.tokens))  # stable: plan order on ties
        widths = [self.shared + len(line.tokens) for line in lines]
        cost = cost_of_pass(self._config, self._device, batch_tokens, lean=self.lean)
        cuts = cut_by_length(widths, batch_tokens, cost)
        return [lines[start:stop] for start, stop in pairwise(cuts)]

    def _batch(self, lines: Sequence[Line]) -> Batch:
        width = max(len(line.tokens) for line in lines)
        ids = np.zeros((len(lines), width), dtype=np.int64)
        places = np.zeros((len(lines), width), dtype=np.int64)
        segment = np.full((len(lines), width), PADDING, dtype=np.int64)
        reads = Reads(lean=self.lean)
        for index, line in enumerate(lines):
            ids[index, : len(line.tokens)] = line.tokens
            begin = len(self.plan.prompts[line.question]) - self.shared
            places[index, :begin] = np.arange(begin)
            segment[index, :begin] = OWN_QUESTION
            slot = begin
            for number, row in enumerate(line.rows, start=1):
                stop = slot + len(self._fed(row))
                places[index, slot:stop] = np.arange(begin, begin + stop - slot)
                segment[index, slot:stop] = number
                reads.add(row, index, begin, slot, self.plan.answers[row])
                slot = stop
        return reads.batch(self._inputs(ids, places, segment), self._device)

    def _inputs(self, ids: np.ndarray, places: np.ndarray, segment: np.ndarray) -> dict[str, Any]:
        position_ids = torch.from_numpy(places + self.shared).to(self._device)
        inputs: dict[str, Any] = {
            "input_ids": torch.from_numpy(ids).to(self._device),
            "position_ids": position_ids,
            "use_cache": False,
        }
        segments = torch.from_numpy(segment).to(self._device)
        if self.layout == "naive":
            inputs["attention_mask"] = (segments != PADDING).long()
        else:
            inputs["attention_mask"] = tree_mask(
                segments, position_ids, self._config, self._dtype, self.shared
            )
        return inputs


class Reads:
    """Gathers where the rows of one batch are read."""

    def __init__(self, *, lean: bool) -> None:
        """Start empty."""
        self._lean = lean
        self.rows: list[int] = []
        self.owner: list[int] = []
        self.ends: list[tuple[int, int]] = []
        self.keys: list[list[int]] = []
        self.sources: dict[tuple[int, int], int] = {}
        self.targets: list[tuple[int, int, int, int]] = []

    def add(self, row: int, line: int, begin: int, slot: int, answer: tuple[int, ...]) -> None:
        """Note a row whose question fills slots 0..begin and whose answer starts at `slot`."""
        self.note(row, line)
        self.expect(
            [(line, begin - 1), *((line, slot + i) for i in range(len(answer) - 1))], answer
        )
        if not self._lean:
            stop = slot + len(answer)
            self.ends.append((begin - 1, stop - 1))
            self.keys.append([*range(begin), *range(slot, stop)])

    def note(self, row: int, line: int) -> None:
        """Note a row and the line that holds it; what it expects comes next."""
        self.rows.append(row)
        self.owner.append(line)

    def expect(
        self,
        places: Sequence[tuple[int, int]],
        tokens: Sequence[int],
        *,
        first: bool = True,
    ) -> None:
        """Note tokens of the last row and the line and slot that predict each of them."""
        local = len(self.rows) - 1
        for place, token in zip(places, tokens, strict=True):
            source = self.sources.setdefault(place, len(self.sources))
            self.targets.append((local, source, token, int(first)))
            first = False

    def batch(
        self,
        inputs: dict[str, Any],
        device: torch.device,
        *,
        then: Batch | None = None,
        parent: Tensor | None = None,
    ) -> Batch:
        """Turn the notes into index tensors on the model's device."""
        lengths = [len(keys) for keys in self.keys]
        keys = np.zeros((len(self.keys), max(lengths, default=0)), dtype=np.int64)
        for index, own in enumerate(self.keys):
            keys[index, : len(own)] = own
        return Batch(
            rows=np.array(self.rows, dtype=np.int64),
            inputs=inputs,
            owner=torch.tensor(self.owner, device=device),
            ends=torch.tensor(self.ends, device=device),
            keys=torch.from_numpy(keys).to(device),
            key_length=torch.tensor(lengths, device=device),
            source=torch.tensor(list(self.sources), device=device).T,
            targets=np.array(self.targets, dtype=np.int64).T,
            then=then,
            parent=parent,
        )

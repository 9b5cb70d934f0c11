"""Send each question through the model once and its candidates after it, from its cache.

Questions of one length go together, so nothing is padded before an answer: distances
between slots are those between tokens, which is what linear biases (ALiBi) and windows
counted in slots need. No mask or position is given; the model makes its own.
"""

from collections.abc import Sequence

import numpy as np
import torch

from critical_phase.probes.batches import Batch, Line, Packer, Reads


class CachedPacker(Packer):
    """Makes batches of two passes: questions, then the candidates that have more than one token."""

    def few(self, questions: Sequence[int]) -> list[Batch]:
        """Build one batch per question, as lengths may differ."""
        return [self.only([question]) for question in questions]

    def _lines(self, questions: Sequence[int]) -> list[Line]:
        plan = self.plan
        return [Line(plan.prompts[q][self.shared :], plan.rows_of[q], q) for q in questions]

    def _cut(self, lines: list[Line], batch_tokens: int) -> list[list[Line]]:
        groups: list[list[Line]] = []
        room = 0
        for line in sorted(lines, key=lambda line: len(line.tokens)):  # stable: plan order on ties
            longest = max(len(self._fed(row)) for row in line.rows)
            room -= len(line.rows) * (self.shared + len(line.tokens) + longest)
            if groups and room >= 0 and len(groups[-1][0].tokens) == len(line.tokens):
                groups[-1].append(line)
            else:
                groups.append([line])
                room = batch_tokens - len(line.rows) * (self.shared + len(line.tokens) + longest)
        return groups

    def _batch(self, lines: Sequence[Line]) -> Batch:
        plan, end = self.plan, len(lines[0].tokens) - 1
        reads = Reads(lean=True)
        for index, line in enumerate(lines):
            for row in line.rows:
                reads.note(row, index)
                reads.expect([(index, end)], plan.answers[row][:1])
        ids = torch.tensor([line.tokens for line in lines], device=self._device)
        return reads.batch({"input_ids": ids}, self._device, then=self._answers(lines))

    def _answers(self, lines: Sequence[Line]) -> Batch | None:
        pairs = [(i, row) for i, line in enumerate(lines) for row in line.rows if self._fed(row)]
        if not pairs:
            return None
        ids = np.zeros((len(pairs), max(len(self._fed(row)) for _, row in pairs)), dtype=np.int64)
        reads = Reads(lean=True)
        for index, (_, row) in enumerate(pairs):
            fed = self._fed(row)
            ids[index, : len(fed)] = fed
            reads.note(row, index)
            places = [(index, slot) for slot in range(len(fed))]
            reads.expect(places, self.plan.answers[row][1:], first=False)
        parent = torch.tensor([owner for owner, _ in pairs], device=self._device)
        inputs = {"input_ids": torch.from_numpy(ids).to(self._device)}
        return reads.batch(inputs, self._device, parent=parent)

"""The same answers read after another text: what is left without the question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, RunArrays

DOMAIN = "domain"
"""The premise that every question shares: log P(answer | domain premise) of PMI_DC."""

BLIND = {
    "answer_only": "answer alone",
    DOMAIN: "premise alone",
    "shuffled": "another question",
    "filler": "filler text",
}
"""Contexts that hide the question, and what stands before the answer."""


AGAIN = "again"
"""The run's own texts scored in other batches; `again-<type>` in another numeric type."""


SCALED = "scaled-"
"""The run's own texts under adapters whose update is multiplied by what follows."""


@dataclass(frozen=True, slots=True)
class InContext:
    """The scores of a run in one context, to be combined as those of the run are."""

    arrays: RunArrays
    name: str

    @property
    def rows(self) -> Rows:
        """The rows of the context."""
        return self.arrays.context_rows(self.name)

    @property
    def heads(self) -> tuple[str, ...]:
        """Heads that were scored in this context."""
        return tuple(h for h in self.arrays.heads if self.steps(h).size)

    def steps(self, head: str) -> Int[np.ndarray, " step"]:
        """Steps of a head in this context."""
        return np.asarray(self.arrays.context_steps(self.name, head))

    def base_scores(self) -> Float[np.ndarray, " row"]:
        """Scores without an adapter."""
        return np.asarray(self.arrays.context_base_scores(self.name))

    def scores(self, head: str) -> Float[np.ndarray, "step row"]:
        """Scores of one head."""
        return np.asarray(self.arrays.context_scores(self.name, head))


def own_contexts(arrays: RunArrays) -> tuple[InContext, ...]:
    """Return the contexts that hold the run's own questions after other texts."""
    ids = arrays.rows.question_ids
    other = (c for c in _all(arrays) if not (_is_again(c.name) or c.name.startswith(SCALED)))
    return tuple(c for c in other if c.rows.question_ids == ids)


def second_scorings(arrays: RunArrays) -> tuple[InContext, ...]:
    """Return the contexts that hold the run's own rows and texts, scored another time."""
    ids = arrays.rows.question_ids
    return tuple(c for c in _all(arrays) if c.rows.question_ids == ids and _is_again(c.name))


def scaled_adapters(arrays: RunArrays) -> tuple[tuple[float, InContext], ...]:
    """Return the contexts in which the adapters' update was multiplied, by the factor."""
    ids = arrays.rows.question_ids
    found = [c for c in _all(arrays) if c.rows.question_ids == ids and c.name.startswith(SCALED)]
    known = [(float(c.name.removeprefix(SCALED)), c) for c in found]
    return tuple(sorted(known, key=lambda one: one[0]))


def _is_again(name: str) -> bool:
    return name == AGAIN or name.startswith(f"{AGAIN}-")


def other_tasks(arrays: RunArrays) -> tuple[InContext, ...]:
    """Return the contexts that hold other questions."""
    ids = arrays.rows.question_ids
    return tuple(c for c in _all(arrays) if c.rows.question_ids != ids)


def context_label(name: str) -> str:
    """Name a context as the page does."""
    if name.startswith("shots-"):
        count, _, seed = name.removeprefix("shots-").partition("@")
        return f"{count} demonstrations" + (f" (seed {seed})" if seed else "")
    return "its question" if name == "question" else BLIND.get(name, name)


def missing_steps(contexts: Sequence[InContext]) -> list[str]:
    """Say which contexts lack steps that the run has, those that lack the same in one line."""
    lacking: dict[tuple[int, ...], dict[str, list[str]]] = {}
    for context in contexts:
        for head in context.arrays.heads:
            have = context.steps(head).tolist()
            lost = tuple(step for step in context.arrays.steps(head).tolist() if step not in have)
            if lost:
                lacking.setdefault(lost, {}).setdefault(head, []).append(context.name)
    return [_lack(lost, names) for lost, names in lacking.items()]


def _lack(lost: tuple[int, ...], names: Mapping[str, list[str]]) -> str:
    """Name the steps that some contexts lack."""
    listed = ", ".join(str(step) for step in lost[:8]) + (", ..." if lost[8:] else "")
    where = ", ".join(dict.fromkeys(name for group in names.values() for name in group))
    steps = f"{len(lost)} step{'s' if len(lost) > 1 else ''}"
    return f"{where}: no scores of the {' and '.join(names)} head at {steps} ({listed})"


def _all(arrays: RunArrays) -> tuple[InContext, ...]:
    """Return every context, question-blind ones first."""
    order = list(BLIND)
    names = sorted(arrays.contexts, key=lambda n: (order.index(n) if n in BLIND else 9, n))
    return tuple(InContext(arrays, name) for name in names)

"""Questions with more tokens than a model reads: refused, or left out where that is asked for."""

from typing import Any, Literal

import numpy as np

from critical_phase.errors import ConfigError
from critical_phase.probes import Plan


def positions_of(model: Any) -> int | None:
    """Return how many tokens a model reads; None where it does not say."""
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return None if most is None else int(most)


def too_long(plan: Plan, positions: int | None, choice: Literal["refuse", "drop"]) -> set[str]:
    """Name the questions with a row that does not fit the model.

    Raises:
        ConfigError: There are some and they are refused, or no question is left.
    """
    if positions is None:
        return set()
    numbers = np.unique(plan.question[plan.key_length > positions]).tolist()
    names = {plan.question_ids[number] for number in numbers}
    every = len(names) == len(plan.question_ids)
    if names and (choice == "refuse" or every):
        longest = int(plan.key_length.max())
        raise ConfigError(
            f"{len(names)} of {len(plan.question_ids)} questions are too long, first "
            f"{plan.question_ids[numbers[0]]!r}: up to {longest} tokens, "
            f"but the model reads at most {positions}",
            fix="use a model with a longer context"
            + ("" if every else ", or leave them out with --too-long drop"),
        )
    return names

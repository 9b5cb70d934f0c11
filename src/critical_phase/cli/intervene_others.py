"""Another run's answer beside this one's: is it about a jump, and what must a reader know?"""

from collections.abc import Mapping, Sequence
from typing import Any

from critical_phase.cli.intervene_jump import other_change

Values = Mapping[str, Any]


def no_jump(found: Values | None, answer: Values) -> str:
    """Say why an answer of another run repeats no cause of a jump; empty where nothing does.

    Args:
        found: That run's findings; None where it is not analysed, so that nothing is known.
        answer: Its answer, about the change between its two ends.
    """
    if found is None:
        return ""
    jump = found.get("jump")
    if jump is None:
        return "it has no jump"
    weight = float(found.get("weight", 1.0))
    return other_change(answer, str(jump["mode"]), weight, float(jump["tau_step"]))


def set_apart(answer: Values, *, same_model: bool) -> str:
    """Say what a reader must know of an answer that counts; empty where that is nothing.

    Layers are compared within one model alone: an answer of another model is of whatever its own
    search found.
    """
    return "" if same_model else f"another model, and {in_words(answer['layers'])} of its own"


def in_words(layers: Sequence[int]) -> str:
    """Name layers; none stand for all."""
    return f"layers {', '.join(map(str, layers))}" if layers else "all layers"

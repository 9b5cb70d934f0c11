"""Curves of quantities of the weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.results import Curve
from critical_phase.analysis.updates.lora_geometry import Factors

Path = tuple[Int[np.ndarray, " step"], Sequence[Mapping[str, Factors]]]
"""Steps of a head and its adapters at each, in order."""


def line(
    quantity: str,
    title: str,
    group: str,
    label: str,
    head: str | None,
    steps: Int[np.ndarray, " step"],
    value: Float[np.ndarray, " step"],
    batch_size: int,
    caption: str,
    unit: str,
    references: Sequence[dict[str, Any]] = (),
) -> Curve:
    """Draw one quantity of the weights over steps; it has no question interval."""
    at = [int(s) for s in steps]
    return Curve(
        quantity, title, unit, group, label, at, [s * batch_size for s in at], numbers(value),
        caption, 0, head, references=list(references),
    )  # fmt: skip

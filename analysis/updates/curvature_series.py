"""Fisher trace and sharpness of one head at some of its checkpoints, as they were measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from critical_phase.errors import ShapeError


@dataclass(frozen=True, slots=True)
class Twin:
    """The same at a random adapter that has the trained norms, module by module."""

    step: int
    fisher: Float[np.ndarray, " question"]
    sharpness: Float[np.ndarray, " sample"]


@dataclass(frozen=True, slots=True)
class CurvatureSeries:
    """What was measured of a head, with one setting for all checkpoints."""

    steps: Int[np.ndarray, " step"]
    """Ascending."""
    questions: tuple[str, ...]
    """Their ids."""
    modules: tuple[str, ...]
    """Adapted modules."""
    fisher: Float[np.ndarray, "step question"]
    """Fisher trace of each question's answer, all modules: mean over answers the model drew."""
    by_module: Float[np.ndarray, "step module question"]
    """Its part of every module."""
    draws: Float[np.ndarray, "step draw"]
    """Mean over questions of each draw; draws use the same random numbers at all steps."""
    true_answer: Float[np.ndarray, "step question"]
    """Squared norm of the gradient of the true answer's log-probability: no Fisher trace."""
    sharpness: Float[np.ndarray, "step sample"]
    """Largest eigenvalue of the Hessian of the loss over each sample of training examples."""
    residual: Float[np.ndarray, "step sample"]
    """|H v - value v| / |value|."""
    preconditioned: Float[np.ndarray, "step sample"]
    """The same of P^-1 H with Adam's P; NaN at steps without an optimizer state."""
    preconditioned_residual: Float[np.ndarray, "step sample"]
    settings: Mapping[str, Any]
    """How was measured: draws, samples, products, tolerance, seed, compute_dtype."""
    random: Twin | None = None

    def __post_init__(self) -> None:
        """Refuse tables that do not belong together."""
        steps, count = self.steps.size, len(self.questions)
        samples = (steps, self.sharpness.shape[1])
        wanted = {
            "fisher": (self.fisher, (steps, count)),
            "by_module": (self.by_module, (steps, len(self.modules), count)),
            "true_answer": (self.true_answer, (steps, count)),
            "sharpness": (self.sharpness, samples),
            "residual": (self.residual, samples),
            "preconditioned": (self.preconditioned, samples),
            "preconditioned_residual": (self.preconditioned_residual, samples),
        }
        if np.any(np.diff(self.steps) <= 0):
            raise ShapeError(f"steps should ascend, found {self.steps}", where="CurvatureSeries")
        for name, (table, shape) in wanted.items():
            if table.shape != shape:
                raise ShapeError(
                    f"{name} should have the shape {shape}, found {table.shape}",
                    where="CurvatureSeries",
                )

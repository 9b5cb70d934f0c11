"""In how many directions a table spreads, from the squared singular values of its rows.

Both numbers of dimensions grow with the number of rows: compare at equal rows only.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Power along the principal axes of centred rows, largest first, summing to 1."""

    power: Float[np.ndarray, " axis"]

    @property
    def participation(self) -> float:
        """1 / sum of squared shares: d for d equal axes, 1 for one axis."""
        return float(1 / (self.power**2).sum()) if self.power.size else float("nan")

    @property
    def effective_rank(self) -> float:
        """Exponential of the entropy of the shares (Roy and Vetterli, 2007)."""
        some = self.power[self.power > 0]
        return float(np.exp(-(some * np.log(some)).sum())) if some.size else float("nan")

    def top(self, axes: int) -> float:
        """Share of the first axes."""
        return float(self.power[:axes].sum()) if self.power.size else float("nan")


def spectrum(x: Float[np.ndarray, "row d"]) -> Spectrum:
    """Centre rows and return the shares of their principal axes; empty without spread."""
    centred = x - x.mean(axis=0)
    wide = centred.shape[1] > centred.shape[0]
    power = np.linalg.eigvalsh(centred @ centred.T if wide else centred.T @ centred)[::-1]
    power = np.maximum(power, 0.0)
    total = power.sum()
    return Spectrum(power / total if total > 0 else power[:0])

"""Singular values and spaces of LoRA updates, which do not depend on how B and A are written."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.updates.lora_geometry import Factors

FULL = 1e-6
"""Singular values below this share of the largest are rounding and span nothing."""


@dataclass(frozen=True, slots=True)
class Update:
    """One update dW = left diag(values) right^T, thin; rank 0 where it is zero."""

    left: Float[np.ndarray, "out rank"]
    """Orthonormal directions that the update writes to."""
    values: Float[np.ndarray, " rank"]
    """Singular values, falling."""
    right: Float[np.ndarray, "in rank"]
    """Orthonormal directions that the update reads."""

    @property
    def rank(self) -> int:
        """Directions that the update spans."""
        return int(self.values.size)


def update_svd(one: Factors) -> Update:
    """Decompose an update by two thin QR and an r x r SVD; exact up to rounding."""
    a, b, scaling = one
    q_b, r_b = np.linalg.qr(np.asarray(b, dtype=np.float64))
    q_a, r_a = np.linalg.qr(np.asarray(a, dtype=np.float64).T)
    u, s, vt = np.linalg.svd(scaling * r_b @ r_a.T)
    keep = int((s > FULL * s[0]).sum()) if s.size and s[0] > 0 else 0
    return Update(q_b @ u[:, :keep], s[:keep], q_a @ vt[:keep].T)


def spectral_entropy(values: Float[np.ndarray, " rank"]) -> float:
    """Return the entropy of the shares of squared singular values, in nats; NaN for no update."""
    if not values.size:
        return float("nan")
    share = values**2 / (values**2).sum()
    return float(-(share * np.log(np.where(share > 0, share, 1.0))).sum())


def overlap(one: Float[np.ndarray, "d r"], two: Float[np.ndarray, "d s"]) -> float:
    """Return ||U1^T U2||^2 / min(r, s): 1 if one space holds the other, 0 if orthogonal.

    Two random spaces have max(r, s) / d in the mean (`chance_overlap`). NaN for an empty one.
    """
    least = min(one.shape[1], two.shape[1])
    return float(((one.T @ two) ** 2).sum() / least) if least else float("nan")


def chance_overlap(one: Float[np.ndarray, "d r"], two: Float[np.ndarray, "d s"]) -> float:
    """Return the mean overlap of two random spaces of these sizes."""
    least = min(one.shape[1], two.shape[1])
    return max(one.shape[1], two.shape[1]) / one.shape[0] if least else float("nan")


def principal_angles(
    one: Float[np.ndarray, "d r"], two: Float[np.ndarray, "d s"]
) -> Float[np.ndarray, " angle"]:
    """Return the principal angles between two spaces, in degrees, smallest first."""
    if not min(one.shape[1], two.shape[1]):
        return np.empty(0)
    cosines = np.linalg.svd(one.T @ two, compute_uv=False)
    return np.asarray(np.degrees(np.arccos(np.clip(cosines, 0.0, 1.0))))


def random_overlaps(
    d: int, ranks: tuple[int, int], rng: np.random.Generator, draws: int
) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, " draw"]]:
    """Draw overlap and smallest angle of random spaces: what nothing in common looks like.

    By symmetry one space may be the first `s` axes, so only one is drawn.
    """
    r, s = ranks
    overlaps, angles = np.empty(draws), np.empty(draws)
    for at in range(draws):
        basis = np.linalg.qr(rng.normal(size=(d, r))).Q
        cosines = np.linalg.svd(basis[:s], compute_uv=False)
        overlaps[at] = (cosines**2).sum() / min(r, s)
        angles[at] = np.degrees(np.arccos(min(1.0, float(cosines[0]))))
    return overlaps, angles

"""The path of an adapter's update in the plane of its two main directions.

PCA of the updates along the checkpoints, from their inner products alone. A random walk in
many dimensions also gives a smooth arc (its projections are cosines) and puts .61 and .15 of
its variance there, so the walk of as many steps, each as long as the run's, stands beside it.

Reference: Antognini and Sohl-Dickstein 2018 (1806.08805), section 2.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.results import Map
from critical_phase.analysis.updates.lora_geometry import lengths

FEWEST = 4
"""Checkpoints below which two directions hold nearly everything and say nothing."""

CAPTION = (
    "Where training took the adapter. Every dot is a saved step; its place is the weight update"
    " dW of that step, all adapted matrices together, in the plane of the two main directions of"
    " the whole path (principal components). The axes name the share of the path's variance that"
    " lies along each; what is missing to 100 % leaves the plane. Both axes have one scale, in"
    " norms of dW. The weights of one run give no interval."
)


@dataclass(frozen=True, slots=True)
class Plane:
    """A path seen in the plane of its two main directions."""

    points: Float[np.ndarray, "step 2"]
    """Coordinates about the mean of the path; the last point lies to the right of the first."""
    shares: Float[np.ndarray, " 2"]
    """Shares of the variance over steps along the two directions."""


def main_plane(gram: Float[np.ndarray, "step step"]) -> Plane | None:
    """Return the two main directions of a path from the inner products of its points.

    Args:
        gram: Inner products, of every two steps.

    Returns:
        The plane, or None where the path does not move or has fewer than 4 steps.
    """
    if len(gram) < FEWEST:
        return None
    apart = gram - gram.mean(axis=0)
    apart -= apart.mean(axis=1, keepdims=True)
    sizes, vectors = np.linalg.eigh((apart + apart.T) / 2)
    whole = float(np.trace(apart))
    if whole <= 1e-12 * max(float(np.trace(gram)), 1e-30):
        return None
    two = np.maximum(sizes[[-1, -2]], 0.0)
    points = vectors[:, [-1, -2]] * np.sqrt(two)
    return Plane(points * _signs(points), two / whole)


def walk_gram(steps: Float[np.ndarray, " inner"]) -> Float[np.ndarray, "step step"]:
    """Return the inner products of a random walk with steps of these lengths.

    In many dimensions its steps are orthogonal, so two points share what both have walked.
    """
    walked = np.concatenate([[0.0], np.cumsum(np.asarray(steps, dtype=np.float64) ** 2)])
    shared: np.ndarray = np.minimum.outer(walked, walked)
    return shared


def path_map(
    head: str, steps: Int[np.ndarray, " step"], gram: Float[np.ndarray, "step step"]
) -> Map | None:
    """Draw the path of one head beside its random walk.

    Args:
        head: Trained head.
        steps: Its checkpoints, in order.
        gram: Inner products of its updates, all modules together.

    Returns:
        Two rows for the path and two for the walk, or None where there is no plane.
    """
    path, walk = main_plane(gram), main_plane(walk_gram(lengths(gram)))
    if path is None or walk is None:
        return None
    rows = np.hstack([path.points, walk.points]).T
    own, other = (_percent(plane.shares) for plane in (path, walk))
    names = [f"{what} {k + 1} ({shares[k]} of variance)" for what, shares in
             (("direction", own), ("random walk, direction", other)) for k in range(2)]  # fmt: skip
    return Map(
        f"lora_path.{head}",
        f"Path of the update in its main plane, {head} head",
        "norm of dW",
        head,
        "direction",
        names,
        [int(s) for s in steps],
        [numbers(row) for row in rows],
        True,
        None,
        f"The {head} path has {own[0]} and {own[1]} of its variance in its plane. A random walk of"
        f" as many steps, each as long, in very many dimensions has {other[0]} and {other[1]} in"
        " its own (dashed) and is as smooth an arc: an arc alone shows nothing. A straight line"
        " has 100 % and 0 %.",
        CAPTION,
    )


def _percent(shares: Float[np.ndarray, " 2"]) -> list[str]:
    """Write two shares in per cent."""
    return [f"{100 * float(share):.3g} %" if share >= 1e-3 else "0 %" for share in shares]


def _signs(points: Float[np.ndarray, "step 2"]) -> Float[np.ndarray, " 2"]:
    """Choose signs that do not hang on the solver: forward to the right, furthest upward."""
    along, across = points[-1, 0] - points[0, 0], points[np.argmax(np.abs(points[:, 1])), 1]
    return np.where(np.array([along, across]) < 0, -1.0, 1.0)

"""What is withheld from a training for a while, so that a jump it causes must move or vanish.

Two kinds of test. `freeze`: adapter parameters of some layers or modules get no update.
`project_out`: a direction of the residual stream is taken out, either from the hidden states that
the training reads (`state`, the default) or from what the adapter may write (`write`).

Reference: arXiv 2506.11618 (a direction taken out of the states of a fine-tuned model, or of B);
arXiv 2507.16795 (taken out of the states while training, and the trained model read whole).
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from critical_phase.errors import ConfigError

Kind = Literal["freeze", "only", "project_state", "project_write"]
KINDS: tuple[Kind, ...] = ("freeze", "only", "project_state", "project_write")
RANDOM = "random:"
"""Prefix of a drawn direction; its seed follows."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """One training-time test of one head; plain values but for the vectors."""

    kind: Kind
    """`freeze` these places, or all but these (`only`); take a direction out of the states that
    are read (`project_state`) or of what is written (`project_write`)."""
    places: str
    """Layers and modules: which are frozen or left free, or after which layers is projected."""
    window: tuple[int, int]
    """Two checkpoints: the updates from the first (exclusive) to the second (inclusive) are
    withheld, so the first is the last one that training without the test also has."""
    source: str = ""
    """Where the direction comes from: a file's name, or `random:SEED`."""
    vectors: Float[np.ndarray, "layer d"] | None = field(default=None, compare=False, repr=False)
    """Unit directions: one for all layers, or one per layer; None where they are drawn."""

    def __post_init__(self) -> None:
        """Refuse windows that hold no update, and projections without a direction."""
        if self.kind not in KINDS:
            raise ConfigError(f"unknown test {self.kind!r}", fix=f"known: {', '.join(KINDS)}")
        low, high = self.window
        if not 0 <= low < high:
            raise ConfigError(
                f"the window {low}:{high} holds no update",
                fix="give two checkpoints, the first before the second: 8:32",
            )
        if not self.projects and (self.source or self.vectors is not None):
            raise ConfigError("a freeze has no direction", fix="leave it out")
        if self.projects and (self.vectors is None) != self.source.startswith(RANDOM):
            raise ConfigError(
                f"no direction for {self.kind}", fix="give a file, or random:SEED to draw one"
            )

    @property
    def projects(self) -> bool:
        """Whether a direction is taken out."""
        return self.kind.startswith("project")

    def acts(self, step: int) -> bool:
        """Say whether the update that makes the checkpoint of a step is withheld."""
        return self.window[0] < step <= self.window[1]

    def values(self) -> dict[str, Any]:
        """Return plain values for files; a direction by the hash of its numbers."""
        found: dict[str, Any] = {
            "kind": self.kind,
            "places": self.places,
            "window": list(self.window),
        }
        if self.projects:
            found["direction"] = self.source if self.vectors is None else vectors_sha256(self)
        return found


def vectors_sha256(withheld: Withheld) -> str:
    """Hash the unit directions, rounded to float32 so that a file's type does not matter."""
    assert withheld.vectors is not None
    plain = np.ascontiguousarray(withheld.vectors, dtype="<f4")
    return hashlib.sha256(repr(plain.shape).encode() + plain.tobytes()).hexdigest()


def drawn_direction(source: str, width: int) -> Float[np.ndarray, "1 d"]:
    """Draw a unit direction, uniform on the sphere, from `random:SEED`.

    Raises:
        ConfigError: The seed is no number of 0 or more.
    """
    text = source.removeprefix(RANDOM)
    if not text.isdecimal():
        raise ConfigError(f"cannot read the seed of {source!r}", fix="write random:0")
    vector = np.random.default_rng([int(text), 23]).standard_normal(width)
    return (vector / np.linalg.norm(vector))[None]

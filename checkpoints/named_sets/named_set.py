"""What a named question set declares: where its rows stand, and how one becomes a question."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Split = Literal["train", "eval"]
HubRow = Mapping[str, Any]
Fields = dict[str, object]
"""The fields of a question file: id, question, candidates, answer, group."""


@dataclass(frozen=True, slots=True)
class Part:
    """One split of one dataset of the hub, or some of its rows."""

    hub: str
    """Dataset, as `owner/name`."""
    config: str | None
    """Configuration inside the dataset; None where it has only one."""
    split: str
    """Name of the split on the hub."""
    keep: Callable[[HubRow], bool] | None = None
    """Which rows belong to the part; None means all."""

    def __str__(self) -> str:
        """Name the part as a reader would look it up."""
        inner = f"{self.config}, {self.split}" if self.config else self.split
        return f"{self.hub} ({inner})"


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A public set of questions with its usual splits."""

    name: str
    train: tuple[Part, ...]
    """Parts to train on, in order; empty where none is published."""
    eval: tuple[Part, ...]
    """Parts to evaluate on, held out from `train`."""
    prompt: str
    """Prompt format that is usual for the set."""
    convert: Callable[[HubRow, Part, int], Fields]
    """Turns a row, its part and its number there (from 0) into the fields of a question."""
    published: Mapping[Split, int] = field(default_factory=dict)
    """How many questions a split is known to hold; another count is noted."""

    def parts(self, split: Split) -> tuple[Part, ...]:
        """Return the parts of a split."""
        return self.train if split == "train" else self.eval


def index_of(label: str, labels: Sequence[str]) -> int:
    """Find the right candidate by its label, a letter or a digit.

    Raises:
        ValueError: The label is not among them (hidden test answers are empty).
    """
    if label not in labels:
        raise ValueError(f"the right answer {label!r} is none of the labels {', '.join(labels)}")
    return list(labels).index(label)


def mixed(texts: Sequence[str], right: int, key: str) -> tuple[list[str], int]:
    """Put candidates into a fixed order that says nothing of which is right.

    Sets that always list the right text first would reward any rule that prefers the first.

    Args:
        texts: Candidates as published.
        right: Index of the right one there.
        key: Id of the question; the order hangs on it and on the texts alone.
    """
    digests = [hashlib.sha256(f"{key}\n{text}".encode()).digest() for text in texts]
    order = sorted(range(len(texts)), key=lambda index: digests[index])
    return [texts[index] for index in order], order.index(right)

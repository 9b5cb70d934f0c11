"""What training-time tests of a run say, as `interventions/training-*.json` have it."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from critical_phase.cli.stored_interventions import FOLDER
from critical_phase.errors import StoreError


def training_evidence(run: Path, head: str, layers: Sequence[int]) -> bool | None:
    """Say whether a run's jump moves or vanishes without these layers: point 6 of a cause.

    Args:
        run: Run folder.
        head: The head that was tested.
        layers: What is said to cause the jump.

    Returns:
        True where a test says so, False where tests were made and none does, None where none was
        made or resolved.

    Raises:
        StoreError: A file does not hold a training-time test.
    """
    said = training_said(run, head, layers)
    return True in said if said else None


def training_said(
    run: Path,
    head: str,
    layers: Sequence[int],
    fits: Callable[[Mapping[str, Any]], bool] = lambda test: True,
) -> list[bool]:
    """List what the tests that speak for some layers of a head say; unresolved ones say nothing.

    A test speaks for layers if it froze something in exactly these, in this head and no other.
    That the jump stays says something only where all of their parameters were frozen. Tests that
    took a direction out speak for no layer.

    Args:
        run: Run folder.
        head: The head that was tested.
        layers: What is said to cause the jump.
        fits: Tells whether a test is about the same jump.

    Raises:
        StoreError: A file does not hold a training-time test.
    """
    return [
        bool(one["training"]["met"])
        for one in read_training_tests(run)
        if list(one["heads"]) == [head]
        and sorted(one["layers"]) == sorted(set(layers)) != []
        and one["training"]["met"] is not None
        and (one["whole_layers"] or one["training"]["met"])
        and fits(one)
    ]


def read_training_tests(run: Path) -> list[dict[str, Any]]:
    """Read every training-time test of a run, in the order of their names.

    Raises:
        StoreError: A file does not hold a training-time test.
    """
    return [_read(path) for path in sorted((run / FOLDER).glob("training-*.json"))]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, Mapping) or found["plan"] != "training_time":
            raise ValueError("its plan is not training_time")
        for key in ("heads", "layers", "whole_layers", "withheld", "sentence", "mode", "weight"):
            found[key]
        found["training"]["run_tau"]["steps"]
        if found["training"]["met"] not in (True, False, None):
            raise ValueError("met is neither true, false nor null")
        return dict(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"this file holds no training-time test: {error!r}",
            where=str(path),
            fix="delete it, and repeat probe retrain",
        ) from error

"""What a repeated `probe collect` takes from the run itself: the draw of questions, and more."""

from pathlib import Path
from typing import Any

from critical_phase.checkpoints import read_questions
from critical_phase.cli.console import say
from critical_phase.cli.run_folder import RunFolder
from critical_phase.cli.settings import CollectSettings
from critical_phase.probes import read_attrs, read_plan

CHOOSE = ("collect", "collector", "positions", "residual_sites")
"""Settings that ask for activations by name."""


def as_before(path: Path, settings: CollectSettings, *, contexts: bool) -> CollectSettings:
    """Fill in, from what a run holds, what the user did not choose, and say so in one line.

    A run has one draw of questions, so limit and seed of its first collection hold for all.
    With contexts, a run that holds scores alone stays so; without, `probe collect RUN` adds
    activations to it.

    Args:
        path: Run folder, collected before or not.
        settings: From the command line, the environment and a file.
        contexts: Whether contexts are asked for.

    Raises:
        InputError: The stored plan or questions cannot be read.
    """
    chosen = settings.model_fields_set
    alone = contexts and not chosen & set(CHOOSE)
    stored = _stored(RunFolder(path), alone=alone)
    found = {key: value for key, value in stored.items() if key not in chosen}
    words = [
        "scores only" if key == "activations" else f"{key} {value}"
        for key, value in found.items()
        if value != getattr(settings, key)
    ]
    if words:
        say(f"taken from the run, as it was collected before: {', '.join(words)}")
    return settings.model_copy(update=found)


def _stored(run: RunFolder, *, alone: bool) -> dict[str, Any]:
    if not (run.plan.is_file() and run.questions("eval").is_file()):
        return {}
    found: dict[str, Any] = {}
    drawn = len(read_plan(run.plan).question_ids)
    if drawn < len(read_questions(run.questions("eval"))):
        found["limit"] = drawn
    scores = next(iter(sorted(run.path.glob("scores/*/step-*.h5"))), None)
    if scores is None:
        return found
    if (seed := read_attrs(scores).get("seed")) is not None:
        found["seed"] = int(seed)
    if alone and next(run.path.glob("activations/*/step-*.h5"), None) is None:
        found["activations"] = False
    return found

"""The heads that a run holds already: whether another may stand beside them, and their end."""

import shutil
from collections.abc import Callable

from critical_phase.checkpoints import (
    Recipe,
    adapter_identity,
    list_series,
    questions_sha256,
    recipe_values,
)
from critical_phase.cli.run_folder import RunFolder
from critical_phase.cli.training_data import TrainingData
from critical_phase.differences import apart
from critical_phase.errors import CheckpointError

SHARED = ("prompt", "seed", "stratum", "train_size", "repeat_first")
"""Settings, beside recipe and questions, that are the same for both heads of a run."""


def forget_heads(run: RunFolder, heads: tuple[str, ...]) -> None:
    """Delete heads with everything that was made from them."""
    for head in heads:
        for kind in ("heads", "scores", "activations", "effects", "contexts/*/scores"):
            for folder in run.path.glob(f"{kind}/{head}"):
                shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(run.analysis, ignore_errors=True)


def refuse_mixed_heads(
    run: RunFolder, data: TrainingData, recipe_for: Callable[[str], Recipe]
) -> None:
    """Refuse to put a head beside one of another recipe or other questions.

    Their steps would not match, run.json would describe one of the two, and only this
    head's questions are compared with those that are evaluated.

    Raises:
        CheckpointError: The other head of the run was trained otherwise.
    """
    settings = data.settings
    if run.series_file.is_file():
        raise CheckpointError(
            "this run holds series that were made elsewhere",
            where=str(run.series_file),
            fix="train into another --out",
        )
    wanted = {
        "question_set_sha256": questions_sha256(data.questions),
        **{key: getattr(settings, key) for key in SHARED},
    }
    for other in run.trained_heads():
        if other in settings.heads:
            continue
        note = adapter_identity(list_series(run.head(other)).checkpoints[0].path) or {}
        for key, value in (("recipe", recipe_values(recipe_for(other))), *wanted.items()):
            if note.get(key) != value:
                there, asked = apart(note.get(key), value)
                raise CheckpointError(
                    f"the {other} head of this run was trained with another {key}: "
                    f"asked for {asked}, found {there}",
                    where=str(run.head(other)),
                    fix="train both heads again with --overwrite, or use another --out",
                )

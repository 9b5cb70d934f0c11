"""A tiny training that is collected on the way, and what it left behind."""

from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
from tiny_models import word_tokenizer
from tiny_run import colour_questions
from tiny_training import RECIPE, head_folder, random_examples
from transformers import PreTrainedModel

from critical_phase.checkpoints import (
    Question,
    Recipe,
    list_series,
    model_sha256,
    prompt_format,
    train_head,
)
from critical_phase.checkpoints.training_loop import TrainingLoop
from critical_phase.probes import (
    CollectReport,
    CollectSettings,
    LiveCollection,
    Plan,
    collect,
    make_plan,
    make_units,
)

HEAD = "negative"
SETTINGS = CollectSettings(pattern_rows=(0, 1))
Visit = Callable[[TrainingLoop], None]


def colour_plan(count: int = 4) -> Plan:
    made = [
        Question(
            str(q["id"]),
            str(q["question"]),
            tuple(q["candidates"]),
            int(q["answer"]),
            str(q["group"]),
        )
        for q in colour_questions(0, count)
    ]
    return make_plan(tuple(made), word_tokenizer(), prompt_format("plain"))


def live(run: Path, model: PreTrainedModel, **given: object) -> LiveCollection:
    settings = given.pop("settings", SETTINGS)
    return LiveCollection(run, model, colour_plan(), HEAD, settings=settings, **given)


def visitor(one: LiveCollection, run: Path) -> Visit:
    def visit(loop: TrainingLoop) -> None:
        one.at_step(loop.adapter, loop.step, run / "heads" / HEAD / f"checkpoint-{loop.step}")

    return visit


def train_run(
    run: Path,
    model: PreTrainedModel,
    recipe: Recipe = RECIPE,
    *,
    save_at: Iterable[int] | None = None,
    visit: Visit | None = None,
) -> None:
    """Train the one head of a run; what looks on is given as `visit`."""
    base = model_sha256(model)
    folder = head_folder(run / "heads" / HEAD, recipe, base_sha256=base)
    asked = sorted(range(recipe.steps + 1) if save_at is None else save_at)
    examples = random_examples(recipe.steps * recipe.batch_size)
    train_head(model, examples, recipe, asked, folder, seed=5, pad_id=1, on_step=visit)


def collected_training(
    run: Path, model: PreTrainedModel, recipe: Recipe = RECIPE, **given: object
) -> LiveCollection:
    one = live(run, model, **given)
    train_run(run, model, recipe, visit=visitor(one, run))
    return one


def collect_after(run: Path, model: PreTrainedModel, **given: object) -> CollectReport:
    units = make_units({HEAD: list_series(run / "heads" / HEAD).checkpoints})
    settings = given.pop("settings", SETTINGS)
    return collect(run, model, colour_plan(), units, settings=settings, **given)


def head_bytes(run: Path) -> dict[str, bytes]:
    """Adapters, states, log and notes of the head."""
    return contents(run / "heads", "*")


def contents(folder: Path, names: str = "*.h5") -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob(names) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def largest_differences(one: Path, other: Path) -> dict[str, float]:
    """Largest difference over the largest value, per dataset, over all files of two runs."""
    gaps: dict[str, float] = {}

    def compare(name: str, item: object, twin: h5py.File) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu":
            a, b = np.asarray(item[()], float), np.asarray(twin[name][()], float)
            scale = max(float(np.abs(b).max(initial=0.0)), 1e-30)
            gap = float(np.abs(a - b).max(initial=0.0)) / scale
            gaps[name] = max(gaps.get(name, 0.0), gap)

    for path in sorted(one.rglob("*.h5")):
        with h5py.File(path) as file, h5py.File(other / path.relative_to(one)) as twin:
            file.visititems(lambda name, item, twin=twin: compare(name, item, twin))
    return gaps

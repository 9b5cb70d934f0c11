"""Where a run came from: an allow-list of facts, without hosts, users or absolute paths."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critical_phase.reports.text import scrub

Json = dict[str, Any]

ALLOWED = (
    ("name", "run"),
    ("kind", "kind"),
    ("created_utc", "created"),
    ("model", "model"),
    ("model_revision", "model revision"),
    ("model_sha256", "model hash"),
    ("questions", "questions"),
    ("question_set_sha256", "question-set hash"),
    ("control.kind", "control"),
    ("control.run", "control of"),
    ("collect.evaluated_questions", "evaluated questions"),
    ("collect.rows", "rows"),
    ("collect.plan_sha256", "plan hash"),
    ("collect.layout", "layout"),
    ("seed", "seed"),
    ("heads", "heads"),
    ("dtype", "number type"),
    ("device", "device"),
    ("git_commit", "commit"),
)
"""Key of `run.json`, a dot goes one level down -> its name on the page. Nothing else is shown."""

RECIPE = (
    "batch_size", "accumulate", "steps", "lr", "learning_rate", "lr_schedule", "schedule", "save",
    "optimizer", "rank", "r", "alpha", "lora_alpha", "lora", "dropout", "targets",
    "target_modules", "negatives", "contamination", "repeat_first", "stratum", "prompt_format",
    "prompt", "dtype", "weight_decay", "clip", "warmup", "train_questions",
    "max_length", "weight", "seed",
)  # fmt: skip
"""Keys of `recipe` that are shown."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What one needs to make the run again."""

    facts: tuple[tuple[str, str], ...]
    recipe: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]


def provenance(run: Json) -> Provenance:
    """Pick the facts of `run.json` that may be shown."""
    recipe, versions = _object(run, "recipe"), _object(run, "versions")
    return Provenance(
        facts=tuple(
            (label, _show(value)) for key, label in ALLOWED if (value := _at(run, key)) is not None
        ),
        recipe=tuple(
            (k.replace("_", " "), _show(recipe[k]))
            for k in RECIPE
            if recipe.get(k) not in (None, {})
        ),
        versions=tuple((str(k), _show(v)) for k, v in sorted(versions.items())),
        commands=tuple(_command(item) for item in run.get("commands") or ()),
    )


def _object(run: Json, key: str) -> Json:
    value = run.get(key)
    return value if isinstance(value, dict) else {}


def collection_warnings(run: Json) -> tuple[str, ...]:
    """Repeat what collecting and training warned about, without machine paths."""
    said = _object(run, "collect").get("warnings") or ()
    dropped = _object(run, "dropped_questions")
    lost = [f"{len(v)} questions of {k} were left out." for k, v in sorted(dropped.items()) if v]
    return tuple([scrub(str(item)) for item in said] + lost)


def analysed_by(run: Json) -> str:
    """Return the command that made the numbers of a page; `probe analyze` where none is noted."""
    commands = [_command(item) for item in run.get("commands") or ()]
    fitting = [text for text in commands if " analyze" in text or " demo" in text]
    return fitting[-1] if fitting else "probe analyze RUN"


def _at(run: Json, key: str) -> Any:
    outer, _, inner = key.rpartition(".")
    return _object(run, outer).get(inner) if outer else run.get(inner)


def _command(item: Any) -> str:
    if isinstance(item, dict):
        item = item.get("command") or item.get("argv") or ""
    if isinstance(item, Sequence) and not isinstance(item, str):
        item = shlex.join(str(word) for word in item)
    return scrub(str(item))


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_show(part)}" for key, part in sorted(value.items()))
    if isinstance(value, list):
        return ", ".join(_show(part) for part in value)
    return scrub(str(value))

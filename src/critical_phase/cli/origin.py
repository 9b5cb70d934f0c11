"""What findings say of how a run was made, so that they can be cited alone."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

FIELDS = (
    ("kind", "kind"),
    ("model", "model"),
    ("model_revision", "model_revision"),
    ("model_sha256", "model_sha256"),
    ("questions", "question_set"),
    ("question_set_sha256", "question_set_sha256"),
    ("seed", "training_seed"),
    ("created_utc", "created_utc"),
)
"""Key of `run.json` -> its name in the findings."""


def origin(record: Mapping[str, Any]) -> dict[str, str | int | None]:
    """Pick from a run's record what a citation needs; null where the record is silent.

    The date is that of the run, not of today. Folders of this computer are left out.
    """
    versions = record.get("versions")
    version = versions.get("critical-phase") if isinstance(versions, Mapping) else None
    named = {name: _plain(record.get(key)) for key, name in FIELDS}
    return {"version": _plain(version), **named}


def _plain(value: object) -> str | int | None:
    """Keep numbers and texts; of an absolute path the last part."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    text = str(value)
    return PurePath(text).name if text.startswith(("/", "~")) else text

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


def mode_names(record: Mapping[str, Any]) -> dict[str, str]:
    """Name scores of the positive head after its series, where that was made elsewhere.

    What such a series was trained on is not known, so that SFT would be a guess. A folder is
    called by its name, revisions on the hub by their repository.
    """
    series = record.get("series")
    one = series.get("positive") if isinstance(series, Mapping) else None
    location = one.get("location") if isinstance(one, Mapping) else None
    if not isinstance(one, Mapping) or not location:
        return {}
    text = str(location)
    name = PurePath(text).name if PurePath(text).is_absolute() else text.partition("@")[0]
    name = "Positive head" if name == "positive" else name
    if adapter := one.get("adapter_name"):
        name += f" ({adapter})"
    return {"sft": name, "pos_base": f"{name} minus base"}


def _plain(value: object) -> str | int | None:
    """Keep numbers and texts; of an absolute path the last part."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    text = str(value)
    return PurePath(text).name if text.startswith(("/", "~")) else text

"""Take from another cell of the sweep what this one would only make again.

The positive head does not depend on the negatives, and the base model's scores on neither:
both are linked, not copied, where the other cell's settings say that every byte would be the
same. `probe train` and `probe collect` still check identities and keys of what they find.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from critical_phase.atomic import new_file, new_folder
from critical_phase.checkpoints.training_state import DONE
from critical_phase.cli.run_folder import BASE, HEADS, RunFolder
from critical_phase.cli.settings import AnalyzeSettings, CollectSettings, Settings, TrainSettings
from critical_phase.cli.training_data import needs_base

NOTE = "cell.json"
"""What a sweep writes into the folder of each cell."""

EXAMPLES = "examples.csv"

ONLY_NEGATIVE = ("negatives", "contamination", "unrelated")
"""Settings that the positive head does not see."""

EVALUATION = (
    "model", "dtype", "prompt", "questions", "eval_questions", "equal_candidates", "overlap",
    "device",
)  # fmt: skip
"""Settings that decide the scores of the base model."""

SECTIONS: dict[str, type[Settings]] = {
    "train": TrainSettings,
    "collect": CollectSettings,
    "analyze": AnalyzeSettings,
}
"""Settings that a note holds."""

KINDS = ("scores", "activations")

Values = dict[str, Any]


def head_settings(settings: Values, head: str) -> Values:
    """Keep of a cell's training settings what decides the bytes of one head."""
    ignored = {"heads", *(ONLY_NEGATIVE if head == "positive" else ())}
    kept = {key: value for key, value in settings.items() if key not in ignored}
    # examples.csv lists base margins where a run had to know them.
    known = {key: value for key, value in settings.items() if key in TrainSettings.model_fields}
    return {**kept, "margins": needs_base(TrainSettings.model_validate(known))}


def read_note(cell: Path) -> Values:
    """Read what a sweep noted in a cell's folder; empty where it is absent or damaged."""
    try:
        value = json.loads((cell / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return _with_new_settings(value) if isinstance(value, dict) else {}


def _with_new_settings(note: Values) -> Values:
    """Give settings that did not exist when a note was written their default: all there was."""
    known = {key: kind for key, kind in SECTIONS.items() if isinstance(note.get(key), dict)}
    filled = {
        key: {**kind.model_construct().model_dump(mode="json"), **note[key]}
        for key, kind in known.items()
    }
    return {**note, **filled}


def reuse_heads(run: RunFolder, settings: TrainSettings) -> dict[str, str]:
    """Link finished heads of sibling cells, and say which head came from which cell."""
    taken: dict[str, str] = {}
    wanted = settings.model_dump(mode="json")
    for head in settings.heads:
        target = run.head(head)
        if _is_whole(target):
            continue
        for sibling, note in siblings(run.path):
            same = head_settings(note["train"], head) == head_settings(wanted, head)
            if same and _is_whole(sibling / "heads" / head):
                link_folder(sibling / "heads" / head, target)
                taken[f"heads/{head}"] = sibling.name
                break
    return taken


def reuse_scores(run: RunFolder, settings: TrainSettings, collect: Values) -> dict[str, str]:
    """Link stored files of sibling cells that were made from the same adapters and rows."""
    taken: dict[str, str] = {}
    wanted = settings.model_dump(mode="json")
    for head in (BASE, *settings.heads):
        for sibling, note in siblings(run.path):
            if note.get("collect") != collect or not _same_rows(note["train"], wanted):
                continue
            if head != BASE and not _same_adapters(sibling, run.path, head):
                continue
            if _link_missing(sibling, run.path, head):
                taken[f"scores/{head}"] = sibling.name
    return taken


def drop(run: RunFolder, taken: Iterable[str]) -> None:
    """Remove what was linked from siblings."""
    for name in taken:
        kind, _, head = name.partition("/")
        kinds = KINDS if kind == "scores" else (kind,)
        for one in kinds:
            shutil.rmtree(run.path / one / head, ignore_errors=True)
        if kind == "scores":
            for folder in run.path.glob(f"contexts/*/scores/{head}"):
                shutil.rmtree(folder, ignore_errors=True)


def siblings(cell: Path) -> Iterator[tuple[Path, Values]]:
    """Yield the other cells of the sweep with their notes, by name."""
    for path in sorted(cell.parent.glob(f"*/{NOTE}")):
        if path.parent.name != cell.name:
            note = read_note(path.parent)
            if isinstance(note.get("train"), dict):
                yield path.parent, note


def link_folder(source: Path, target: Path) -> None:
    """Publish a twin of a finished folder whose files share their bytes on the disk."""
    with new_folder(target) as folder:
        for file in sorted(source.rglob("*")):
            inside = file.relative_to(source)
            if file.is_file() and not any(part.startswith(".") for part in inside.parts):
                place = folder / inside
                place.parent.mkdir(parents=True, exist_ok=True)
                _link(file, place)


def _is_whole(head: Path) -> bool:
    """Say whether a head is trained and the list of its examples, written last, is there."""
    return (head / DONE).is_file() and (head / EXAMPLES).is_file()


def _link_missing(source: Path, target: Path, head: str) -> int:
    """Link the finished files of one head's saved steps that the target does not have."""
    homes = [source / kind / head for kind in KINDS]
    homes += sorted(source.glob(f"contexts/*/scores/{head}"))
    count = 0
    for home in homes:
        for file in sorted(home.glob("step-*.h5")):
            place = target / file.relative_to(source)
            step = int(file.stem.removeprefix("step-"))
            saved = head == BASE or (target / "heads" / head / f"checkpoint-{step}").is_dir()
            if saved and not place.exists():
                with new_file(place) as temporary:
                    _link(file, temporary)
                count += 1
    return count


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)


def _same_rows(settings: Values, wanted: Values) -> bool:
    return all(settings.get(key) == wanted.get(key) for key in EVALUATION)


def _same_adapters(source: Path, target: Path, head: str) -> bool:
    """Compare the finished training of two cells by what it noted of itself."""
    paths = [cell / "heads" / head / DONE for cell in (source, target)]
    if not all(path.is_file() for path in paths) or head not in HEADS:
        return False
    return paths[0].read_bytes() == paths[1].read_bytes()

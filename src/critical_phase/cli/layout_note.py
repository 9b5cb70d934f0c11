"""How rows went through the model, for the record of a run."""

from pathlib import Path

from critical_phase.probes import CollectReport, read_attrs, unit_path


def layout_note(folder: Path, report: CollectReport) -> dict[str, str]:
    """Say it as the call did, or as its files do where all of them were there before.

    A call that is killed after its last file leaves no note; the next one finds every file
    finished and has no layout of its own to tell.

    Args:
        folder: Where the files of the call are.
        report: What the call did.

    Raises:
        StoreError: A file is damaged.
    """
    if report.layout:
        return {
            "layout": report.layout,
            "layout_reason": report.layout_reason,
            "attention_way": report.attention_way,
        }
    if not report.existing:
        return {}
    unit = report.existing[0]
    activations, scores = (unit_path(folder, k, unit) for k in ("activations", "scores"))
    stored = read_attrs(activations if activations.is_file() else scores)
    return {
        "layout": str(stored["row_layout"]),
        "layout_reason": str(stored["row_layout_reason"]),
        "attention_way": str(stored["attention_way"]),
    }

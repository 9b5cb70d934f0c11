"""How the leads of ranked changes are written in the evidence of verdicts."""

from collections.abc import Sequence

from critical_phase.analysis.charts import layer_label
from critical_phase.analysis.jumps.ranked_change import RankedChange

MOST_NAMED = 8
"""Changes that one piece of evidence names."""


def place(row: RankedChange) -> str:
    """Name an attention head as layer.head, and what has none by its layer."""
    series = row.change.series
    if series.attention_head is None:
        return "model" if series.layer is None else f"layer {layer_label(series.layer)}"
    return f"{series.layer}.{series.attention_head}"


def named(rows: Sequence[RankedChange]) -> str:
    """List changes with their lead in brackets, in steps, negative before accuracy."""
    more = f"; and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
    return f" ({'; '.join(map(_led, rows[:MOST_NAMED]))}{more})" if rows else ""


def unresolved(rows: Sequence[RankedChange], what: str) -> str:
    """Say what is not known because these changes may or may not be with the jump, and name them.

    Args:
        rows: Changes that are neither with the jump nor apart from it.
        what: What is not known, the subject of the sentence.
    """
    if not rows:
        return ""
    reach = [row.reach for row in rows if row.reach is not None]
    why = "not placed"
    if reach:
        why = (
            f"leads neither apart from 0 nor, by the whole interval, within {max(reach):.3g} steps"
        )
    return f"{what} is not resolved, {why}{named(rows)}"


def _led(row: RankedChange) -> str:
    """Write the place of one change and its lead."""
    down = ", downwards" if row.change.size < 0 else ""
    if row.lead is None or row.lead_interval is None:
        return f"{place(row)}, not placed{down}"
    low, high = row.lead_interval
    return f"{place(row)}, lead {row.lead:.3g} [{low:.3g}, {high:.3g}]{down}"

"""The ranked table of changes, as it is written and read."""

from typing import Any

from critical_phase.analysis.charts import layer_label
from critical_phase.analysis.jumps.ranked_change import RankedChange
from critical_phase.analysis.results import Table, column


def changes_table(ranked: list[RankedChange], batch_size: int) -> Table:
    """Write the ranked rows: one line per quantity, layer and attention head."""
    rows: list[list[Any]] = []
    for at, row in enumerate(ranked):
        c = row.change
        band = row.lead_interval or (None, None)
        where = c.series.layer
        rows.append(
            [at + 1, c.series.quantity, c.series.title,
             None if where is None else layer_label(where), c.series.attention_head,
             row.verdict, c.kind, c.tau, *c.interval,
             c.tau * batch_size, c.width, c.width_text, c.before, c.after,
             c.size, c.test.share, c.test.p, row.p_adjusted, row.p_family, row.lead, *band,
             row.floor, row.reach, row.order, c.interval_kind]
        )  # fmt: skip
    columns = [
        column("rank", "rank"),
        column("quantity", "quantity", kind="text"),
        column("title", "what", kind="text"),
        column("layer", "layer", kind="text"),
        column("attention_head", "attention head"),
        column("verdict", "verdict", kind="text"),
        column("kind", "kind", kind="text"),
        column("tau_step", "tau", "step"),
        column("low", "low", "step"),
        column("high", "high", "step"),
        column("tau_examples", "tau", "examples"),
        column("width", "10-90 width", "steps"),
        column("width_text", "width, or its lower limit", "steps", kind="text"),
        column("before", "before"),
        column("after", "after"),
        column("effect", "effect"),
        column("share", "share of the range"),
        column("p", "p", kind="p"),
        column("p_adjusted", "adjusted p (FDR)", kind="p"),
        column("p_family", "family-wise p (max-T)", kind="p"),
        column("lead", "lead", "steps"),
        column("lead_low", "lead, low", "steps"),
        column("lead_high", "lead, high", "steps"),
        column("resolution", "resolution", "steps"),
        column("near", "with the jump is within", "steps"),
        column("order", "before, with or after the jump", kind="text"),
        column("interval", "interval", kind="text"),
    ]
    caption = (
        "Abrupt: adjusted p at most .05 and .25 to 1.2 of the range; with such a p and more of the"
        " range the abrupt shape does not fit (a steep line undoes what it overdoes), with less"
        " the abrupt part is small, and neither is called abrupt. Family-wise p: the chance that"
        " any row, at any of its checkpoints, looks as abrupt if all are smooth. Lead: negative"
        " moved before the accuracy jump; none where a change could not be placed. No order is"
        " claimed where it is smaller than the gap between checkpoints or its interval holds zero:"
        " such a row is with the jump if the whole interval lies within half the jump's 10-90"
        " width, or three gaps between checkpoints if that is more, and unresolved if not. A"
        " smooth row's tau is only the middle of its best sigmoid. A width after >= is the widest"
        " tried."
    )
    return Table("changes", "Every quantity tested", caption, columns, rows)

"""What `probe selftest` prints: one row per world, then what was wrong."""

from collections.abc import Sequence
from typing import Any

from critical_phase.analysis.inference.proportion import wilson_of_count
from critical_phase.analysis.planted.selftest import Share, WorldScore

COLUMNS = {
    "right": "right",
    "named": "supported",
    "false_alarm": "false alarm",
    "tau_within_one_step": "tau within 1 step",
    "coverage": "95 % interval holds tau",
    "drawn_coverage": "its draws hold tau",
    "margin_within_one_step": "margin: tau within 1 step",
    "margin_coverage": "margin: interval",
    "margin_drawn_coverage": "margin: draws",
    "located": "planted rows found",
    "stray": "still rows called abrupt",
}
"""Shares by their name in JSON, and as columns."""

NOTE = (
    "right: every verdict acceptable, and a jump exactly where there must be one; supported: the"
    " planted hypothesis itself is. [95 % Wilson interval over draws]"
)


def as_json(scores: Sequence[WorldScore]) -> dict[str, Any]:
    """Return what scripts read: null where a column does not apply to a world."""
    return {"schema_version": 1, "worlds": [_world(one) for one in scores]}


def _world(one: WorldScore) -> dict[str, Any]:
    shares: dict[str, Share] = {name: getattr(one, name) for name in COLUMNS}
    return {
        "world": one.world,
        "draws": one.draws,
        **{name: share.value for name, share in shares.items()},
        "intervals": {name: _interval(share) for name, share in shares.items()},
        "wrong": [{"what": what, "draws": count} for what, count in one.wrong],
        "false_rows": [{"row": row, "draws": count} for row, count in one.alarms],
        "missed_rows": [{"row": row, "draws": count} for row, count in one.missed],
        "verdicts": one.verdicts,
        "seconds_per_draw": round(one.seconds, 3),
    }


def _interval(share: Share) -> list[float] | None:
    return list(wilson_of_count(share.count, share.total)) if share.total else None


def lines(scores: Sequence[WorldScore]) -> list[str]:
    """Return the table as Markdown, and what was wrong below it."""
    used = [n for n in COLUMNS if any(getattr(one, n).total for one in scores)]
    found = [_row(["world", "draws", *(COLUMNS[n] for n in used)])]
    found.append("|" + "---|" * (2 + len(used)))
    found += [
        _row([one.world, str(one.draws), *(_text(getattr(one, n)) for n in used)]) for one in scores
    ]
    found += ["", NOTE]
    for one in scores:
        for title, counts in (("wrong", one.wrong), ("called abrupt", one.alarms),
                              ("not found", one.missed)):  # fmt: skip
            if counts:
                texts = ", ".join(f"{what} ({count})" for what, count in counts)
                found.append(f"{one.world}, {title}: {texts}")
    return found


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(share: Share) -> str:
    """Write a share with its interval, nothing where it does not apply."""
    if share.value is None:
        return ""
    low, high = wilson_of_count(share.count, share.total)
    return f"{share.value:.1%} [{low:.0%}, {high:.0%}]"

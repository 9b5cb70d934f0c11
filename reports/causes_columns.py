"""Columns of the tables that stand beside interventions."""

from critical_phase.reports.elements import Column


def columns(*heads: tuple[str, str, str]) -> tuple[Column, ...]:
    """Make columns without a unit of their own.

    Args:
        heads: Key, heading and kind (`text` or `number`) of each.
    """
    return tuple(Column(key, label, "", kind) for key, label, kind in heads)

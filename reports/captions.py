"""Titles and captions of figures: what is shown, in which unit, over how many questions."""

from collections.abc import Iterable, Sequence

from critical_phase.reports.elements import Curve, Map
from critical_phase.reports.style import TRIM, number, words

LINKS = {"", "of", "at", "in", "by", "the", "layer"}
"""Words a title must not end with."""

RATIOS = {"perplexity", "snr"}
"""Groups of curves whose values are compared by their ratio."""


def figure_title(titles: Sequence[str], fallback: str, head: str | None) -> str:
    """Name a figure by the words its parts share at the start, and its head."""
    parts = [title.split() for title in titles]
    common = []
    for group in zip(*parts, strict=False):
        if len(set(group)) > 1:
            break
        common.append(group[0])
    while common and common[-1].lower().strip(TRIM) in LINKS:
        common.pop()
    text = " ".join(common).strip(TRIM)
    if text.count("(") > text.count(")"):
        text = text.rsplit("(", 1)[0].strip(TRIM)
    text = text if len(text) > 2 else words(fallback)
    text = text[0].upper() + text[1:]
    return f"{text}, {head} head" if head and head not in text else text


def joined(captions: Iterable[str], limit: int = 3) -> str:
    """Put the different captions of a figure's parts one after another."""
    texts = unique(captions)
    rest = f" (And {len(texts) - limit} more, in the data table.)" if len(texts) > limit else ""
    return " ".join(texts[:limit]) + rest


def unique(texts: Iterable[str]) -> tuple[str, ...]:
    """Keep every text once, in order, without empty ones."""
    return tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))


def chart_facts(curves: Sequence[Curve]) -> str:
    """State unit, questions, interval and level lines of a chart."""
    return _facts(
        curves[0].unit,
        {curve.n for curve in curves if curve.n},
        unique(curve.interval or "" for curve in curves if curve.low is not None),
        unique(f"{label} {number(value)}" for c in curves for label, value in c.references),
        log=log_axis(curves),
    )


def log_axis(curves: Sequence[Curve]) -> bool:
    """Tell whether curves of a ratio quantity span more than a factor of ten."""
    if not all(curve.group in RATIOS for curve in curves):
        return False
    rows = [row for c in curves for row in (c.value, c.low, c.high) if row]
    seen = [v for row in rows for v in row if v is not None]
    seen += [value for c in curves for _, value in c.references]
    return bool(seen) and 0 < 10 * min(seen) < max(seen)


def map_facts(maps: Sequence[Map]) -> str:
    """State unit, questions and interval of a map figure."""
    return _facts(
        maps[0].unit,
        {item.n for item in maps if item.n},
        unique(item.interval or "" for item in maps),
        (),
    )


def _facts(
    unit: str, sizes: set[int], bands: Sequence[str], lines: Sequence[str], *, log: bool = False
) -> str:
    """State unit, n, kind of interval and level lines in one line."""
    span = str(min(sizes)) if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}" if sizes else ""
    parts = [
        f"Unit: {unit or 'none'}{', on a logarithmic axis' if log else ''}.",
        f"n = {span} questions." if span else "Not a mean over questions.",
        f"Band: {', '.join(bands)}." if bands else "No interval is given.",
        f"Level lines: {', '.join(lines)}." if lines else "",
    ]
    return " ".join(part for part in parts if part)

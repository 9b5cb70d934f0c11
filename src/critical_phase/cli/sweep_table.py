"""`table.md`: the summary of a sweep as Markdown, ready to be put beside the paper's numbers."""

import math
from collections.abc import Sequence
from typing import Any

Values = dict[str, Any]

NONE = "\u2013"
"""What stands where there is no number."""

NOT_ANALYSED = "not analysed (`analyze: true` in the sweep file)"

CLOCKS = ("steps", "examples", "summed_lr")

NAMES = {"sum": "sum of log-probabilities", "per_char": "per character (acc_norm)"}


def markdown(value: Values) -> str:
    """Write all tables of a sweep."""
    parts = [f"# {_text(value['name'])}\n", _states(value)]
    for how, title in NAMES.items():
        parts += _accuracies(value, how, title)
    for how, title in NAMES.items():
        parts += _weights(value, how, title)
    parts += _jumps(value)
    for how, title in NAMES.items():
        parts += _sizes(value, how, title)
    parts += [f"- {_text(note)}\n" for note in value["notes"]]
    return "\n".join(parts)


def _states(value: Values) -> str:
    cells = value["cells"]
    lines = []
    for state in ("finished", "failed", "missing"):
        names = [cell["name"] for cell in cells if cell["state"] == state]
        if names and state != "finished":
            lines.append(f"**{state}:** {', '.join(map(_text, names))}")
    count = sum(cell["state"] == "finished" for cell in cells)
    lines.insert(0, f"{count} of {len(cells)} cells are finished.")
    lines.append(
        "Mean ± standard error over seeds (the number of seeds in brackets); a dash: undefined or "
        "not made. A tie at the top counts as the chance of hitting the right answer in it, "
        "never as right."
    )
    return "\n\n".join(lines) + "\n"


def _accuracies(value: Values, how: str, title: str) -> list[str]:
    """Show every mode and kind at the numbers of examples that exist, with weight 1."""
    curves = [c for c in value["curves"] if c["normalisation"] == how]
    base = [c for c in curves if c["mode"] == "base"]
    followed = [c for c in curves if c["mode"] != "base"]
    seen = {count for curve in followed for count in curve["examples"]}
    shown = [count for count in value["milestones"] if count in seen]
    lasts = {curve["examples"][-1] for curve in followed}
    shown += sorted(lasts - set(shown))
    lines = [f"## Accuracy by examples, {title}\n"]
    lines += [
        f"base, {_text(c['group'])}: {_number(c['mean'][0])}; chance: {_number(c['chance'])}; "
        f"{c['questions']} questions\n"
        for c in base
    ]
    if not followed:
        return lines
    lines.append("Chosen numbers of examples, weight 1; every saved step is in sweep.csv.\n")
    rows = [[c["mode"], c["group"], str(c["seeds"]), *_at(c, shown)] for c in followed]
    head = ["mode", "cell", "seeds", *(f"{count}" for count in shown)]
    return [*lines, _table(head, rows)]


def _at(curve: Values, shown: Sequence[int]) -> list[str]:
    """Write the values of a curve at the last step of each number of examples."""
    places = {count: at for at, count in enumerate(curve["examples"])}
    return [
        NONE if (at := places.get(count)) is None
        else _pair(curve["mean"][at], curve["standard_error"][at])
        for count in shown
    ]  # fmt: skip


def _weights(value: Values, how: str, title: str) -> list[str]:
    found = [w for w in value["weights"] if w["normalisation"] == how and w["examples"] >= 64]
    if not found:
        return []
    head = ["mode", "cell", "examples", *(f"w={weight:g}" for weight in found[0]["weights"])]
    rows = [[w["mode"], w["group"], str(w["examples"]), *map(_number, w["mean"])] for w in found]
    return [f"## Accuracy by weight of the subtracted head, {title}\n", _table(head, rows)]


def _jumps(value: Values) -> list[str]:
    analysed = any(cell["found"] is not None for cell in value["cells"])
    rows = [
        _jump_row(cell, jump, analysed)
        for cell in value["cells"]
        for jump in cell["jumps"]
        if jump["mode"] != "pos_base" and jump["normalisation"] == "sum"
    ]
    if not rows:
        return []
    means = [
        [
            jump["group"], jump["mode"], f"{jump['found']} of {jump['seeds']}",
            str(jump["still_rising"]),
            *(_place(jump, clock) for clock in CLOCKS),
        ]
        for jump in value["jumps"]
        if jump["normalisation"] == "sum"
    ]  # fmt: skip
    mean_head = ["cell", "mode", "seeds with one", "still rising", "steps", "examples", "summed lr"]
    head = [
        "cell", "mode", "half-rise, steps", "half-rise, examples", "half-rise, summed lr",
        "at the last step", "rise", *(["tau, steps"] if analysed else []),
    ]  # fmt: skip
    tau = "from the analysis of the cell, of the mode it chose" if analysed else NOT_ANALYSED
    about = (
        "Half-rise: where accuracy (sum) has risen half-way to its end, with its 95 % question "
        "bootstrap, given that it rises (resamples without a rise are left out); a dash: no rise "
        "with an interval above zero. Still rising: more than a tenth of the rise is made in the "
        "last quarter of the steps; the half-rise would come later had the run gone on. "
        f"Tau: {tau}.\n"
    )
    return [
        "## Where accuracy jumps\n",
        about,
        "Mean ± standard error over the seeds that have a half-rise:\n",
        _table(mean_head, means),
        "Every cell:\n",
        _table(head, rows),
    ]


def _jump_row(cell: Values, jump: Values, analysed: bool) -> list[str]:
    found = (cell["found"] or {}).get("jump") or {}
    tau = _number(found.get("tau_step")) if found.get("mode") == jump["mode"] else NONE
    none = jump["half_rise_steps"] is None
    return [
        cell["name"], jump["mode"], *(_interval(jump, clock) for clock in CLOCKS),
        NONE if none else "still rising" if jump["still_rising"] else "level",
        _number(jump["rise"]), *([tau] if analysed else []),
    ]  # fmt: skip


def _place(jump: Values, clock: str) -> str:
    mean, error = jump.get(clock), jump.get(f"{clock}_standard_error")
    if mean is None:
        return NONE
    digits = _decimals(mean)
    return f"{mean:.{digits}f}" if error is None else f"{mean:.{digits}f} ± {error:.{digits}f}"


def _interval(jump: Values, clock: str) -> str:
    middle = jump[f"half_rise_{clock}"]
    if middle is None:
        return NONE
    low, high = jump[f"low_{clock}"], jump[f"high_{clock}"]
    digits = _decimals(middle)
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _decimals(value: float) -> int:
    """Count the decimals of three digits, for a number and its error alike; one at least."""
    return max(1, 2 - math.floor(math.log10(abs(value)))) if value else 3


def _sizes(value: Values, how: str, title: str) -> list[str]:
    found = [s for s in value["sizes"] if s["normalisation"] == how]
    if not found:
        return []
    ends = [s for s in found if s["kind"] == "cross-sectional"]
    shown = sorted({count for series in ends for count in series["examples"]})
    rows = [[s["mode"], s["kind"], s["label"], str(s["seeds"]), *_at(s, shown)] for s in found]
    head = ["mode", "curve", "runs", "seeds", *(f"{count}" for count in shown)]
    return [f"## Checkpoints of one run against one run per size, {title}\n", _table(head, rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(map(_text, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _pair(mean: float | None, error: float | None) -> str:
    if mean is None:
        return NONE
    return f"{mean:.3f}" if error is None else f"{mean:.3f} ± {error:.3f}"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _text(value: object) -> str:
    """Keep a text inside its cell."""
    return " ".join(str(value).split()).replace("|", "\\|")

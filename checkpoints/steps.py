"""One grammar for choosing training steps, to save them and to read them.

Values are training steps, ranges are inclusive, comma-separated parts are united.
"""

import re
from collections.abc import Sequence

import numpy as np

from critical_phase.errors import ConfigError

_RANGE = re.compile(r"(\d*)(?:-|:)(\d*)(?::(\d+))?")
_SLICE = re.compile(r"@(-?\d*):(-?\d*)(?::(-?\d*))?")


def select_steps(expression: str, saved: Sequence[int]) -> tuple[int, ...]:
    """Choose among saved steps.

    Args:
        expression: `all`, `first,last`, `128`, `64-256`, `0:4096:512`, `3968:`,
            `every:64`, `log`, `log:8`, `@::16` (a slice over saved steps), or
            several of them joined by commas.
        saved: Steps that exist.

    Raises:
        ConfigError: The text cannot be read, names a step that is not saved, or
            selects nothing.
    """
    steps = sorted(set(saved))
    if not steps:
        raise ConfigError(
            "there is no saved checkpoint to choose from", fix="probe train RUN saves them"
        )
    chosen: set[int] = set()
    for part in expression.split(","):
        chosen |= _part(part.strip(), steps)
    return tuple(sorted(chosen))


def schedule_steps(expression: str, last: int) -> tuple[int, ...]:
    """Choose the steps to save of a training run of `last` steps; the ends always belong.

    Raises:
        ConfigError: The text cannot be read or names a step beyond the end.
    """
    return tuple(sorted({0, last} | set(select_steps(expression, range(last + 1)))))


def _part(text: str, steps: list[int]) -> set[int]:
    if text == "all":
        return set(steps)
    if text in ("first", "last"):
        return {steps[0 if text == "first" else -1]}
    if text.isdecimal():
        return {_exact(int(text), steps)}
    if text.startswith("every:") and text[6:].isdecimal() and int(text[6:]):
        return _nonempty({s for s in steps if s % int(text[6:]) == 0}, text, steps)
    if text == "log" or (text.startswith("log:") and text[4:].isdecimal() and int(text[4:])):
        return _logarithmic(steps, int(text[4:]) if text != "log" else None)
    if match := _SLICE.fullmatch(text):
        return _nonempty(_sliced(match, steps), text, steps)
    if (match := _RANGE.fullmatch(text)) and text not in ("-", ":"):
        return _nonempty(_ranged(match, steps), text, steps)
    raise ConfigError(
        f"cannot read the steps {text!r}",
        fix="write all, 128, 64-256, every:64, log:8 or @-5:, several joined by commas",
    )


def _exact(step: int, steps: list[int]) -> int:
    if step in steps:
        return step
    nearest = sorted(sorted(steps, key=lambda s: (abs(s - step), s))[:3])
    listed = ", ".join(str(s) for s in nearest)
    raise ConfigError(f"no checkpoint at step {step}; nearest: {listed}", fix=_choose(steps))


def _ranged(match: re.Match[str], steps: list[int]) -> set[int]:
    low = int(match[1] or steps[0])
    high = int(match[2] or steps[-1])
    stride = int(match[3] or 1)
    if stride == 0:
        return set()
    return {s for s in steps if low <= s <= high and (s - low) % stride == 0}


def _sliced(match: re.Match[str], steps: list[int]) -> set[int]:
    start, stop, stride = (int(value) if value else None for value in match.groups())
    if stride == 0:
        return set()
    return set(steps[start:stop:stride])


def _logarithmic(steps: list[int], count: int | None) -> set[int]:
    """Take the saved steps nearest to log-spaced targets, and both ends."""
    positive = [s for s in steps if s > 0]
    if not positive:
        return {steps[0]}
    if count is None:
        targets = [2.0**k for k in range(positive[-1].bit_length() + 1)]
        targets = [t for t in targets if positive[0] <= t <= positive[-1]]
    else:
        targets = list(np.geomspace(positive[0], positive[-1], count))
    nearest = {min(positive, key=lambda s: (abs(s - target), s)) for target in targets}
    return nearest | {steps[0], steps[-1]}


def _nonempty(chosen: set[int], text: str, steps: list[int]) -> set[int]:
    if chosen:
        return chosen
    raise ConfigError(f"{text!r} selects no checkpoint", fix=_choose(steps))


def _choose(steps: list[int]) -> str:
    if len(steps) == 1:
        return f"choose step {steps[0]}, the only one"
    return f"choose among the {len(steps)} steps from {steps[0]} to {steps[-1]}"

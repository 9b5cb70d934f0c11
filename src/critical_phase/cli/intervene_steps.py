"""Between which two models interventions are made: the sides of the jump, or what is asked for."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critical_phase.cli.run_folder import RunFolder
from critical_phase.errors import ConfigError, StoreError

_END = re.compile(r"(?:(positive|negative)@)?(\d+)")


@dataclass(frozen=True, slots=True)
class Ends:
    """The early and the late model, each one head at one step."""

    early: tuple[str, int]
    late: tuple[str, int]
    why: str
    """How they were chosen, in one sentence."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says of the ends; None leaves it to the findings."""

    early: str | None = None
    late: str | None = None


def choose_ends(run: RunFolder, head: str, mode: str, saved: Sequence[int], asked: Asked) -> Ends:
    """Take the last saved step before the jump and the first one after it.

    Before and after mean outside both the interval of the jump's place and its 10-90 width, so
    that neither end lies on the slope.

    Args:
        run: Analysed, unless both ends are asked for.
        head: The head that interventions act on.
        mode: Whose jump is meant.
        saved: Steps of that head, ascending.
        asked: What was said on the command line.

    Raises:
        ConfigError: There is no jump and no steps were given, or a step is not saved.
        InputError: The run is not analysed and no steps were given.
    """
    given = [None if text is None else _parse(text, head) for text in (asked.early, asked.late)]
    if given[0] is not None and given[1] is not None:
        return Ends(given[0], given[1], "asked for")
    jump = _jump(run, mode)
    early = given[0] or (head, _before(saved, jump))
    late = given[1] or (head, _after(saved, jump))
    why = (
        f"the last saved step before and the first after the jump of {mode} at step"
        f" {jump['tau_step']:.3g}, outside its interval and its 10-90 width"
    )
    parts = [name for name, one in zip(("--from", "--to"), given, strict=True) if one is not None]
    return Ends(early, late, f"{why}; {parts[0]} asked for" if parts else why)


def findings_of(run: RunFolder) -> dict[str, Any] | None:
    """Read analysis/findings.json; None where the run is not analysed.

    Raises:
        StoreError: The file is damaged.
    """
    path = run.analysis / "findings.json"
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"cannot read the findings: {error}", where=str(path), fix=f"probe analyze {run.path}"
        ) from error
    return found


def _parse(text: str, head: str) -> tuple[str, int]:
    found = _END.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"cannot read the step {text!r}", fix="such as 26, or positive@26")
    return found[1] or head, int(found[2])


def _jump(run: RunFolder, mode: str) -> dict[str, Any]:
    found = findings_of(run)
    fix = f"probe analyze {run.path}, or give --from and --to"
    if found is None:
        raise ConfigError("the run is not analysed, so where it jumps is not known", fix=fix)
    jump = found.get("jump")
    if jump is None:
        raise ConfigError(
            "the run has no abrupt change, so there is nothing to cut at",
            where=str(run.analysis / "findings.json"),
            fix="give --from and --to to intervene between two steps all the same",
        )
    if jump["mode"] != mode:
        raise ConfigError(
            f"the jump was found in {jump['mode']}, and {mode} is asked for",
            fix="leave --mode out, or give --from and --to",
        )
    batch = found["provenance"]["batch_size"]
    low, high = (edge / batch for edge in jump["interval_examples"])
    half = jump["width_steps"] / 2
    return {
        "tau_step": jump["tau_step"],
        "low": min(low, jump["tau_step"] - half),
        "high": max(high, jump["tau_step"] + half),
    }


def _before(saved: Sequence[int], jump: dict[str, Any]) -> int:
    found = [step for step in saved if step <= jump["low"]]
    if not found:
        raise ConfigError(
            f"no checkpoint is saved before the jump (step {jump['low']:.3g})", fix="give --from"
        )
    return max(found)


def _after(saved: Sequence[int], jump: dict[str, Any]) -> int:
    found = [step for step in saved if step >= jump["high"]]
    if not found:
        raise ConfigError(
            f"no checkpoint is saved after the jump (step {jump['high']:.3g})", fix="give --to"
        )
    return min(found)

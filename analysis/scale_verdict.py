"""H1: has the change its direction early, and only grows?"""

import numpy as np

from .collapses import Collapse
from .hypotheses import Case, Kind, Verdict
from .noise_verdict import floor_of
from .series_change import SeriesChange
from .thresholds import ALIKE, CLEAR, LEVEL

NEED = "scale an early checkpoint and compare with a late one"


def growth(case: Case) -> Verdict:
    """Decide from an early score change at the size of the late one.

    Excluded where no size makes the early change as good as the late one, or where accuracy of
    the direction alone is abrupt; both need changes far above noise. Supported where the early
    change at the late one's size is as good under every weight and points the same way.
    """
    result = case.results.get("collapse")
    found: Collapse | None = (result.facts if result else {}).get("collapse", {}).get(case.head)
    turned, effect, texts = _direction(case)
    if found is None:
        kind: Kind = "excluded" if turned else "not separable" if texts else "not tested"
        change = None if effect is None else effect.size_interval
        return _verdict(case, kind, effect, change, (*texts, *(() if turned else (NEED,))))
    alone = found.pairs[-1]
    low, high = found.agreement_interval
    said = (
        f"the change of step {found.early}, made as large as that of step {found.late}, gives"
        f" {alone.matched:.2f} where the late one gives {alone.late:.2f} (late minus early"
        f" [{alone.deficit[0]:.2f}, {alone.deficit[1]:.2f}]; best size"
        f" [{alone.deficit_best[0]:.2f}, {alone.deficit_best[1]:.2f}]); agreement"
        f" {found.agreement:.2f} [{low:.2f}, {high:.2f}]"
    )
    clear = found.snr >= CLEAR
    if (alone.fails and clear) or turned:
        kind = "excluded"
    elif all(pair.holds for pair in found.pairs) and low >= ALIKE:
        kind = "supported"
    else:
        kind = "not separable"
    above = () if clear else ("the early change is not known to be far above the noise of scoring",)
    return _verdict(case, kind, effect, alone.deficit, (said, *texts, *above))


def _verdict(
    case: Case,
    kind: Kind,
    effect: SeriesChange | None,
    interval: tuple[float, float] | None,
    texts: tuple[str, ...],
) -> Verdict:
    p = None if effect is None else case.adjusted(effect.series.quantity)
    size = None if effect is None else effect.size
    if interval is not None and size is not None and not interval[0] <= size <= interval[1]:
        interval = effect.size_interval if effect is not None else None
    return Verdict("H1", kind, size, interval, p, texts)


def _direction(case: Case) -> tuple[bool, SeriesChange | None, tuple[str, ...]]:
    """Test the accuracy of the direction alone: base minus the negative head at w = 1."""
    change = case.results["change_points"].facts["changes"].get("accuracy.base_likra")
    series = case.results["curves"].facts["direction"]
    direction = next((s for s in series if s.head == "negative"), None)
    if direction is None or change is None or case.settings.weight != 1.0:
        return False, None, ()
    size, p = change.size_interval, case.adjusted(change.series.quantity)
    clear, above = _above_noise(case, change.tau)
    band = "" if size is None else f" [{size[0]:.2f}, {size[1]:.2f}]"
    texts = (
        f"accuracy of the direction alone changes by {change.size:.2f}{band} (abruptness, adjusted"
        f" p = {'unknown' if p is None else f'{p:.3g}'}); a change of scale keeps it flat",
        above,
    )
    abrupt = change.test.found and p is not None and p <= LEVEL
    return abrupt and size is not None and size[0] > 0 and clear, change, texts


def _above_noise(case: Case, tau: float) -> tuple[bool, str]:
    """Say whether score changes are far above rounding always, and above jitter at a step."""
    floor = floor_of(case)
    if floor is None:
        return False, "no trained checkpoint"
    trained = floor.steps > 0
    rounding = float(np.min(floor.ratio[trained]))
    at = int(np.argmin(np.abs(floor.steps[trained] - tau)))
    jitter = float(floor.jitter_ratio[trained][at])
    text = (
        f"score changes are at least {rounding:.3g} times float32 rounding, and at the jump"
        f" {jitter:.3g} times what differs anew between checkpoints ({CLEAR:.0f} is asked of both);"
        " the noise of scoring itself is H0b"
    )
    return rounding >= CLEAR and jitter >= CLEAR, text

"""H1: has the change its direction early, and only grows?"""

import numpy as np

from critical_phase.analysis.judging.hypotheses import Case, Kind, Verdict
from critical_phase.analysis.judging.noise_verdict import floor_of
from critical_phase.analysis.judging.thresholds import ALIKE, CLEAR, LEVEL
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.scores.collapses import Collapse

NEED = "scale an early checkpoint and compare with a late one"


def growth(case: Case) -> Verdict:
    """Decide from an early score change at the size of the late one.

    Excluded where no size makes the early change as good as the late one, or where accuracy of
    the direction alone is abrupt; both need an early change that a second scoring shows to be
    far above noise. Supported where the early change of every head of the mode, at the size of
    the late one, is as good under every weight and points the same way.
    """
    result = case.results.get("collapse")
    every: dict[str, Collapse] = (result.facts if result else {}).get("collapse", {})
    found = every.get(case.head)
    turned, effect, texts = _direction(case)
    p = None if effect is None else case.adjusted(effect.series.quantity)
    if found is None:
        kind: Kind = "not separable" if texts else "not tested"
        more = (*texts, NEED)
        if effect is None:
            return Verdict("H1", kind, None, None, None, more)
        return Verdict(
            "H1", kind, effect.size, effect.size_interval, p, more,
            "change of the accuracy of the direction alone", "share of questions",
            "" if p is None else effect.series.title,
        )  # fmt: skip
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
    others = [every.get(head) for head in case.parts]
    if (alone.fails or turned) and clear:
        kind = "excluded"
    elif all(one is not None and _grows(one) for one in others):
        kind = "supported"
    else:
        kind = "not separable"
    lacks = alone.late - alone.matched
    return Verdict(
        "H1", kind, lacks, alone.deficit, None, (f"{said}; {_weighed(found)}", *texts),
        f"accuracy that the change of step {found.early} lacks at the size of step {found.late}",
        "share of questions",
    )  # fmt: skip


def _weighed(found: Collapse) -> str:
    """Say what the scaled early change decides, and whether its noise lets it."""
    if not found.snr >= CLEAR:
        return (
            "the early change is not known to be far above the noise of scoring, so it decides"
            " nothing against H1"
        )
    noise = f"the early change is {found.snr:.3g} times the noise of a second scoring"
    if found.pairs[-1].fails:
        return f"this excludes H1: no size makes it as good, and {noise} ({CLEAR:.0f} is asked)"
    return f"{noise} ({CLEAR:.0f} is asked), and a size makes it as good, or nearly"


def _grows(found: Collapse) -> bool:
    """Say whether the early change, scaled, is the late one under every weight."""
    alike = found.agreement_interval[0] >= ALIKE
    return alike and all(pair.holds for pair in found.pairs)


def _direction(case: Case) -> tuple[bool, SeriesChange | None, tuple[str, ...]]:
    """Test the accuracy of the direction alone: base minus the negative head at w = 1."""
    change = case.results["change_points"].facts["changes"].get("accuracy.base_likra")
    series = case.results["curves"].facts["direction"]
    direction = next((s for s in series if s.head == "negative"), None)
    if direction is None or change is None or case.settings.weight != 1.0:
        return False, None, ()
    size, p = change.size_interval, case.adjusted(change.series.quantity)
    clear, above = _above_noise(case, change.tau - change.width / 2)
    band = "" if size is None else f" [{size[0]:.2f}, {size[1]:.2f}]"
    abrupt = change.test.found and p is not None and p <= LEVEL
    fires = abrupt and size is not None and size[0] > 0 and clear
    said = "it is, and speaks against H1" if fires else "it is not, so this test says nothing"
    texts = (
        "a second test: accuracy of the direction alone, which a change of scale keeps flat,"
        f" changes by {change.size:.2f}{band} (abruptness, adjusted p ="
        f" {'unknown' if p is None else f'{p:.3g}'}); {above}; to count, it must be an abrupt rise"
        f" far above noise: {said}",
    )
    return fires, change, texts


def _above_noise(case: Case, begins: float) -> tuple[bool, str]:
    """Say whether score changes are far above rounding, and above jitter before a step."""
    floor = floor_of(case)
    if floor is None:
        return False, "no trained checkpoint"
    trained = floor.steps > 0
    before = trained & (floor.steps < begins)
    if not before.any():
        return False, "no trained checkpoint before the change"
    rounding = float(np.min(floor.ratio[trained]))
    jitter = float(np.min(floor.jitter_ratio[before]))
    text = (
        f"score changes are at least {rounding:.3g} times float32 rounding, and before the jump"
        f" {jitter:.3g} times what differs anew between checkpoints ({CLEAR:.0f} would be needed"
        " of both; the noise of scoring itself is H0b)"
    )
    return rounding >= CLEAR and jitter >= CLEAR, text

"""Verdicts on mechanisms: constant vector, knowing and saying, rerouting, many switches."""

import numpy as np

from .bootstrap import interval
from .crossing import crossings
from .hypotheses import Case, Kind, Verdict
from .probe_transfer import Transfer

CEILING = 0.9
"""Top-1 at the base above which a flat probe may only have no room to rise."""


def constant(case: Case) -> Verdict:
    """H4: is most of the movement one vector common to all questions?"""
    rows = [r for r in case.ranked if r.change.series.quantity == f"constant_shift.{case.head}"]
    if not rows:
        return Verdict("H4", "not tested", None, None, None, ("no hidden states",))
    weights = case.results["changes"].facts["weights"]
    last = [r.change.series for r in rows if r.change.series.per_question is not None]
    bands = [interval(weights @ s.per_question[-1]) for s in last if s.per_question is not None]
    at = int(np.argmax([s.value[-1] for s in last]))
    effect, band = float(last[at].value[-1]), (float(bands[at][0]), float(bands[at][1]))
    abrupt = sum(r.abrupt for r in rows)
    texts = (
        f"largest constant-shift fraction at the end {effect:.2f} [{band[0]:.2f}, {band[1]:.2f}]"
        f" over {len(rows)} layers; abrupt in {abrupt}",
        "replace the adapters by the mean shift of other questions to see what it carries",
    )
    p = min(r.p_adjusted for r in rows)
    return Verdict("H4", "not separable", effect, band, p, texts)


def knowing(case: Case) -> tuple[Verdict, Verdict]:
    """H5 and H6: did the probe already know, or does it learn with the margin?"""
    need = "erase the base direction, and graft late layers, to separate reading from forming"
    result = case.results.get("linear_probes")
    moved: list[Transfer] = result.facts.get("transfer", []) if result is not None else []
    found = next((one for one in moved if one.head == case.head), None)
    if found is None:
        empty = [Verdict(h, "not tested", None, None, None, ("no probes",)) for h in ("H5", "H6")]
        return empty[0], empty[1]
    low, high = found.rise_interval
    rows = [r for r in case.ranked if r.change.series.quantity == f"probe_top1.{case.head}"]
    p = min((r.p_adjusted for r in rows), default=None)
    loss = found.loss_interval
    texts = (
        f"probe top-1 {found.base:.2f} at the base and {found.last:.2f} at the end (layer"
        f" {found.layer}), rise {found.rise:.2f} [{low:.2f}, {high:.2f}]",
        f"the base's own probe reaches {found.moved:.2f} at the end",
    )
    learned = low > 0.05 and any(r.abrupt for r in rows) and loss[0] > 0
    says = ("the probe learns with the jump and the base's own falls behind: against H5",)
    flat = high < 0.05 and not any(r.abrupt for r in rows)
    reads, limit = _sensitive(case, found)
    new: Kind = "excluded" if flat and reads else "not separable"
    band = (low, high)
    return (
        Verdict(
            "H5", "not separable", found.rise, band, p, (*texts, *(says if learned else ()), need)
        ),
        Verdict(
            "H6", new, found.rise, band, p, (*texts, limit, *(() if flat and reads else (need,)))
        ),
    )


def _sensitive(case: Case, found: Transfer) -> tuple[bool, str]:
    """Say whether the probe reads anything and has room to rise, so that flat means flat."""
    table = next(t for t in case.results["linear_probes"].tables if t.id == "probes")
    keys = [one["key"] for one in table.columns]
    head, best = keys.index("head"), keys.index("p_best")
    p = min((float(row[best]) for row in table.rows if row[head] == found.head), default=1.0)
    if not p < 0.05:
        return False, f"the probe reads nothing here (p of the best layer and step {p:.3g})"
    if found.base > CEILING:
        return False, f"the probe is at its ceiling already at the base ({found.base:.2f})"
    return True, f"the probe does read the answer (p of the best layer and step {p:.3g})"


def rerouting(case: Case) -> Verdict:
    """H7: does attention jump in a few heads?"""
    rows = [r for r in case.ranked if r.change.series.quantity == f"attention_js.{case.head}"]
    if not rows:
        return Verdict("H7", "not tested", None, None, None, ("no attention",))
    abrupt = [r for r in rows if r.abrupt]
    largest = max(float(r.change.series.value[-1]) for r in rows)
    texts = (
        f"{len(abrupt)} of {len(rows)} attention heads change abruptly; largest drift at the"
        f" last step {largest:.3g} nats",
        "freeze attention at its early patterns to see whether the gain stays",
    )
    p = min(r.p_adjusted for r in rows)
    return Verdict("H7", "not separable", largest, None, p, texts)


def heterogeneity(case: Case) -> Verdict:
    """H9: do questions cross at one time or at many?"""
    if case.margin is None or case.margin.series.per_question is None:
        return Verdict("H9", "not tested", None, None, None, ("no margins",))
    steps = case.margin.series.steps
    rng = np.random.default_rng([case.settings.seed, 4])
    found = crossings(case.margin.series.per_question, steps, rng)
    if found is None:
        return Verdict("H9", "not tested", None, None, None, ("fewer than 10 questions cross",))
    share = found.spread_interval[1] / float(steps[-1] - steps[0])
    text = (
        f"{found.count} questions cross, 10-90 range {found.spread:.3g} steps"
        f" [{found.spread_interval[0]:.3g}, {found.spread_interval[1]:.3g}]"
    )
    more = "repeat with other seeds and data orders to see whether questions keep their times"
    kind: Kind = "excluded" if share < 0.1 else "not separable"
    evidence = (text,) if kind == "excluded" else (text, more)
    return Verdict("H9", kind, found.spread, found.spread_interval, None, evidence)

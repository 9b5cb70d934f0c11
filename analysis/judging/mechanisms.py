"""Verdicts on mechanisms: constant vector, knowing and saying, rerouting, many switches."""

from collections.abc import Sequence

import numpy as np

from critical_phase.analysis.charts import layer_label
from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.judging.causal_evidence import Intervention, Plan, of_jump, of_plan
from critical_phase.analysis.judging.hypotheses import Case, Kind, Verdict
from critical_phase.analysis.judging.thresholds import (
    ALIKE,
    CARRIES,
    CEILING,
    FAILS,
    FEW,
    FLAT,
    LEVEL,
    REPLACES,
    SWITCHES,
    TIGHT,
    WIDE,
)
from critical_phase.analysis.jumps.ranked_change import RankedChange
from critical_phase.analysis.probing.probe_transfer import Transfer
from critical_phase.analysis.scores.crossing import crossings
from critical_phase.analysis.telling.lead_words import named, place, unresolved


def constant(case: Case) -> Verdict:
    """H4: is most of the movement one vector common to all questions, and does it carry?"""
    rows = [r for r in case.ranked if r.change.series.quantity == f"constant_shift.{case.head}"]
    if not rows:
        return Verdict("H4", "not tested", None, None, None, ("no hidden states",))
    weights = case.results["changes"].facts["weights"]
    last = [r.change.series for r in rows if r.change.series.per_question is not None]
    bands = [interval(weights @ s.per_question[-1]) for s in last if s.per_question is not None]
    at = int(np.argmax([s.value[-1] for s in last]))
    effect, band = float(last[at].value[-1]), (float(bands[at][0]), float(bands[at][1]))
    abrupt, alike = sum(map(case.at_jump, rows)), _arranged_as_before(case)
    unsure = [r for r in rows if case.maybe_at_jump(r)]
    open_text = unresolved(unsure, f"; for {len(unsure)} more that")
    text = (
        f"largest constant-shift fraction at the end {effect:.2f} [{band[0]:.2f}, {band[1]:.2f}]"
        f" over {len(rows)} layers; jumps with accuracy in {abrupt} of them"
        f"{open_text}; least CKA within questions {alike:.2f}"
    )
    need = "replace the adapters by the mean shift of other questions to see what it carries"
    made, said = _made(case, "constant_vector", need)
    kind: Kind = "not separable"
    if _fails(made):
        kind = "excluded"
    elif abrupt and alike >= ALIKE and _carries(made) and min(x.share for x in made) >= REPLACES:
        kind = "supported"
    own = next(r for r in rows if r.change.series is last[at])
    layer = layer_label(own.change.series.layer or 0)
    name = f"constant-shift fraction at the last step, layer {layer}"
    return Verdict(
        "H4", kind, effect, band, own.p_adjusted, (text, said), name, "share of the movement",
        own.change.series.title,
    )  # fmt: skip


def _made(case: Case, plan: Plan, need: str) -> tuple[tuple[Intervention, ...], str]:
    """Return the interventions of a plan and what they found, or which one is needed."""
    every = of_plan(case.arrays.interventions, plan)
    tau = None if case.jump is None else case.jump.tau
    made = of_jump(every, case.head, case.primary, tau)
    said, left = "; ".join(one.text for one in made) or need, len(every) - len(made)
    if left:
        said += f" ({left} of another head, mode or pair of checkpoints left out)"
    return made, said


def _carries(made: tuple[Intervention, ...]) -> bool:
    """Say whether every intervention brings, or takes, most of the change and its control not.

    The best of many would be chosen on the questions that judge it.
    """
    return bool(made) and all(x.interval[0] > CARRIES and x.beats_control for x in made)


def _fails(made: tuple[Intervention, ...]) -> bool:
    """Say whether every intervention did next to nothing."""
    return bool(made) and all(one.interval[1] < FAILS for one in made)


def _arranged_as_before(case: Case) -> float:
    """Return the least CKA within questions between base and last step over layers."""
    result = case.results.get("similarity")
    name = f"cka_base.{case.head}"
    last = [s.value[-1] for s in (result.series if result else ()) if s.quantity == name]
    known = [float(value) for value in last if np.isfinite(value)]
    return min(known, default=float("nan"))


def knowing(case: Case) -> tuple[Verdict, Verdict]:
    """H5 and H6: did the probe already know, or does it learn with the margin?"""
    result = case.results.get("linear_probes")
    moved: list[Transfer] = result.facts.get("transfer", []) if result is not None else []
    found = next((one for one in moved if one.head == case.head), None)
    if found is None:
        empty = [Verdict(h, "not tested", None, None, None, ("no probes",)) for h in ("H5", "H6")]
        return empty[0], empty[1]
    rows = [r for r in case.ranked if r.change.series.quantity == f"probe_top1.{case.head}"]
    own = next((r for r in rows if r.change.series.layer == found.layer), None)
    p, whose = (None, "") if own is None else (own.p_adjusted, own.change.series.title)
    name = f"rise of the probe's top-1 from base to end, layer {layer_label(found.layer)}"
    more = (name, "share of questions", whose)
    jumps = any(case.at_jump(r) and r.change.series.layer == found.layer for r in rows)
    still = bool(rows) and not any(r.abrupt for r in rows) and not _rises_anywhere(case)
    (low, high), (lost, most) = found.rise_interval, found.loss_interval
    texts: tuple[str, ...] = (
        f"probe top-1 {found.base:.2f} at the base and {found.last:.2f} at the end (layer"
        f" {found.layer}), rise {found.rise:.2f} [{low:.2f}, {high:.2f}]",
        f"the base's own probe reaches {found.moved:.2f} at the end; one trained there is better"
        f" by [{lost:.2f}, {most:.2f}]",
        f"right pairs of the probe rise by {found.pairs_rise:.2f}"
        f" [{found.pairs_rise_interval[0]:.2f}, {found.pairs_rise_interval[1]:.2f}]",
    )
    unsure = [r for r in rows if r.change.series.layer == found.layer and case.maybe_at_jump(r)]
    if unsure:
        texts += (unresolved(unsure, "whether the probe changes with the jump"),)
    learned = low > FLAT and jumps and lost > 0
    flat = max(high, found.pairs_rise_interval[1]) < FLAT and still
    reads, limit = _sensitive(case, found)
    old = _old_feature(case, learned=learned, knows=flat and reads and most < FLAT)
    new = _new_feature(case, learned=learned, flat=flat and reads)
    band = (low, high)
    return (
        Verdict("H5", old[0], found.rise, band, p, (*texts, *old[1]), *more),
        Verdict("H6", new[0], found.rise, band, p, (*texts, limit, *new[1]), *more),
    )


def _old_feature(case: Case, *, learned: bool, knows: bool) -> tuple[Kind, tuple[str, ...]]:
    """H5: excluded where the probe learns with the jump, supported where erasing ends the gain."""
    need = "erase the direction that the base's probe reads, to see whether the gain goes"
    made, said = _made(case, "erase_direction", need)
    if learned:
        return "excluded", ("the probe learns with the jump and the base's own falls behind",)
    if _fails(made):
        return "excluded", (said,)
    return ("supported" if knows and _carries(made) else "not separable"), (said,)


def _new_feature(case: Case, *, learned: bool, flat: bool) -> tuple[Kind, tuple[str, ...]]:
    """H6: excluded where a probe that reads stays flat, supported where the graft carries."""
    if flat:
        return "excluded", ()
    made, said = _made(case, "prefix_graft", "graft the late adapters of the first layers")
    return ("supported" if learned and _carries(made) else "not separable"), (said,)


def _rises_anywhere(case: Case) -> bool:
    """Say whether the probe of any layer rises, or whether nobody looked."""
    result = case.results.get("readout_gap")
    found = (result.facts if result else {}).get("probe_rise", {}).get(case.head)
    return found is None or found.first_layer is not None


def _sensitive(case: Case, found: Transfer) -> tuple[bool, str]:
    """Say whether the probe reads anything and has room to rise, so that flat means flat."""
    table = next(t for t in case.results["linear_probes"].tables if t.id == "probes")
    keys = [one["key"] for one in table.columns]
    head, best = keys.index("head"), keys.index("p_best")
    p = min((float(row[best]) for row in table.rows if row[head] == found.head), default=1.0)
    if not p < LEVEL:
        return False, f"the probe reads nothing here (p of the best layer and step {p:.3g})"
    if found.base > CEILING:
        return False, f"the probe is at its ceiling already at the base ({found.base:.2f})"
    return True, f"the probe does read the answer (p of the best layer and step {p:.3g})"


def rerouting(case: Case) -> Verdict:
    """H7: does attention jump in a few heads?"""
    rows = [r for r in case.ranked if r.change.series.quantity == f"attention_js.{case.head}"]
    if not rows:
        return Verdict("H7", "not tested", None, None, None, ("no attention",))
    abrupt = sorted((r for r in rows if case.at_jump(r)), key=_drift, reverse=True)
    unsure = sorted((r for r in rows if case.maybe_at_jump(r)), key=_drift, reverse=True)
    apart = [r for r in rows if r.abrupt and not case.at_jump(r) and not case.maybe_at_jump(r)]
    text = f"{len(abrupt)} of {len(rows)} attention heads jump with accuracy{named(abrupt)}"
    text += unresolved(unsure, f"; for {len(unsure)} more that")
    text += f"; others change abruptly, downwards or not with it{named(apart)}" if apart else ""
    far = max(rows, key=_drift)
    text += f"; largest drift at the last step {_drift(far):.3g} nats (head {place(far)})"
    need = "freeze attention at its early patterns to see whether the gain stays"
    frozen, kept = _made(case, "frozen_attention", need)
    graft, brought = _made(case, "pattern_graft", "graft late patterns into the early model")
    kind: Kind = "not separable"
    if _fails(frozen):
        kind = "excluded"
    elif abrupt and _few(abrupt, unsure, rows) and _carries(frozen) and _carries(graft):
        kind = "supported"
    texts = (text, kept, brought)
    if not abrupt:
        return Verdict("H7", kind, None, None, None, texts)
    own = abrupt[0]
    name = f"drift of attention at the last step, head {place(own)}, which jumps with accuracy"
    return Verdict(
        "H7", kind, _drift(own), None, own.p_adjusted, texts, name, "nats", own.change.series.title
    )


def _few(
    there: Sequence[RankedChange], unsure: Sequence[RankedChange], rows: Sequence[RankedChange]
) -> bool:
    """Say whether attention heads at the jump are few, even if all that may be there are."""
    return len(there) + len(unsure) <= FEW * len(rows)


def _drift(row: RankedChange) -> float:
    """Return how far the attention of one head is from the base at the last step, in nats."""
    return float(row.change.series.value[-1])


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
    span = float(steps[-1] - steps[0])
    text += (
        f"; within a tenth of the series around its own crossing a margin covers {found.own:.2f}"
        f" [{found.own_interval[0]:.2f}, {found.own_interval[1]:.2f}] of its range"
    )
    places = np.searchsorted(steps, found.median + np.array([-0.5, 0.5]) * found.spread)
    few = float(np.diff(places)[0]) < TIGHT * steps.size  # on a log schedule most lie close
    kind: Kind = "excluded" if share < TIGHT and few else "not separable"
    if found.spread_interval[0] / span > WIDE and found.own_interval[0] > SWITCHES:
        kind = "supported"
    evidence = (text, more) if kind == "not separable" else (text,)
    return Verdict(
        "H9", kind, found.spread, found.spread_interval, None, evidence,
        "10-90 range of the steps at which questions cross", "steps",
    )  # fmt: skip

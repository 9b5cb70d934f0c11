"""The controls of findings: each line gives the run's number, its control's, and how they compare.

`value` is what the control shows, `run_value` what the run shows in the same unit.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.results import MeasureResult
from critical_phase.analysis.series import Series
from critical_phase.analysis.telling.words import two

Finding = dict[str, Any]


def control_findings(results: Mapping[str, MeasureResult]) -> list[Finding]:
    """List the nulls that the findings were held against.

    Args:
        results: Measures that were run; `change_points` among them.

    Returns:
        One finding per control: `control`, `sentence`, `value`, `run_value`, `relation`.
    """
    points = results["change_points"].facts
    found = [_positive_head(points), _path_length(points)]
    head = _studied(results)
    if head is not None:
        found += [_probes(results, head), _displacement(results, head), _attention(results, head)]
    return [one for one in found if one is not None]


def _line(
    control: str, said: str, relation: str, value: float | None, run_value: float | None
) -> Finding:
    """Write one control."""
    return {
        "control": control,
        "sentence": f"{said}: {relation}.",
        "value": value,
        "run_value": run_value,
        "relation": relation,
    }


def _positive_head(points: Mapping[str, Any]) -> Finding | None:
    """Hold the accuracy of the headline against that of the positive head alone."""
    mode = points["primary"]
    own: SeriesChange | None = points["changes"].get(f"accuracy.{mode}")
    other: SeriesChange | None = points["changes"].get("accuracy.sft")
    if own is None or other is None or mode == "sft":
        return None
    said = (
        f"accuracy of {mode} {two(own.before)} to {two(own.after)} (fitted levels; abruptness p ="
        f" {own.test.p:.3g}), of the positive head alone {two(other.before)} to {two(other.after)}"
        f" (p = {other.test.p:.3g})"
    )
    relation = _courses(mode, _course(own), _course(other))
    return _line("positive head alone", said, relation, other.test.p, own.test.p)


def _courses(mode: str, own: str, other: str) -> str:
    """Compare the courses of two accuracies."""
    if own == other:
        return "neither changes abruptly" if "no abrupt" in own else f"each {own}"
    return f"{mode} {own}, the positive head alone {other}"


def _course(change: SeriesChange) -> str:
    """Say in a verb whether a change is abrupt."""
    return {"abrupt": "changes abruptly", "smooth": "shows no abrupt change"}.get(
        change.test.word, f"is not called abrupt ({change.test.word})"
    )


def _path_length(points: Mapping[str, Any]) -> Finding | None:
    """Hold abruptness in steps against that with the path of the weights as time."""
    parts, values = [], []
    for kind in ("accuracy", "margin"):
        clock = points["clocks"].get(f"{kind}.{points['primary']}")
        if clock is not None:
            parts.append(f"{kind} p = {clock[0]:.3g} in steps, {clock[1]:.3g} in path length")
            values.append(clock)
    if not parts:
        return None
    change: SeriesChange | None = points["changes"].get(f"accuracy.{points['primary']}")
    steps, path = values[0][:2]
    test = points["clock_tests"].get(f"accuracy.{points['primary']}", {}).get("path length")
    there = None if test is None else test.found
    here = change is not None and change.test.found
    relation = "abruptness in path length could not be tested for the headline"
    if there is not None:
        relation = _clock_relation(here=here, there=there)
    return _line("path length as time", f"abruptness of {'; '.join(parts)}", relation, path, steps)


def _clock_relation(*, here: bool, there: bool) -> str:
    """Compare whether accuracy is abrupt on two clocks."""
    if here == there:
        return f"accuracy is abrupt on {'both' if here else 'neither'}"
    return f"accuracy is abrupt in {'steps' if here else 'path length'} only"


def _studied(results: Mapping[str, MeasureResult]) -> str | None:
    """Return the head that mechanisms are looked for in: the negative one, else any."""
    names = ("similarity", "attention", "linear_probes")
    heads = {s.head for name in names if name in results for s in results[name].series if s.head}
    return "negative" if "negative" in heads else min(heads, default=None)


def _probes(results: Mapping[str, MeasureResult], head: str) -> Finding | None:
    """Hold the best probe against permuted labels, and name chance and surface."""
    result = results.get("linear_probes")
    null = {} if result is None else result.facts.get("null", {})
    if result is None or head not in null:
        return None
    best = max(float(np.max(s.value)) for s in _of(result, f"probe_top1.{head}"))
    bound = float(np.quantile(null[head], 0.95))
    control = next((m.control for m in result.maps if m.head == head), "").rstrip(".").lower()
    beside = "; ".join(part for part in control.split("; ") if not part.startswith("95 %"))
    said = (
        f"at most {best:.3f} at any layer and step, where 95 % of permuted labels stay below"
        f" {bound:.3f}{f' ({beside})' if beside else ''}"
    )
    relation = "above its control" if best > bound else "not above its control"
    return _line(f"Probe top-1, {head} head", said, relation, bound, best)


def _displacement(results: Mapping[str, MeasureResult], head: str) -> Finding | None:
    """Hold how far states moved against how far they moved in the other head."""
    result = results.get("similarity")
    pair = _ends(result, "displacement", head)
    if pair is None:
        return None
    other, own, beside = pair
    said = (
        f"at the last step {min(own):.3g} to {max(own):.3g} over layers, in the {other} head"
        f" {min(beside):.3g} to {max(beside):.3g}"
    )
    name = f"Relative displacement, {head} head"
    return _line(name, said, _compared(own, beside, "layer"), max(beside), max(own))


def _attention(results: Mapping[str, MeasureResult], head: str) -> Finding | None:
    """Hold the drift of attention against that of the other head."""
    pair = _ends(results.get("attention"), "attention_js", head)
    if pair is None:
        return None
    other, own, beside = pair
    said = (
        f"at the last step at most {max(own):.3g} nats over attention heads, in the {other} head"
        f" {max(beside):.3g} (unchanged attention gives 0)"
    )
    name = f"Attention drift from the base, {head} head"
    return _line(name, said, _compared(own, beside, "attention head"), max(beside), max(own))


def _ends(
    result: MeasureResult | None, quantity: str, head: str
) -> tuple[str, list[float], list[float]] | None:
    """Return the other head and the last values of both, place by place, where either moved."""
    if result is None:
        return None
    names = {s.quantity.split(".", 1)[1] for s in result.series if s.quantity.startswith(quantity)}
    other = next((name for name in sorted(names) if name != head), None)
    if other is None:
        return None
    own, beside = (
        {(s.layer, s.attention_head): float(s.value[-1]) for s in _of(result, f"{quantity}.{name}")}
        for name in (head, other)
    )
    both = [place for place in own if place in beside and (own[place] or beside[place])]
    if not both:
        return None
    return other, [own[place] for place in both], [beside[place] for place in both]


def _of(result: MeasureResult, quantity: str) -> Sequence[Series]:
    """Return the series of one quantity that have values."""
    return [s for s in result.series if s.quantity == quantity and s.value.size]


def _compared(own: Sequence[float], beside: Sequence[float], place: str) -> str:
    """Say in how many places the run's number is the larger one."""
    larger = sum(one > other for one, other in zip(own, beside, strict=True))
    return f"larger than its control in {larger} of {len(own)} {place}s that moved"

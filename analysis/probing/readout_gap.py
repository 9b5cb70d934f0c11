"""Measure `readout_gap`: does the model know the answer before it says it?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.charts import curve, layer_label
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.probing.chosen_path import (
    ChosenPath,
    chosen_path,
    half_weights,
    probe_pairs,
)
from critical_phase.analysis.probing.knowing_first import (
    SMALL,
    Compared,
    ReadoutGap,
    describe,
    own_values,
)
from critical_phase.analysis.probing.linear_probes import linear_probes
from critical_phase.analysis.probing.probe_choice import Choice, confirmatory
from critical_phase.analysis.probing.probe_rise import Rise, rise
from critical_phase.analysis.probing.prober import Probe
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.scores.curves import available_modes, combine, primary_mode, top_hits
from critical_phase.analysis.scores.margin import right_pairs
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import has_residuals

ABOUT = (
    "Share of right-wrong pairs that a probe of the hidden states ranks right (what can be read)"
    " beside the share that the scores rank right (what the model says), question by question."
    " Layer and penalty were chosen on the questions with even numbers; values are of those with"
    " odd numbers, places of changes of all. A probe above the scores shows what a line could"
    " read, not that the model uses it; a probe below them shows only that one line does not."
)


def readout_gap(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compare probe and scores at the chosen layer of every head."""
    about = ("readout_gap", "Knowing and saying", ABOUT, "2503.15299; docs/methods.md, probes")
    if not has_residuals(arrays):
        return MeasureResult(*about, {}, ("no hidden states were given: not computed",))
    before = done["linear_probes"] if done and "linear_probes" in done else None
    probes = before or linear_probes(arrays, settings)
    weights = shared_weights(question_count(arrays.rows), settings)
    finder = ChangeFinder(weights, settings)
    heads = [
        one
        for head, choice in probes.facts.get("choice", {}).items()
        for one in _heads(arrays, head, choice, settings)
    ]
    surface = _surface(arrays, probes.facts.get("surface"))
    gaps = [describe(one, surface, finder, settings) for one in heads]
    keep = confirmatory(question_count(arrays.rows))
    half = half_weights(weights, keep)
    rises = {one.path.head: _rise(one, probes.series, keep, half) for one in heads}
    notes = () if heads else ("no head has scores and hidden states of one mode: not computed",)
    return MeasureResult(
        *about,
        {"draws": settings.draws, "weight": settings.weight, "small": SMALL},
        notes,
        tuple(c for one in heads for c in _curves(one, keep, half, arrays.batch_size)),
        tables=(_table(gaps, rises),) if gaps else (),
        series=_once([s for one in heads for s in (one.probe, one.gap)]),
        facts={"readout_gap": {(g.head, g.mode): g for g in gaps}, "probe_rise": rises},
    )


def _heads(
    arrays: RunArrays, head: str, choice: Choice, settings: AnalysisSettings
) -> list[Compared]:
    """Pair the probe of one head with the modes that speak for it."""
    own = "sft" if head == "positive" else "base_likra"
    primary = primary_mode(arrays.heads, settings.modes)
    have = available_modes(arrays.heads, settings.modes)
    wanted = [own, *([primary] if primary and head == "negative" and primary != own else [])]
    path = chosen_path(arrays, head, choice)
    pairs = probe_pairs(arrays, path)
    found = []
    for mode in wanted:
        if mode not in have:
            continue
        scores = combine(arrays, mode, settings.weight)
        steps, at, where = np.intersect1d(path.steps, scores.steps, return_indices=True)
        if not steps.size:
            continue
        values = scores.values[where]
        said = right_pairs(arrays.rows, values)
        said[np.isnan(top_hits(arrays.rows, values).value[:, 0])] = np.nan
        found.append(_named(path, mode, steps, pairs[at], said))
    return found


def _named(
    path: ChosenPath,
    mode: str,
    steps: Int[np.ndarray, " step"],
    probe: Float[np.ndarray, "step question"],
    said: Float[np.ndarray, "step question"],
) -> Compared:
    """Make the three series of one head and one mode."""
    head, layer = path.head, path.choice.layer
    where = f"layer {layer_label(layer)}, {head} head"
    return Compared(
        path,
        mode,
        question_series(
            f"probe_pairs.{head}", f"right pairs of the probe, {where}", "share",
            "representation", steps, probe, head=head, layer=layer,
        ),
        question_series(
            f"pairs.{mode}", f"right pairs of {mode}", "share", "accuracy", steps, said, mode=mode
        ),
        question_series(
            f"readout_gap.{head}.{mode}", f"right pairs, probe ({where}) minus {mode}", "share",
            "representation", steps, probe - said, head=head, mode=mode, layer=layer,
        ),
    )  # fmt: skip


def _surface(arrays: RunArrays, probe: Probe | None) -> Float[np.ndarray, " question"]:
    """Return right pairs of the surface features, one half where there is no such probe."""
    if probe is None:
        return np.full(question_count(arrays.rows), 0.5)
    return np.asarray(right_pairs(arrays.rows, probe.predictions[None])[0])


def _rise(
    one: Compared,
    series: Sequence[Series],
    keep: Bool[np.ndarray, " question"],
    half: Float[np.ndarray, "draw some"],
) -> Rise:
    """Compare last and first checkpoint on the questions that report."""
    layers = [s for s in series if s.quantity == f"probe_top1.{one.path.head}"]
    return rise(own_values(one.probe)[:, keep], [_some(s, keep) for s in layers], half)


def _some(series: Series, keep: Bool[np.ndarray, " question"]) -> Series:
    """Keep some questions of a series."""
    values = own_values(series)[:, keep]
    return replace(series, per_question=values, value=values.mean(axis=1))


def _once(series: Sequence[Series]) -> tuple[Series, ...]:
    """Drop series that appear twice because a head has two modes."""
    return tuple({s.quantity: s for s in series}.values())


def _curves(
    one: Compared,
    keep: Bool[np.ndarray, " question"],
    half: Float[np.ndarray, "draw some"],
    batch_size: int,
) -> list[Curve]:
    """Draw probe, scores and their difference on the questions that report."""
    head, mode = one.path.head, one.mode
    lines = ((one.probe, "probe"), (one.said, f"scores ({mode})"), (one.gap, "probe - scores"))
    made = [
        curve(
            _some(series, keep),
            half,
            batch_size,
            group=f"readout.{head}.{mode}",
            label=label,
            caption="Right pairs on the questions with odd numbers.",
            references=[{"label": "chance", "value": 0.5}],
        )
        for series, label in lines
    ]
    return [
        replace(one, id=f"readout.{head}.{mode}.{at}", head=head, mode=mode, layer=None,
                title=f"Right pairs: probe and scores, {mode}, {head} head")
        for at, one in enumerate(made)
    ]  # fmt: skip


def _table(gaps: Sequence[ReadoutGap], rises: Mapping[str, Rise]) -> Table:
    """List what is known when, head by head."""
    words = {True: "yes", False: "no", None: "not clear"}
    rows = []
    for g in gaps:
        up, lead = rises[g.head], g.lead_interval or (None, None)
        first = None if up.first_layer is None else layer_label(up.first_layer)
        rows.append(
            [g.head, layer_label(g.layer), g.mode, words[g.knows_first], g.why, g.before,
             *g.before_interval, g.lead, *lead, float(g.gap[-1]), float(g.low[-1]),
             float(g.high[-1]), up.value, *up.interval, first]
        )  # fmt: skip
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer", kind="text"),
        column("mode", "scores", kind="text"),
        column("knows_first", "knows before it says", kind="text"),
        column("why", "because", kind="text"),
        column("before", "gap before the scores change", "right pairs"),
        column("before_low", "low", "right pairs"),
        column("before_high", "high", "right pairs"),
        column("lead", "lead of the probe", "steps"),
        column("lead_low", "lead, low", "steps"),
        column("lead_high", "lead, high", "steps"),
        column("last", "gap at the end", "right pairs"),
        column("last_low", "end, low", "right pairs"),
        column("last_high", "end, high", "right pairs"),
        column("rise", "rise of the probe", "right pairs"),
        column("rise_low", "rise, low", "right pairs"),
        column("rise_high", "rise, high", "right pairs"),
        column("first_layer", "first layer that rises", kind="text"),
    ]
    caption = (
        "Yes: before the scores change the probe ranks more pairs right than they do, more than"
        " permuted labels and more than the answers' surface allow. No: it reads at the end, but"
        " the gap there is below .05, or it reads nothing there and gains more than .05 later, or"
        " it changes later. Lead: negative, the probe changed first."
        " First layer: of those whose top-1 rises in a band that holds for all layers together."
    )
    return Table("readout_gap", "Does it know before it says?", caption, columns, rows)

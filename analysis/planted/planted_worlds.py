"""The planted worlds: what is planted, what must be answered, and what must be found."""

from critical_phase.analysis.planted.planted_runs import HALF, INNER, LATE, LAYERS, ROUTED
from critical_phase.analysis.planted.planted_truth import (
    EXCLUDED,
    FALSE,
    NEITHER,
    OPEN,
    SUPPORTED,
    TRUE,
    UNTESTED,
    Place,
    PlantedWorld,
    answers,
)

from . import planted_controls as controls
from . import planted_runs as runs


def _at(quantity: str, *layers: int) -> tuple[Place, ...]:
    return tuple(Place(f"{quantity}.negative", layer) for layer in layers)


CONTROLS = ("baselines", "instability", "control_runs")
STATES = ("linear_probes", "similarity")
BELOW = tuple(
    place
    for quantity in ("displacement", "constant_shift", "cka_base", "probe_top1")
    for place in _at(quantity, -1)
)
"""Rows of the embedding, where nothing is planted."""

SWITCHED = answers(H0a=EXCLUDED | UNTESTED)
"""Where all margins switch together, a smooth margin may stay open but is not supported."""

PLANTED_WORLDS: dict[str, PlantedWorld] = {
    world.name: world
    for world in (
        PlantedWorld(
            "mirage",
            "margins drift linearly with one slope; accuracy is steep",
            runs.mirage,
            answers(H0a=SUPPORTED),
            "H0a",
            alarm="below accuracy",
        ),
        PlantedWorld(
            "scale",
            "one direction from the start, its size switches; w = .5 over an opinionated base",
            runs.scale,
            answers(H1=SUPPORTED),
            "H1",
            jump=True,
            abrupt=(Place("margin.base_likra"),),
            still=(Place("direction.negative"),),
            weight=HALF,
        ),
        PlantedWorld(
            "noise_floor",
            "one direction from the start outgrows the noise of scoring",
            runs.noise_floor,
            answers(H0b=SUPPORTED, H1=TRUE),
            "H0b",
            jump=True,
            abrupt=(Place("accuracy.base_likra"),),
        ),
        PlantedWorld(
            "schedule",
            "progress is linear in the summed learning rate, which bursts for three updates",
            runs.schedule,
            answers(H0c=OPEN, H0a=TRUE | EXCLUDED),
            "H0c",
            jump=True,
            abrupt=(Place("margin.likra"),),
        ),
        PlantedWorld(
            "constant_vector",
            "one vector is added to all states of the inner layers",
            runs.constant_vector,
            SWITCHED | answers(H4=SUPPORTED),
            "H4",
            jump=True,
            abrupt=(Place("margin.base_likra"), *_at("constant_shift", *INNER)),
            still=(*_at("probe_top1", *LAYERS), *BELOW[:-1]),
            measures=STATES,
        ),
        PlantedWorld(
            "new_feature",
            "a label direction appears from layer 1 on",
            runs.new_feature,
            SWITCHED | answers(H6=SUPPORTED),
            "H6",
            jump=True,
            abrupt=(Place("margin.base_likra"), *_at("probe_top1", *LATE)),
            still=(*BELOW, *(Place(p.quantity, 0) for p in BELOW)),
            measures=STATES,
        ),
        PlantedWorld(
            "readout",
            "a label direction is there from the start; only the scores switch",
            runs.readout,
            SWITCHED | answers(H5=SUPPORTED),
            "H5",
            jump=True,
            abrupt=(Place("margin.base_likra"),),
            still=(*BELOW, *(Place(p.quantity, layer) for p in BELOW for layer in INNER)),
            measures=(*STATES, "readout_gap"),
        ),
        PlantedWorld(
            "rerouting",
            "two attention heads of the last block move to another key",
            runs.rerouting,
            SWITCHED | answers(H7=SUPPORTED),
            "H7",
            jump=True,
            abrupt=(
                Place("margin.base_likra"),
                *(Place("attention_js.negative", *at) for at in ROUTED),
            ),
            still=tuple(
                Place("attention_js.negative", block, head)
                for block in runs.BLOCKS
                for head in range(runs.ATTENTION_HEADS)
                if (block, head) not in ROUTED
            ),
            measures=("attention",),
        ),
        PlantedWorld(
            "heterogeneity",
            "every question switches at its own time, broadly",
            runs.many,
            answers(H9=SUPPORTED),
            "H9",
            alarm="any",
        ),
        PlantedWorld(
            "heterogeneity_topics",
            "three topics switch at three times",
            runs.topics,
            answers(H9=SUPPORTED),
            "H9",
        ),
        PlantedWorld("flat", "nothing changes", runs.flat, answers(), jump=False, alarm="any"),
        PlantedWorld(
            "ramp", "margins drift linearly and little", runs.ramp, answers(H0a=TRUE), jump=False,
            alarm="any",
        ),
        PlantedWorld(
            "random_walk", "margins share a random walk", runs.random_walk, answers(H0a=TRUE),
            jump=False, alarm="any",
        ),
        PlantedWorld(
            "smooth_sigmoid", "margins follow a sigmoid over .6 of the series", runs.sigmoid,
            answers(H0a=TRUE), jump=False, alarm="any",
        ),
        PlantedWorld(
            "scale_and_mirage",
            "one direction from the start that grows linearly; w = .5",
            runs.scale_and_mirage,
            answers(H0a=TRUE, H1=TRUE),
            alarm="below accuracy",
            weight=HALF,
        ),
        PlantedWorld(
            "constant_vector_and_readout",
            "a constant vector switches beside a label direction that was always there",
            runs.vector_and_readout,
            SWITCHED | answers(H4=OPEN, H5=OPEN, H6=FALSE),
            jump=True,
            abrupt=(Place("margin.base_likra"), *_at("constant_shift", *INNER)),
            still=(*_at("probe_top1", *LAYERS), *BELOW[:-1]),
            measures=STATES,
        ),
        PlantedWorld(
            "switch",
            "all margins switch together and nothing else is stored",
            runs.switch,
            answers(H0a=EXCLUDED),
            jump=True,
            abrupt=(Place("margin.likra"),),
        ),
        PlantedWorld(
            "noisy_switch",
            "a slower switch under a strong walk of training, so that its place is uncertain",
            runs.noisy_switch,
            SWITCHED,
        ),
        PlantedWorld(
            "prior_learnt",
            "the head learns the prior of answers; right answers of other questions do as well",
            controls.prior_learnt,
            SWITCHED | answers(H2=SUPPORTED),
            "H2",
            jump=True,
            measures=CONTROLS,
        ),
        PlantedWorld(
            "content_learnt",
            "right answers of other questions as negatives bring nothing",
            controls.content_learnt,
            SWITCHED | answers(H2=EXCLUDED),
            jump=True,
            measures=CONTROLS,
        ),
        PlantedWorld(
            "half_prior",
            "right answers of other questions as negatives bring half of the gain",
            controls.half_prior,
            SWITCHED | answers(H2=NEITHER),
            jump=True,
            measures=CONTROLS,
        ),
        PlantedWorld(
            "catapult",
            "the gradient spikes at the jump, and a run at a quarter of the rate has neither",
            controls.catapult,
            SWITCHED | answers(H8=SUPPORTED),
            "H8",
            jump=True,
            measures=CONTROLS,
        ),
        PlantedWorld(
            "harmless_spike",
            "the gradient spikes at the jump, and a run at a quarter of the rate jumps as well",
            controls.harmless_spike,
            SWITCHED | answers(H8=EXCLUDED),
            jump=True,
            measures=CONTROLS,
        ),
        PlantedWorld(
            "slower_alone",
            "a run at a quarter of the rate lacks the jump, and nothing was unstable",
            controls.slower_alone,
            SWITCHED | answers(H8=NEITHER),
            jump=True,
            measures=CONTROLS,
        ),
    )
}  # fmt: skip
"""Every world by name."""

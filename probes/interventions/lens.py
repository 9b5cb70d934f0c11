"""Plan `lens`: how much of the margin's change is visible after each block, through one fixed lens.

The lens is the base's: its final norm, once, and its output map, for both ends alike. It shows
where the change can be read off by the model's own last map; it does not show what causes it.
"""

from collections.abc import Mapping
from typing import ClassVar

from critical_phase.errors import ConfigError
from critical_phase.probes.interventions.contract import Cell, Outcome, Pair, Value
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.lens_edit import Lens
from critical_phase.probes.interventions.tuned_lens import TunedLens, train_lens

LENSES = ("logit", "tuned")


class LensPlan:
    """Margins of the late and of the early model by layer; what they differ by is the share."""

    name: ClassVar[str] = "lens"
    about: ClassVar[str] = "the margin by layer through one fixed lens: where the change shows"
    options: ClassVar[Mapping[str, str]] = {"lenses": "logit", "steps": "300", "rate": "0.003"}

    def run(self, lab: Lab) -> Outcome:
        """Measure both ends after the embedding and after every block."""
        lenses = lab.chosen("lenses", LENSES)
        tuned = _tuned(lab) if "tuned" in lenses else None
        pairs: list[Pair] = []
        for lens in lenses:
            for layer in range(-1, lab.bench.sites.layers):
                if lens == "tuned" and layer < 0:
                    continue
                ends = [_cell(lab, lens, end, layer, tuned) for end in ("late", "early")]
                lab.measure(*ends)
                about = f"of the margin's change visible through the {lens} lens {_after(layer)}"
                names = [one.name for one in ends]
                pairs.append(Pair(f"{lens}/{layer}", about, names[0], names[1], shown=True))
        notes = [
            "the head that is changed is read through the lens, all else of the score is whole;"
            " after the embedding nothing differs, after the last block the lens is the model"
        ]
        notes += [] if tuned is None else [_trained(tuned)]
        return Outcome((), tuple(notes), pairs=tuple(pairs))


def _cell(lab: Lab, lens: str, end: str, layer: int, tuned: TunedLens | None) -> Cell:
    state = lab.post if end == "late" else lab.pre
    last = layer == lab.bench.sites.layers - 1
    translator = tuned.translators[layer] if tuned and lens == "tuned" and not last else None
    axes: dict[str, Value] = {"set": f"{lens} lens", "end": end, "layer": layer}
    about = f"the {end} model read through the {lens} lens {_after(layer)}"
    return Cell(f"{lens}/{end}/{layer}", about, state, Lens(layer, translator), axes)


def _tuned(lab: Lab) -> TunedLens:
    steps, rate = lab.numbers("steps")[0], lab.numbers("rate")[0]
    if steps < 1 or rate <= 0:
        raise ConfigError(
            f"a lens cannot be trained for {steps:g} steps at rate {rate:g}",
            fix="such as --with steps=300 --with rate=0.003",
        )
    return train_lens(lab.bench, lab.exploratory, steps=int(steps), rate=rate, seed=lab.seed)


def _trained(lens: TunedLens) -> str:
    pairs = zip(lens.before, lens.after, strict=True)
    by_layer = ", ".join(f"{one:.2g} to {two:.2g}" for one, two in pairs)
    return (
        f"tuned lens trained on the base, on {lens.slots[0]} tokens of questions that choose; KL"
        f" to the base's answer on {lens.slots[1]} tokens of the others, logit lens to tuned lens"
        f" by layer: {by_layer} nats"
    )


def _after(layer: int) -> str:
    return "after the embedding" if layer < 0 else f"after layer {layer}"

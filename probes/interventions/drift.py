"""How far an intervention moves the model on texts that have nothing to do with the questions."""

import numpy as np
import torch
from jaxtyping import Float

from critical_phase.probes.batches import Batch
from critical_phase.probes.divergence import divergence
from critical_phase.probes.forward import attached, in_batches
from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.edits import Edit
from critical_phase.probes.interventions.update import State
from critical_phase.probes.neutral_texts import NeutralTexts
from critical_phase.probes.scoring import Scorer


@torch.no_grad()
def drift(
    bench: Bench, texts: NeutralTexts, reference: State, state: State, edit: Edit | None = None
) -> Float[np.ndarray, " text"]:
    """Compute KL(changed || reference) per predicted token of every text, in nats.

    Args:
        bench: Over the windows of the texts.
        texts: The same texts.
        reference: What the changed model is held against.
        state: Of the changed model.
        edit: What is done to its activations.
    """
    found = np.full(texts.plan.rows, np.nan)
    scorer = Scorer(bench.sites.unembed, texts.plan.rows)

    def run(batch: Batch) -> None:
        scorer.start(batch)
        bench.mixture.hold(reference)
        with attached([scorer]):
            before = bench.run(batch)[0].float().log_softmax(-1)
        bench.mixture.hold(state)
        if edit is None:
            with attached([scorer]):
                after = bench.run(batch)[0].float().log_softmax(-1)
        else:
            edit.prepare(bench, batch)
            with attached([scorer]), edit.attached(bench):
                after = bench.run(batch)[0].float().log_softmax(-1)
        _, source, _, _ = batch.targets
        at = torch.from_numpy(source)
        values = divergence(after, before).cpu()[at].double().numpy()
        local = batch.targets[0]
        sums = np.bincount(local, values, minlength=len(batch.rows))
        found[batch.rows] = sums / np.bincount(local, minlength=len(batch.rows))

    in_batches(bench.open_packer, run)
    return texts.mean(found)

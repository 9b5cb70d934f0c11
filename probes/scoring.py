"""Log-likelihood of each candidate, from the logits that are needed and no others."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from critical_phase.probes.batches import Batch
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.last_mlp import LastMlp
from critical_phase.probes.transfer import Transfer

_CHUNK = 256
Values = tuple[Batch, Tensor]
"""Log-probability of every target of one pass, on the device."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Log-probabilities of every row under one model."""

    logprob_sum: Float[np.ndarray, " row"]
    """Sum over the candidate's tokens, in nats; float64 where the model computes in it."""
    first_token_logprob: Float[np.ndarray, " row"]
    """Log-probability of the candidate's first token, in nats; of the same type."""
    layout: str = ""
    """How rows went through the model: `packed`, `cached` or `naive`."""
    layout_reason: str = ""
    """Why, in one sentence."""
    cuts: int = 0
    """How often a batch was halved because it did not fit the memory."""


class Scorer:
    """Scores rows from a forward pass that others read too.

    The hidden states are cut down to the slots that predict an answer token before they
    reach the output map, so softcaps and scales that a family applies to logits still
    hold and no other logit is computed.
    """

    def __init__(
        self,
        unembed: nn.Module,
        rows: int,
        transfer: Transfer | None = None,
        last_mlp: LastMlp | None = None,
    ) -> None:
        """Make room for all rows of the plan.

        Args:
            unembed: The output map.
            rows: Of the plan.
            transfer: Brings values to the host; without it the device is waited for.
            last_mlp: Where the last MLP runs on the slots that are read alone.
        """
        self._unembed, self._transfer = unembed, transfer or Transfer()
        self._last_mlp = last_mlp
        self._batch: Batch | None = None
        self._wide = any(weight.dtype == torch.float64 for weight in unembed.parameters())
        self._sum = np.zeros(rows)
        self._first = np.full(rows, np.nan)

    def attached(self) -> Hooks:
        """Hang on the input of the output map, and on the last MLP if that is cut too."""
        cut = Hook(self._unembed, "input", self._cut)
        if self._last_mlp is None:
            return Hooks([cut])
        self._last_mlp.start(self._batch)
        return Hooks([*self._last_mlp.hooks, cut])

    def start(self, batch: Batch) -> None:
        """Score the rows of this batch next."""
        self._batch = batch
        if self._last_mlp is not None:
            self._last_mlp.start(batch)

    def read(self, logits: Tensor) -> Values:
        """Take a batch's log-probabilities from the logits [1, source, vocabulary] of its pass."""
        assert self._batch is not None
        _, source, token, _ = self._batch.targets
        taken = token_logprobs(logits[0], torch.from_numpy(source), torch.from_numpy(token))
        return self._batch, taken

    def add(self, *parts: Values) -> None:
        """Count what one or more passes read; all passes of a row are added in one call.

        This is the last that is done with a batch: one that fails before counts nothing.
        """
        batches, taken = zip(*parts, strict=True)
        together = taken[0] if len(taken) == 1 else torch.cat(taken)
        self._transfer.send(together, lambda values: self._count(batches, values))

    def _count(self, batches: tuple[Batch, ...], values: Tensor) -> None:
        ends = np.cumsum([batch.targets.shape[1] for batch in batches])[:-1]
        for batch, own in zip(batches, np.split(values.double().numpy(), ends), strict=True):
            local, _, _, first = batch.targets
            self._sum[batch.rows] += np.bincount(local, own, minlength=len(batch.rows))
            self._first[batch.rows[local[first == 1]]] = own[first == 1]

    @property
    def scores(self) -> Scores:
        """Every row's scores, once every batch was added; NaN where none was."""
        total = np.where(np.isnan(self._first), np.nan, self._sum)
        kind = np.float64 if self._wide else np.float32
        return Scores(total.astype(kind), self._first.astype(kind))

    def _cut(self, x: Tensor) -> Tensor:
        if self._batch is None:  # a stem is read: nothing is predicted from it
            return x[:, -1:]
        line, slot = self._batch.source
        return x[line, slot][None]


def token_logprobs(logits: Tensor, source: Tensor, token: Tensor) -> Tensor:
    """Take log-probabilities of tokens in float32, or in float64 where logits have it.

    Args:
        logits: One line per place [source, vocabulary].
        source: Line that predicts each token [t], on the CPU: nothing waits for a device.
        token: Token ids [t], on the CPU.
    """
    kind = torch.promote_types(logits.dtype, torch.float32)
    found = torch.empty(len(source), dtype=kind, device=logits.device)
    for begin in range(0, len(logits), _CHUNK):
        part = logits[begin : begin + _CHUNK].to(kind)
        here = torch.nonzero((source >= begin) & (source < begin + len(part)))[:, 0]
        line, column, place = (
            index.to(logits.device) for index in (source[here] - begin, token[here], here)
        )
        # On a CPU log_softmax takes a third of the time of logsumexp.
        found[place] = part.log_softmax(-1)[line, column]
    return found

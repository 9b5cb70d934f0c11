"""The optimizer steps of one head, one at a time, from any state."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from transformers import PreTrainedModel

from critical_phase.checkpoints.answer_loss import collate, summed_answer_loss
from critical_phase.checkpoints.examples import Example
from critical_phase.checkpoints.fresh_adapter import fresh_adapter, step_generator
from critical_phase.checkpoints.parallel import join_processes
from critical_phase.checkpoints.peft_state import adapter_state
from critical_phase.checkpoints.recipe import Recipe, learning_rate
from critical_phase.checkpoints.repeatable import repeatable
from critical_phase.checkpoints.training_log import LogRow
from critical_phase.checkpoints.training_state import State
from critical_phase.checkpoints.withholding import withholding
from critical_phase.errors import CheckpointError, ConfigError

BETAS = (0.9, 0.999)
"""Decay of Adam's running means of gradients and of their squares."""

EPSILON = 1e-8
"""What Adam adds to the root of the second."""


class TrainingLoop:
    """A base with a fresh adapter, its optimizer, and the step they stand at.

    The same examples, recipe, seed and state give the same bits again, on the same
    machine with the same number of threads and processes.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        examples: Sequence[Example],
        recipe: Recipe,
        *,
        seed: int,
        pad_id: int,
    ) -> None:
        """Check the examples and put a fresh adapter into the model.

        Raises:
            ConfigError: Examples or recipe do not fit each other or the model.
        """
        check_count(examples, recipe)
        check_lengths(model, examples)
        self.step = 0
        self.processes = join_processes(model.device)
        self.adapter = fresh_adapter(model, recipe, seed)
        self.parameters = {n: p for n, p in self.adapter.named_parameters() if p.requires_grad}
        self._examples, self._recipe, self._seed, self._pad_id = examples, recipe, seed, pad_id
        self.device = model.device
        self._optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=recipe.lr,
            betas=BETAS,
            eps=EPSILON,
            weight_decay=recipe.weight_decay,
        )
        self._registry = _aliases(self.adapter, self.parameters.values())
        self._withholding = withholding(recipe.withheld, self.adapter, self.parameters)

    def advance(self) -> LogRow:
        """Take one optimizer step.

        Raises:
            CheckpointError: Loss or gradient stopped being a number; nothing was changed.
        """
        step, recipe = self.step + 1, self._recipe
        lr = learning_rate(recipe, step)
        batch = self._examples[(step - 1) * recipe.batch_size : step * recipe.batch_size]
        tokens = sum(map(_predicted, batch))
        self._optimizer.zero_grad(set_to_none=True)
        rank = self.processes.rank
        with (
            step_generator(recipe, self._seed, step, rank),
            repeatable(self.device),
            self._withholding.reading(step),
        ):
            loss = self._backward(batch, tokens)
        self._withholding.before_update(step)
        parameters = list(self.parameters.values())
        loss = self.processes.add_up(parameters, loss)
        norm = torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        _check_finite(step, loss, norm)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        before = [p.detach().clone() for p in parameters]
        self._optimizer.step()
        self._withholding.after_update(step)
        self.step = step
        return LogRow(
            step=step,
            examples=min(step * recipe.batch_size, len(self._examples)),
            loss=loss.item(),
            lr=lr,
            gradient_norm=norm.item(),
            tokens=tokens,
            update_norm=_distance(parameters, before),
            input_tokens=sum(len(e.question_ids) + len(e.answer_ids) for e in batch),
        )

    def restore(self, state: State) -> None:
        """Put adapter and optimizer to where a state was taken.

        Raises:
            CheckpointError: The state has other parameters.
        """
        moments = _by_parameter(state.tensors)
        if set(moments.pop("parameter", {})) != set(self.parameters):
            raise CheckpointError(
                f"the state of step {state.step} belongs to another adapter",
                fix="delete the states beside it to train this head again",
            )
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state.tensors[f"parameter.{name}"])
                self._optimizer.state.pop(parameter, None)
                if kept := {key: values[name] for key, values in moments.items() if name in values}:
                    # AdamW keeps its count on the CPU.
                    self._optimizer.state[parameter] = {
                        key: value if key == "step" else value.to(parameter.device)
                        for key, value in kept.items()
                    }
        self.step = state.step

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the adapter under the names of PEFT files; the live tensors."""
        return adapter_state(self.adapter) if self._registry is None else self._registry

    def optimizer_tensors(self) -> dict[str, torch.Tensor]:
        """Return parameters and moments under the names of a state; the live tensors."""
        tensors = {f"parameter.{name}": p.detach() for name, p in self.parameters.items()}
        for name, parameter in self.parameters.items():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                tensors[f"{key}.{name}"] = value
        return tensors

    def _backward(self, batch: Sequence[Example], tokens: int) -> torch.Tensor:
        """Add the gradients of this process's part; the loss is per token of the whole batch."""
        part = self.processes.part(batch)
        # A process without a share still takes part in the sum, with zeros.
        weight = 1.0 if part else 0.0
        part = part or batch[:1]
        pieces = min(self._recipe.accumulate, len(part))
        total = torch.zeros((), device=self.device)
        for i in range(pieces):
            piece = part[len(part) * i // pieces : len(part) * (i + 1) // pieces]
            ids, mask, labels = (t.to(self.device) for t in collate(piece, self._pad_id))
            logits = self.adapter(input_ids=ids, attention_mask=mask, use_cache=False).logits
            loss = summed_answer_loss(logits, labels) * (weight / tokens)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total


def check_count(examples: Sequence[Example], recipe: Recipe) -> None:
    """Refuse another number of examples than the steps take; the last batch may be smaller.

    Raises:
        ConfigError: Says how many there should be.
    """
    most = recipe.steps * recipe.batch_size
    if not most - recipe.batch_size < len(examples) <= most:
        raise ConfigError(
            f"{recipe.steps} steps of {recipe.batch_size} answers take {most} examples "
            f"(the last step may have fewer), found {len(examples)}",
        )


def check_lengths(model: PreTrainedModel, examples: Iterable[Example]) -> None:
    """Refuse rows longer than the model's context, and answers that predict nothing.

    Raises:
        ConfigError: Names the question, its tokens and the context.
    """
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for item in examples:
        found = len(item.question_ids) + len(item.answer_ids)
        if most is not None and found > most:
            raise ConfigError(
                f"question {item.question_id!r} with its answer has {found} tokens, "
                f"but the model reads at most {most}",
                fix="shorten or leave out this question, or use a model with a longer context",
            )
        if _predicted(item) < 1:
            raise ConfigError(f"question {item.question_id!r}: no token of its answer is predicted")


def _predicted(item: Example) -> int:
    """Count the answer tokens that have a token before them."""
    return len(item.answer_ids) - (not item.question_ids)


def _distance(now: Sequence[torch.Tensor], before: Sequence[torch.Tensor]) -> float:
    norms = torch._foreach_norm(torch._foreach_sub([p.detach() for p in now], list(before)))
    return float(torch.linalg.vector_norm(torch.stack(list(norms))))


def _by_parameter(tensors: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """Sort the tensors of a state by key, then by parameter."""
    sorted_: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        key, _, parameter = name.partition(".")
        sorted_.setdefault(key, {})[parameter] = value
    return sorted_


def _aliases(
    adapter: torch.nn.Module, parameters: Iterable[torch.nn.Parameter]
) -> dict[str, torch.Tensor] | None:
    """Look the live tensors up once, or None where PEFT makes new ones on each call."""
    registry = {name: tensor.detach() for name, tensor in adapter_state(adapter).items()}
    places = {parameter.data_ptr() for parameter in parameters}
    return registry if all(t.data_ptr() in places for t in registry.values()) else None


def _check_finite(step: int, loss: torch.Tensor, norm: torch.Tensor) -> None:
    if torch.isfinite(loss) and torch.isfinite(norm):
        return
    raise CheckpointError(
        f"training broke at step {step}: loss {loss.item()}, gradient norm {norm.item()}",
        fix="lower --lr; the checkpoints before this step are kept",
    )

"""Dense checkpoints from a trainer of Hugging Face: Trainer, SFTTrainer, DPOTrainer.

`save_steps` of a Trainer is one interval and never saves step 0. This callback saves at any
schedule, adapters alone where there is an adapter, and leaves the Trainer's own saving, its
random numbers and its logs as they are.
"""

import contextlib
import math
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from peft import PeftModel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from critical_phase.atomic import (
    new_folder,
    sweep,
    sync_file,
    sync_folder,
    temporary_name,
    write_json,
    write_text,
)
from critical_phase.checkpoints.folders import step_of
from critical_phase.checkpoints.peft_state import quiet_peft
from critical_phase.checkpoints.series import IDENTITY, adapter_identity
from critical_phase.checkpoints.steps import schedule_steps
from critical_phase.checkpoints.training_log import LOG, LogRow, log_csv, read_log
from critical_phase.errors import ConfigError

MAKER = "DenseCheckpointCallback"
OnSave = Callable[[Any, int, Path], None]
"""Gets the model, the step, and the folder that the step will be saved in."""


class DenseCheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Saves `checkpoint-<step>` at every scheduled step, step 0 and the last one included.

    >>> callback = DenseCheckpointCallback(schedule="log:32")  # Trainer(..., callbacks=[callback])
    """

    def __init__(
        self,
        schedule: str | Sequence[int] = "log:32",
        *,
        save_step0: bool = True,
        folder: str | Path | None = None,
        on_save: OnSave | None = None,
    ) -> None:
        """Choose the steps; nothing is written before training begins.

        Args:
            schedule: Steps in the grammar of `probe`: `log:32`, `every:64`, `0:64,log:32`, or
                a list of numbers. The last step always belongs.
            save_step0: Save the untrained model too.
            folder: Where checkpoints and log.csv go; the Trainer's output_dir by default.
            on_save: Called in the main process right before each save; it must leave the
                model as it found it, and what it raises stops the training.
        """
        self._schedule = schedule if isinstance(schedule, str) else ",".join(map(str, schedule))
        self._save_step0, self._given, self._on_save = save_step0, folder, on_save
        self._folder = Path()
        self._wanted: frozenset[int] = frozenset()
        self._saved: dict[int, Path] = {}
        self._log: dict[int, LogRow] = {}
        self._lr = math.nan
        self._training = ""
        self._warned: set[str] = set()

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Settle the steps, and save the untrained model.

        Raises:
            ConfigError: The schedule names a step beyond the end, or no process holds the
                whole weights.
        """
        _refuse_shards(args)
        self._folder = Path(self._given or args.output_dir)
        wanted = set(schedule_steps(self._schedule, state.max_steps))
        self._wanted = frozenset(wanted if self._save_step0 else wanted - {0})
        self._saved, self._log = {}, {}
        self._training = uuid4().hex
        if not state.is_world_process_zero:
            return
        self._warn(args)
        if state.global_step:
            self._continue(state.global_step)
        else:
            self._warn_of_leftovers()
            if 0 in self._wanted:
                self._save(args, state, kwargs)

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Note the learning rate of the step, before the scheduler moves on."""
        optimizer = kwargs.get("optimizer")
        if optimizer is not None:
            self._lr = float(optimizer.param_groups[0]["lr"])

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Save at a scheduled step."""
        if state.is_world_process_zero and state.global_step in self._wanted:
            self._save(args, state, kwargs)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Keep what the Trainer logs, in the columns of our log."""
        logs: Mapping[str, Any] = kwargs.get("logs") or {}
        if not state.is_world_process_zero or "loss" not in logs:
            return
        step = state.global_step
        self._log[step] = LogRow(
            step=step,
            examples=step * _batch(args, state),
            loss=float(logs["loss"]),
            lr=float(logs.get("learning_rate", self._lr)),
            gradient_norm=float(logs.get("grad_norm", math.nan)),
            tokens=0,
        )
        if step in self._saved:
            self._write_note(self._saved[step], args, state)
            self._write_log()

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Save the last step, should training have stopped early, and the whole log."""
        if not state.is_world_process_zero:
            return
        if state.global_step and state.global_step not in self._saved:
            self._save(args, state, kwargs)
        self._write_log()

    def _save(self, args: TrainingArguments, state: TrainerState, given: Mapping[str, Any]) -> None:
        """Write weights and note under a temporary name and publish them at once."""
        path = self._folder / f"checkpoint-{state.global_step}"
        model = getattr(given["model"], "_orig_mod", given["model"])  # what torch.compile wraps
        if self._on_save is not None:
            self._on_save(model, state.global_step, path)
        with _published(path) as temporary:
            _write_weights(model, given.get("processing_class"), temporary)
            self._write_note(temporary, args, state)
        self._saved[state.global_step] = path

    def _write_note(self, folder: Path, args: TrainingArguments, state: TrainerState) -> None:
        step, batch = state.global_step, _batch(args, state)
        row = self._log.get(step)
        note = {
            "maker": MAKER,
            "training": self._training,
            "step": step,
            "examples": step * batch,
            "batch_size": batch,
            "lr": None if step == 0 or math.isnan(self._lr) else self._lr,
            "loss": row.loss if row is not None and math.isfinite(row.loss) else None,
        }
        write_json(folder / IDENTITY, note)

    def _write_log(self) -> None:
        rows = [self._log[step] for step in sorted(self._log)]
        if rows:
            write_text(self._folder / LOG, log_csv(rows))

    def _continue(self, step: int) -> None:
        """Take over name and log of a training that is resumed, up to its step."""
        sweep(self._folder)
        for path in sorted(self._folder.glob("checkpoint-*"), key=lambda p: step_of(p.name) or 0):
            if (step_of(path.name) or 0) <= step and (path / IDENTITY).is_file():
                self._training = (adapter_identity(path) or {}).get("training") or self._training
        if (self._folder / LOG).is_file():
            rows = read_log(self._folder / LOG)
            self._log = {row.step: row for row in rows if row.step <= step}

    def _warn(self, args: TrainingArguments) -> None:
        """Say in plain words which of the Trainer's settings spoil a series."""
        if args.save_total_limit is not None:
            self._warn_once(
                f"save_total_limit={args.save_total_limit} lets the Trainer delete old "
                "checkpoints, these among them: leave it unset, or give the callback a folder"
            )
        if args.load_best_model_at_end:
            self._warn_once(
                "load_best_model_at_end=True puts earlier weights back when training ends: the "
                "model that you keep is then not the last step of this series"
            )
        if str(getattr(args.save_strategy, "value", args.save_strategy)) != "no" and (
            self._folder.resolve() == Path(args.output_dir).resolve()
        ):
            self._warn_once(
                "the Trainer saves into the same folder: resume_from_checkpoint=True would pick "
                "the newest checkpoint, which may be one of these and holds no optimizer; name "
                "the checkpoint to resume from, or give the callback a folder"
            )

    def _warn_of_leftovers(self) -> None:
        if not self._folder.is_dir():
            return
        sweep(self._folder)
        steps = {step for p in self._folder.iterdir() if (step := step_of(p.name)) is not None}
        if left := sorted(steps - self._wanted):
            self._warn_once(
                f"{self._folder} holds checkpoints of an earlier training (step {left[0]}"
                f"{', ...' if left[1:] else ''}): they would be taken for steps of this one"
            )

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(text, UserWarning, stacklevel=2)


def _write_weights(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write the adapter alone, or whole weights with what is needed to load them."""
    if isinstance(model, PeftModel):
        with quiet_peft():
            model.save_pretrained(
                folder, selected_adapters=_trained(model), save_embedding_layers=False
            )
        return
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def _trained(model: PeftModel) -> list[str]:
    """Name the adapters that are trained; trainers of preferences keep a frozen one beside."""
    free = [name.split(".") for name, p in model.named_parameters() if p.requires_grad]
    names = [name for name in model.peft_config if any(name in parts for parts in free)]
    return names or list(model.active_adapters)


@contextlib.contextmanager
def _published(path: Path) -> Iterator[Path]:
    """Give a folder to fill; where the Trainer saved there too, what it wrote else is kept."""
    if not path.is_dir():
        with new_folder(path) as temporary:
            yield temporary
        return
    temporary = temporary_name(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in sorted(p for p in temporary.rglob("*") if p.is_file()):
            target = path / file.relative_to(temporary)
            target.parent.mkdir(parents=True, exist_ok=True)
            sync_file(file)
            file.replace(target)
        sync_folder(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _batch(args: TrainingArguments, state: TrainerState) -> int:
    """Answers per optimizer step, over all processes."""
    size = int(getattr(state, "train_batch_size", None) or args.train_batch_size)
    return size * int(args.gradient_accumulation_steps) * int(args.world_size)


def _refuse_shards(args: TrainingArguments) -> None:
    config = getattr(args, "hf_deepspeed_config", None)
    if getattr(args, "fsdp", None) or (config is not None and config.is_zero3()):
        raise ConfigError(
            "the weights are sharded over processes (FSDP or ZeRO-3): this callback saves what "
            "one process holds",
            fix="train with DDP or ZeRO-2, or without the callback",
        )

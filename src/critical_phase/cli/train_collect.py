"""`probe train --collect`: record scores and activations while the heads are trained."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from critical_phase.checkpoints import Question, TrainingFolder, prompt_format, select_steps
from critical_phase.checkpoints.training_loop import TrainingLoop
from critical_phase.cli.collect import plan_note, probe_settings, provenance
from critical_phase.cli.console import brief_steps
from critical_phase.cli.question_sets import sample_questions
from critical_phase.cli.run_folder import BASE, HEADS, RunFolder, read_record, update_record
from critical_phase.cli.settings import CollectSettings, TrainSettings
from critical_phase.cli.token_texts import write_token_texts
from critical_phase.errors import ConfigError
from critical_phase.probes import Failure, LiveCollection, Plan, Unit, make_plan


@dataclass(slots=True)
class TrainCollect:
    """What `--collect` asks for, and what became of it in each head."""

    settings: CollectSettings
    overwrite: bool = False
    """Replace what was collected in another way; the heads are trained anew."""
    done: set[str] = field(default_factory=set)
    existing: set[str] = field(default_factory=set)
    """Units that have their files from before."""
    failed: list[Failure] = field(default_factory=list)
    left: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Steps by head that were asked for, are saved, and have no files."""
    _questions: tuple[Question, ...] = ()
    _available: int = 0
    _plan: Plan | None = None
    _tokenizer: Any = None
    _layout: dict[str, str] = field(default_factory=dict)

    def check(self, training: TrainSettings) -> None:
        """Refuse, before anything is trained, what a training cannot do.

        Raises:
            ConfigError: Another device than the training's, or none of its heads.
        """
        if self.settings.device not in ("auto", training.device):
            raise ConfigError(
                f"collecting on {self.settings.device!r} is asked for, but training is on "
                f"{training.device!r}: in training, both are one model",
                fix="leave device out of the section collect",
            )
        if not set(self.settings.heads) & set(training.heads):
            raise ConfigError(
                f"the section collect names {', '.join(self.settings.heads)}, and none of "
                "them is trained",
                fix=f"leave heads out, or name one of {', '.join(training.heads)}",
            )

    def take_questions(self, questions: tuple[Question, ...]) -> None:
        """Draw the questions to evaluate on, as `probe collect` will draw them."""
        self._questions = sample_questions(questions, self.settings.limit, self.settings.seed)
        self._available = len(questions)

    def steps(self, save_at: Sequence[int]) -> tuple[int, ...]:
        """Choose among the saved steps of a head.

        Raises:
            ConfigError: A step that is not saved.
        """
        return select_steps(self.settings.checkpoints, sorted({0, *save_at}))

    def plan_line(self, save_at: Sequence[int]) -> str:
        """Say what will be collected."""
        return (
            f"{len(self._questions)} questions at {len(self.steps(save_at))} steps of "
            f"{', '.join(self.settings.heads)}"
        )

    @property
    def whole(self) -> bool:
        """Whether nothing is left to `probe collect`, as far as this training went."""
        everything = self.settings.checkpoints == "all" and set(self.settings.heads) == set(HEADS)
        return everything and not self.failed and not self.left

    def lines(self) -> Iterator[str]:
        """Say what became of everything that was asked for."""
        done, existing = len(self.done), len(self.existing - self.done)
        yield f"collected {done}, existing {existing}, failed {len(self.failed)}"
        for failure in self.failed:
            yield f"failed {failure.unit.name}: {failure.message} ({failure.path})"
        for head, steps in self.left.items():
            yield f"not collected, saved before: {head} {brief_steps(steps)}"

    def begin(
        self,
        run: RunFolder,
        head: str,
        training: TrainSettings,
        model: Any,
        tokenizer: Any,
        base_sha256: str,
    ) -> LiveCollection | None:
        """Get ready to collect one head; None where it was not asked for.

        Raises:
            ConfigError: The settings do not fit the model.
            StoreError: The run holds another plan.
        """
        if head not in self.settings.heads:
            return None
        style = prompt_format(training.prompt or "")
        self._plan = plan = self._plan or make_plan(self._questions, tokenizer, style)
        self._tokenizer = tokenizer
        record = read_record(run) if run.record.is_file() else {}
        known = {"name": run.path.resolve().name, **record, "model": training.model}
        return LiveCollection(
            run.path,
            model,
            plan,
            head,
            settings=probe_settings(self._questions, self.settings),
            provenance=provenance(known, self._questions, self.settings),
            base_sha256=base_sha256,
            overwrite=self.overwrite,
        )

    def end(self, live: LiveCollection, folder: TrainingFolder, save_at: Sequence[int]) -> None:
        """Add up what became of one head, and say what it lacks."""
        report, broken = live.report, {failure.unit.step for failure in live.report.failed}
        saved = set(self.steps(save_at)) & set(folder.saved())
        there = {step for step in saved if live.has_files(live.head, step)}
        self.done |= {unit.name for unit in report.done}
        units = [(BASE, 0)] if live.has_files(BASE, 0) else []
        units += [(live.head, step) for step in there]
        self.existing |= {Unit(head, step).name for head, step in units}
        self.failed += report.failed
        if left := tuple(sorted(saved - there - broken)):
            self.left[live.head] = left
        if live.instrument is not None:
            self._layout = {
                "layout": live.instrument.choice.layout,
                "layout_reason": live.instrument.choice.reason,
                "attention_way": live.instrument.scene.attention_way,
            }

    def record(self, run: RunFolder) -> None:
        """Note in the run what was collected, as `probe collect` does."""
        if self._plan is None or not self._layout:
            return  # every head was finished before: nothing was read
        write_token_texts(run.tokens, self._plan, self._tokenizer)
        before = read_record(run).get("collect", {})
        note = plan_note(self._plan, self._available)
        update_record(run, "", collect={**before, **note, **self._layout})


def at_steps(
    live: LiveCollection, folder: TrainingFolder, steps: Sequence[int]
) -> Callable[[TrainingLoop], None]:
    """Collect a training at some of the steps that it saves."""
    chosen = frozenset(steps)

    def visit(loop: TrainingLoop) -> None:
        live.open(loop.adapter)
        if loop.step in chosen:
            live.at_step(loop.adapter, loop.step, folder.checkpoint(loop.step))

    return visit

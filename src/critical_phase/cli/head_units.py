"""What commands need that differentiate the training loss of a head: checkpoints and examples."""

import numpy as np

from critical_phase.checkpoints import Example, prompt_format, read_questions
from critical_phase.checkpoints.examples_file import read_examples
from critical_phase.cli.collect import Prepared
from critical_phase.cli.series_files import choose_series
from critical_phase.errors import ConfigError
from critical_phase.probes import DrawnExamples, Unit, draw_for_gradients


def adapter_units(ready: Prepared, heads: str, checkpoints: str) -> tuple[Unit, ...]:
    """Return the chosen checkpoints that are adapters.

    Args:
        ready: The run.
        heads: Their heads, for the message.
        checkpoints: How they were chosen, for the message.

    Raises:
        ConfigError: There is none.
    """
    units = tuple(unit for unit in ready.units if unit.checkpoint is not None)
    if not units:
        raise ConfigError(
            f"no checkpoint of the {heads} head is an adapter among {checkpoints}",
            where=str(ready.run.path),
            fix="name other --checkpoints",
        )
    return units


def last_unit(ready: Prepared, head: str) -> Unit:
    """Return the last saved adapter: the same whichever checkpoints are chosen."""
    saved = choose_series(ready.run, head, "all", fetch=False).checkpoints
    last = max((one for one in saved if one.kind != "base"), key=lambda one: one.step)
    return Unit(head, last.step, last)


def head_examples(ready: Prepared, head: str, *, otherwise: str = "") -> list[Example]:
    """Read what a head was trained on, in the order of training.

    Args:
        ready: The run.
        head: Name of the head.
        otherwise: What else the user can do where that is not noted.

    Raises:
        ConfigError: The head does not note its examples.
        CheckpointError: Its list of examples is damaged or does not fit the questions.
    """
    path, asked = ready.run.head(head) / "examples.csv", ready.run.questions("train")
    if not path.is_file() or not asked.is_file():
        raise ConfigError(
            f"the {head} head does not say what it was trained on, which is the loss here",
            where=str(path),
            fix=f"only heads that probe train finished note their examples{otherwise}",
        )
    style = prompt_format(ready.record["recipe"]["prompt"])
    return list(read_examples(path, read_questions(asked), ready.tokenizer, style))


def draw_of(
    ready: Prepared, head: str, found: list[Example], count: int, seed: int
) -> DrawnExamples:
    """Draw some of a head's examples, the same for all of its checkpoints.

    Raises:
        ConfigError: The head saw fewer.
    """
    if count > len(found):
        raise ConfigError(
            f"{count} examples are asked for, but the {head} head saw {len(found)}",
            where=str(ready.run.head(head) / "examples.csv"),
            fix=f"give --examples at most {len(found)}",
        )
    return draw_for_gradients(found, count, np.random.default_rng([seed, 9]))

"""What side effects are measured on: neutral texts and training examples."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from critical_phase.atomic import write_text
from critical_phase.checkpoints import ORGANISM, prompt_format, read_questions
from critical_phase.checkpoints.examples_file import read_examples
from critical_phase.checkpoints.organism_set import organism_neutral_texts
from critical_phase.cli.collect import Prepared
from critical_phase.cli.console import say
from critical_phase.errors import ConfigError, InputError
from critical_phase.probes import DrawnExamples, NeutralTexts, draw_for_gradients, encode_texts
from critical_phase.probes.neutral_texts import unknown_share

LEAST_GRADIENTS = 2
MOST_UNKNOWN = 0.5
_FIX = "give --text a UTF-8 file with one text per line"


def neutral_texts(ready: Prepared, source: str | None, window: int) -> NeutralTexts | None:
    """Encode the texts of a file, or the organism's own; None where there are none.

    Args:
        ready: The run with its model.
        source: The file; None for the default.
        window: Most tokens of a window; fewer where the model reads fewer.

    Raises:
        InputError: The file cannot be read.
        ConfigError: The tokenizer does not know most of the texts.
    """
    if source is None and ready.record["model"] != ORGANISM:
        return None
    texts = organism_neutral_texts() if source is None else read_texts(Path(source))
    config = ready.model.config.get_text_config()
    most = getattr(config, "max_position_embeddings", None) or window
    encoded = encode_texts(texts, ready.tokenizer, window=min(window, most))
    _check_known(encoded, ready, source)
    return encoded


def _check_known(texts: NeutralTexts, ready: Prepared, source: str | None) -> None:
    """Warn of unknown tokens, whose likelihood says nothing, and refuse a text full of them."""
    share = unknown_share(texts, ready.tokenizer)
    found = f"{share:.1%} of the tokens of the neutral texts are unknown to the tokenizer"
    if share > MOST_UNKNOWN:
        raise ConfigError(found, where=str(source or ""), fix="give --text words the model has")
    if share:
        say(f"warning: {found}")


def read_texts(path: Path) -> tuple[str, ...]:
    """Read a file of texts, one per line; blank lines separate nothing and count nothing.

    Raises:
        InputError: The file is missing, no UTF-8 text, or empty.
    """
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the file is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}",
            where=str(path),
            fix=_FIX,
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot read the neutral texts: {error.strerror}", where=str(path), fix=_FIX
        ) from error
    if "\0" in content:
        raise InputError("the file holds NUL bytes: it is not text", where=str(path), fix=_FIX)
    # Not splitlines(): U+2028 and friends are legal inside a text.
    texts = tuple(line.strip() for line in content.split("\n") if line.strip())
    if not texts:
        raise InputError("the file holds no text", where=str(path), fix=_FIX)
    return texts


def write_texts(path: Path, texts: NeutralTexts) -> None:
    """Write which text has which number, one JSON object per line."""
    lines = [
        json.dumps({"text": text, "tokens": int(tokens), "windows": int(windows)})
        for text, tokens, windows in zip(texts.texts, texts.tokens, texts.windows, strict=True)
    ]
    write_text(path, "".join(line + "\n" for line in lines))


def gradient_examples(ready: Prepared, count: int, seed: int) -> Mapping[str, DrawnExamples] | None:
    """Draw training examples of every chosen head; None where no gradient is asked for.

    Raises:
        ConfigError: A head was trained on fewer examples, or does not say on which.
        CheckpointError: Its list of examples is damaged or does not fit the questions.
    """
    if not count:
        return None
    if count < LEAST_GRADIENTS:
        raise ConfigError(
            f"{count} gradient says nothing of their scatter",
            fix=f"give --gradients {LEAST_GRADIENTS} or more",
        )
    heads = dict.fromkeys(unit.head for unit in ready.units if unit.checkpoint is not None)
    return {head: _draw(ready, head, count, np.random.default_rng([seed, 6])) for head in heads}


def _draw(ready: Prepared, head: str, count: int, rng: np.random.Generator) -> DrawnExamples:
    path, asked = ready.run.head(head) / "examples.csv", ready.run.questions("train")
    if not path.is_file() or not asked.is_file():
        raise ConfigError(
            f"gradients are asked for, but the {head} head does not say what it was trained on",
            where=str(path),
            fix="leave --gradients out; only heads that probe train finished note their examples",
        )
    style = prompt_format(ready.record["recipe"]["prompt"])
    examples = read_examples(path, read_questions(asked), ready.tokenizer, style)
    if count > len(examples):
        raise ConfigError(
            f"{count} gradients are asked for, but the {head} head saw {len(examples)} examples",
            where=str(path),
            fix=f"give --gradients at most {len(examples)}",
        )
    return draw_for_gradients(examples, count, rng)

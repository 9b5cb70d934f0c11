"""What is decoded, how, and what came out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from critical_phase.errors import ConfigError
from critical_phase.probes.generation.contrast import Contrast
from critical_phase.probes.generation.endings import Ending
from critical_phase.probes.generation.layout import Prompt


@dataclass(frozen=True, slots=True)
class Decoding:
    """How tokens are chosen, one after the other."""

    contrast: Contrast | None = None
    """How three models make one distribution; None where there is a single model."""
    new_tokens: int = 32
    """Most tokens of an answer."""
    temperature: float | None = None
    """None takes the likeliest token; else tokens are drawn from p^(1/temperature)."""
    seed: int = 0
    """Of the draws; every question and every draw of it has a stream of its own."""

    def __post_init__(self) -> None:
        """Refuse sizes that give no answer.

        Raises:
            ConfigError: No token may follow, or the temperature is not above 0.
        """
        if self.new_tokens < 1:
            raise ConfigError(f"{self.new_tokens} new tokens give no answer", fix="ask for 1")
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise ConfigError(
                f"the temperature is {self.temperature}",
                fix="give one above 0, or leave sampling out for the likeliest tokens",
            )


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer that is wanted."""

    prompt: Prompt
    """Tokens before the answer."""
    stream: tuple[int, ...]
    """Numbers of question and draw: with the seed, they fix what is drawn."""

    def rng(self, seed: int) -> np.random.Generator:
        """Start the stream of draws: the same in any batch."""
        return np.random.default_rng([seed, 8, *self.stream])


@dataclass(frozen=True, slots=True)
class Answer:
    """One free answer."""

    ids: tuple[int, ...]
    """Its tokens; the last may be an end token or hold the text that ended it."""
    text: str
    """What it says, without what ended it."""
    ended: Ending
    """What ended it; `limit` where it ran into the most tokens allowed."""
    logprob: Mapping[str, float]
    """Summed log-probability of its tokens by model, in nats; `chosen` is the distribution that
    they were taken from, before any temperature."""

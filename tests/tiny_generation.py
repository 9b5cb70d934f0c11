"""A tiny base with two random heads to decode from, and the same as PEFT itself loads it."""

import copy
from pathlib import Path
from typing import Any

from peft import PeftModel
from tiny_families import build_model
from tiny_plan import build_plan, build_tokenizer, save_adapters

from critical_phase.checkpoints import quiet_peft
from critical_phase.probes.generation import Asked, Endings, Lines
from critical_phase.probes.interventions.sources import Sources

FAMILIES = ("llama", "gpt2")


class Pair:
    """A tiny base with two random heads."""

    def __init__(self, folder: Path, family: str) -> None:
        self.saved = dict(
            zip(("positive", "negative"), save_adapters(folder, family, (1, 2)), strict=True)
        )
        self.base = build_model(family)
        self.sources = Sources(self.saved)
        self.updates = {
            name: {m: self.sources.update(name, m) for m in self.sources.modules(name)}
            for name in self.saved
        }
        self.lines = Lines(self.base, {"base": {}, **self.updates})
        self.ends = Endings(build_tokenizer(), frozenset(), ())
        self._fresh: dict[str, Any] = {}

    def alone(self, name: str) -> Lines:
        return Lines(self.base, {name: self.updates.get(name, {})})

    def fresh(self, name: str) -> Any:
        """The base, or the base with a head as PEFT itself loads it."""
        if name not in self._fresh:
            made = copy.deepcopy(self.base)
            with quiet_peft():
                if name != "base":
                    made = PeftModel.from_pretrained(made, str(self.saved[name].path)).eval()
            self._fresh[name] = made
        return self._fresh[name]


def tiny_prompts() -> list[Asked]:
    """Prompts of 23, 39 and 1 tokens: the last is empty but for the begin token."""
    return [Asked(prompt, (i, 0)) for i, prompt in enumerate(build_plan().prompts[:3])]

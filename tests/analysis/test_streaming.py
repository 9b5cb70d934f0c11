"""Measures of large arrays hold one checkpoint, or one mass, at a time."""

import json
import weakref
from collections.abc import Mapping

import numpy as np
import pytest

from critical_phase.analysis import MEASURES, AnalysisSettings, planted_run, to_json
from critical_phase.analysis.activity.attention_spans import attention_spans

OF_PROBES = ("linear_probes", "readout_gap", "step_transfer", "probe_confirmation")


@pytest.fixture(scope="module")
def run():
    return planted_run("switch", np.random.default_rng(0), questions=40, steps=12, width=8)


@pytest.fixture(scope="module")
def settings():
    return AnalysisSettings(draws=40, permutations=20)


class _NoStacks:
    """A run that gives one checkpoint at a time, and refuses all of them together."""

    def __init__(self, run):
        self._run = run

    def __getattr__(self, name):
        return getattr(self._run, name)

    def residual(self, head, layer, position):
        raise AssertionError("all checkpoints were asked for at once")

    attention_row = residual


@pytest.mark.parametrize("name", [*OF_PROBES, "geometry", "attention", "tokens"])
def test_no_measure_asks_for_all_checkpoints_at_once(name, run, settings):
    done = {"linear_probes": MEASURES["linear_probes"](run, settings)}
    found = MEASURES[name](_NoStacks(run), settings, done)
    assert not [note for note in found.warnings if "not computed" in note]
    again = MEASURES[name](run, settings, done)
    assert json.dumps(to_json(found)) == json.dumps(to_json(again))


class _OneAlive(Mapping):
    """Masses that are made when asked for; the one before must be gone by then."""

    def __init__(self, masses):
        self._masses, self._last, self.asked = masses, lambda: None, []

    def __getitem__(self, name):
        assert self._last() is None, f"{self.asked[-1]} is still held"
        made = np.array(self._masses[name])
        self._last = weakref.ref(made)
        self.asked.append(name)
        return made

    def __iter__(self):
        return iter(self._masses)

    def __len__(self):
        return len(self._masses)


@pytest.mark.parametrize("measure", [attention_spans, MEASURES["attention"]])
def test_one_mass_of_attention_is_held_at_a_time(measure, run, settings):
    names = ("sink_mass", "question_mass", "answer_mass", "entropy_rest")
    rng = np.random.default_rng(1)
    shape = (12, len([i for i in run.layers if i >= 0]), run.attention_heads)
    masses = {
        head: _OneAlive({n: rng.uniform(0, 1, (*shape, run.rows.question.size)) for n in names})
        for head in run.heads
    }
    kind = type("Masses", (type(run),), {"attention_summary": lambda _, head: masses[head]})
    given = kind(**{name: getattr(run, name) for name in run.__dataclass_fields__})
    assert measure(given, settings).maps
    assert all(len(one.asked) > 1 for one in masses.values())

"""Every gate is shown exactly the fault it is there for, and says so."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tiny_variants import save_variant

from critical_phase.checkpoints import AdapterSlot, Checkpoint
from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes import CollectSettings, Plan, Unit, batches, collect, make_units
from critical_phase.probes.instrument import prepare
from critical_phase.probes.residual import Residual

LEAN = CollectSettings(())
Run = Callable[..., Any]


@pytest.fixture
def units(tmp_path: Path, make_adapters: Callable[..., Any]) -> tuple[Unit, ...]:
    """The base and steps 1 and 2 of a plain LoRA."""
    return make_units({"negative": make_adapters(tmp_path / "heads", "llama", (1, 2))})


@pytest.fixture
def run(tmp_path: Path, plan: Plan, make_model: Callable[..., Any]) -> Run:
    def run(units: tuple[Unit, ...], settings: CollectSettings = LEAN) -> Any:
        return collect(tmp_path / "run", make_model("llama"), plan, units, settings=settings)

    return run


def attach_with(monkeypatch: pytest.MonkeyPatch, fault: Callable[[AdapterSlot], None]) -> None:
    """Do something to every slot as soon as it is there."""
    attach = AdapterSlot.attach

    def faulty(*args: Any, **settings: Any) -> AdapterSlot:
        slot = attach(*args, **settings)
        fault(slot)
        return slot

    monkeypatch.setattr(AdapterSlot, "attach", faulty)


def test_a_sound_series_passes_every_gate(run: Run, units: tuple[Unit, ...]) -> None:
    assert run(units, CollectSettings()).done == units


def test_a_load_that_does_nothing_is_seen_against_a_fresh_load(
    run: Run, units: tuple[Unit, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AdapterSlot, "load", lambda slot, checkpoint: checkpoint.sha256)
    monkeypatch.setattr(AdapterSlot, "_can_merge", lambda slot, checkpoint: False)

    def untouched(model: Any, path: str) -> Any:  # an adapter that loads as if it were new
        wrapper = PeftModel.from_pretrained(model, path)
        for name, parameter in wrapper.named_parameters():
            if "lora_B" in name:
                parameter.data.zero_()
        return wrapper

    monkeypatch.setattr(
        "critical_phase.checkpoints.adapters.PeftModel",
        type("Planted", (), {"from_pretrained": staticmethod(untouched)}),
    )
    with pytest.raises(CheckpointError, match=r"differ from a fresh load by \S+ of the largest"):
        run(units)


@pytest.mark.parametrize("size", [1.0, 3e-5])
def test_a_wrong_scaling_is_seen_even_where_the_adapter_does_little(
    size: float, run: Run, tmp_path: Path, make_lora: Run, make_model: Run, monkeypatch: Any
) -> None:
    settings = {"r": 3, "lora_alpha": 6 * size}
    series = make_lora(tmp_path / "h", make_model("llama"), ["q_proj", "up_proj"], **settings)

    def double(slot: AdapterSlot) -> None:
        for layer in slot._layers:
            layer.scaling["default"] *= 2

    attach_with(monkeypatch, double)
    with pytest.raises(CheckpointError, match="differ from a fresh load by"):
        run(make_units({"negative": series}))


def test_a_changed_alpha_fails_its_step_alone(run: Run, units: tuple[Unit, ...]) -> None:
    assert units[1].checkpoint is not None
    path = units[1].checkpoint.path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lora_alpha": 12}))
    report = run(units)
    assert [failure.unit for failure in report.failed] == [units[1]]
    assert "setting lora_alpha is 12, but this series has 6" in report.failed[0].message


def test_tensors_that_land_beside_the_model_are_seen_by_their_hash(
    run: Run, units: tuple[Unit, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def detach(slot: AdapterSlot) -> None:  # the slot goes on writing to the old tensor
        part = slot._layers[0].lora_B["default"]
        part.weight = torch.nn.Parameter(part.weight.detach().clone())

    slot_load, loads = AdapterSlot.load, []

    def load(slot: AdapterSlot, checkpoint: Checkpoint) -> str:
        loads.append(checkpoint)
        if len(loads) == 3:  # after attach and the landing gate
            detach(slot)
        return slot_load(slot, checkpoint)

    monkeypatch.setattr(AdapterSlot, "load", load)
    report = run(units)
    assert [failure.unit for failure in report.failed] == [units[1]]
    assert "did not land: live tensors have hash" in report.failed[0].message


def test_a_hash_that_is_not_the_listed_one_fails_its_step(
    run: Run, units: tuple[Unit, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = AdapterSlot.load

    def other(slot: AdapterSlot, checkpoint: Checkpoint) -> str:
        return load(slot, checkpoint) if checkpoint.step == 2 else "f" * 64

    monkeypatch.setattr(AdapterSlot, "load", other)
    report = run(units)
    assert [failure.unit for failure in report.failed] == [units[1]]
    assert "live weights ffffffff are not the listed" in report.failed[0].message


def test_a_stale_merged_weight_is_seen_when_two_adapters_agree(
    run: Run, units: tuple[Unit, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tensors of the adapter land, but the weights keep the update merged first."""
    attach_with(monkeypatch, lambda slot: monkeypatch.setattr(AdapterSlot, "_merge", still))

    def still(slot: AdapterSlot) -> None:
        pass

    with pytest.raises(CheckpointError, match=r"hold different adapters .* exactly the same"):
        run(units)


def test_a_base_that_keeps_the_adapter_is_seen(
    run: Run, units: tuple[Unit, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_out(slot: AdapterSlot) -> Any:
        @contextlib.contextmanager
        def stays() -> Iterator[None]:
            slot._weights[0].data = slot._originals[0]
            yield
            slot._weights[0].data = slot._buffers[0]

        return stays()

    monkeypatch.setattr(AdapterSlot, "_without_adapter", half_out)
    with pytest.raises(CheckpointError, match="the base is not what it was before"):
        run(units)


@pytest.mark.filterwarnings("ignore:Careful, disabling adapter layers")
def test_biases_that_stay_in_are_seen(
    plan: Plan, make_model: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEFT leaves trained biases in the base when it switches an adapter off."""
    units = make_units({"negative": save_variant(tmp_path / "h", "gpt2", "bias all")})
    monkeypatch.setattr("critical_phase.checkpoints.adapters.base_biases", lambda *_: [])
    with pytest.raises(CheckpointError, match="the base is not what it was before"):
        collect(tmp_path, make_model("gpt2"), plan, units, settings=LEAN)


def test_activations_that_are_not_read_anew_are_seen(
    run: Run, units: tuple[Unit, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stored = Residual.store, []

    def once(collector: Residual, arrays: Any) -> None:
        rows = len(arrays["residual"][0])
        if sum(stored) < 2 * rows:  # the base and step 1, then never again
            stored.append(len(collector._batch.rows))
            store(collector, arrays)

    settings = CollectSettings(("residual",), layout="naive")  # no gate reads residuals before
    monkeypatch.setattr(Residual, "store", once)
    with pytest.raises(CheckpointError, match="score differently but hold exactly the same"):
        run(units, settings)


def leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the last slot of each line, and it alone, see the slot before its candidate."""
    tree_mask = batches.tree_mask

    def leaky(segment: Any, places: Any, config: Any, dtype: Any, shared: int) -> Any:
        mask = tree_mask(segment, places, config, dtype, shared)
        for line, own in enumerate(segment):
            last = int((own >= 0).nonzero()[-1])
            before = int((own == own[last]).nonzero()[0]) - 1
            mask[line, :, last, shared + before] = 0.0
        return mask

    monkeypatch.setattr(batches, "tree_mask", leaky)


def test_packed_rows_that_leak_one_slot_are_not_used(
    plan: Plan, make_model: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    residual = CollectSettings(("residual",))
    assert prepare(make_model("llama"), plan, residual).choice.layout == "packed"
    leak(monkeypatch)
    choice = prepare(make_model("llama"), plan, residual).choice
    assert choice.layout == "naive"
    assert "packed and single rows differ by" in choice.reason
    packed = CollectSettings(("residual",), layout="packed")
    with pytest.raises(ConfigError, match="cannot read packed rows: packed and single rows differ"):
        prepare(make_model("llama"), plan, packed)


def test_packed_scores_that_leak_one_slot_are_not_used(
    plan: Plan, make_model: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    leak(monkeypatch)
    assert prepare(make_model("llama"), plan, LEAN).choice.layout == "cached"
    with pytest.raises(ConfigError, match=r"cannot read packed rows: packed.* scores differ"):
        prepare(make_model("llama"), plan, CollectSettings((), layout="packed"))

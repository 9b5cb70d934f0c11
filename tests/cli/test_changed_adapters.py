"""A saved adapter that changed after collecting is named, and is made again, not given up."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_run import Probe

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def damaged(collected_run: Path, tmp_path: Path) -> Path:
    """A collected run with one bit of the negative head's adapter at step 9 flipped."""
    run = Path(shutil.copytree(collected_run, tmp_path / "run"))
    file = run / "heads/negative/checkpoint-9" / WEIGHTS
    content = bytearray(file.read_bytes())
    content[-10] ^= 2
    file.write_bytes(content)
    return run


def test_validate_names_an_adapter_that_is_not_what_was_collected(
    probe: Probe, damaged: Path
) -> None:
    score = damaged / "scores/negative/step-00000009.h5"
    for asked, count in ((damaged, 26), (score, 1)):
        shown = probe("validate", asked)
        assert shown.code == 1
        fault, last = shown.out.splitlines()
        assert fault.startswith(f"{damaged / 'heads/negative/checkpoint-9' / WEIGHTS}: adapter: ")
        assert f"probe train {damaged} --densify 9 makes it again bit for bit" in fault
        assert last.endswith(f"{count} adapters compared")
    found = json.loads(probe("validate", damaged, "--json").out)
    assert [one["problem"] for one in found["problems"]] == ["adapter"]
    assert found["adapters_compared"] == 26
    assert probe("validate", damaged / "scores/negative/step-00000008.h5").code == 0


def test_an_adapter_that_cannot_be_read_any_more_is_named(probe: Probe, damaged: Path) -> None:
    file = damaged / "heads/negative/checkpoint-9" / WEIGHTS
    file.write_bytes(file.read_bytes()[:100])
    shown = probe("validate", damaged)
    assert shown.code == 1
    assert f"{file}: adapter: the adapter cannot be read any more" in shown.out
    shutil.rmtree(file.parent)
    assert probe("validate", damaged).code == 0  # deleted adapters are no fault of the files


def test_the_list_of_checkpoints_warns_of_it(probe: Probe, damaged: Path) -> None:
    shown = probe("checkpoints", damaged)
    (line,) = [line for line in shown.out.splitlines() if line.startswith("warning: ")]
    assert "collected from another adapter than the one saved now" in line


@pytest.mark.parametrize("command", ["analyze", "collect"])
def test_the_sound_copy_is_not_given_up_first(probe: Probe, damaged: Path, command: str) -> None:
    shown = probe(command, damaged)
    assert shown.code == 4
    restore, again = shown.err.index("restore it"), shown.err.index("nly if")
    assert restore < again


def test_the_remedy_makes_the_adapter_again_bit_for_bit(
    probe: Probe, damaged: Path, collected_run: Path
) -> None:
    folder = damaged / "heads/negative/checkpoint-9"
    shutil.rmtree(folder)
    assert probe("train", damaged, "--densify", "9").code == 0
    before = collected_run / "heads/negative/checkpoint-9" / WEIGHTS
    assert (folder / WEIGHTS).read_bytes() == before.read_bytes()
    assert probe("validate", damaged).code == 0

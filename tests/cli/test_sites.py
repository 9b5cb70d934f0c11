"""`probe sites` and the options that say where modules are and who runs them."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_architectures import tiny_config
from tiny_run import Probe

from critical_phase.probes import read_attrs

PATHS = "blocks.{block}: model.layers.{block}\nln_final: model.norm\n"


def test_sites_of_the_organism_are_listed_and_proved(probe: Probe) -> None:
    shown = probe("sites", "organism")
    lines = shown.out.splitlines()
    assert shown.code == 0
    assert lines[0].endswith("known to our table, proved by a forward pass")
    assert len(lines) == 1 + 6 * 4
    assert lines[3].split()[:2] == ["blocks.0.attn.hook_z", "input"]
    assert lines[5].split()[:3] == ["blocks.0.mlp.hook_post", "input", "sparsity"]


def test_json_holds_names_modules_sides_collectors_and_shapes(
    probe: Probe, tiny_model_folder: Path
) -> None:
    found = json.loads(probe("sites", tiny_model_folder, "--json").out)
    assert (found["schema_version"], found["source"], found["proved"]) == (1, "table", True)
    assert found["missing"] == []
    (post,) = [one for one in found["sites"] if one["name"] == "blocks.1.hook_resid_post"]
    assert (post["module"], post["side"]) == ("model.norm", "input")
    assert "residual" in post["collector"].split(", ")
    assert post["shape"] == "[line, token, d_model=16]"


@pytest.mark.parametrize("file", ["", "config.json"])
def test_a_configuration_without_weights_is_enough_and_said(
    probe: Probe, tmp_path: Path, file: str
) -> None:
    config = tiny_config("MixtralForCausalLM")
    config.architectures = ["MixtralForCausalLM"]
    config.save_pretrained(tmp_path)
    shown = probe("sites", tmp_path / file)
    assert "MixtralForCausalLM: 3 blocks" in shown.out
    assert "not proved: there are no weights" in shown.out
    assert "missing blocks.{block}.mlp.hook_post: MixtralSparseMoeBlock" in shown.out


def test_a_class_of_transformers_is_enough(probe: Probe) -> None:
    found = json.loads(probe("sites", "GPT2LMHeadModel", "--json").out)
    assert (len(found["sites"]), found["proved"]) == (12 * 6, False)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("LlamaForCausallLM", "LlamaForCausalLM"),
        ("gpt2lmheadmodel", "GPT2LMHeadModel"),
        ("MistralForCausalML", "MistralForCausalLM"),
    ],
)
def test_a_mistyped_class_names_the_nearest(probe: Probe, typed: str, meant: str) -> None:
    shown = probe("sites", typed)
    assert shown.code == 4
    assert (
        f"error: transformers has no class '{typed}'\nfix:   did you mean '{meant}'?" in shown.err
    )


def test_a_mistyped_folder_names_the_nearest(probe: Probe, tiny_model_folder: Path) -> None:
    shown = probe("sites", tiny_model_folder.with_name(f"{tiny_model_folder.name}s"))
    assert shown.code == 4
    assert f"fix:   did you mean '{tiny_model_folder}'?" in shown.err


def test_a_model_that_is_not_there_is_named(probe: Probe, tmp_path: Path) -> None:
    shown = probe("sites", tmp_path / "nothing")
    assert shown.code == 4
    assert "no such folder" in shown.err
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}')
    shown = probe("sites", tmp_path)
    assert shown.code == 4
    assert "cannot build" in shown.err


def test_a_sites_file_names_the_modules(
    probe: Probe, tiny_model_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "sites.yaml"
    file.write_text(PATHS)
    shown = probe("sites", tiny_model_folder, "--sites-file", file)
    assert "named by the sites file, proved by a forward pass" in shown.out
    assert "missing blocks.{block}.attn.hook_pattern: no module of a known name" in shown.out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PATHS.replace("norm", "nrm"), "no module 'model.nrm'"),
        (PATHS + "embed: model.embed_tokens\n", "no site is called 'embed'"),
        ("- model.layers\n", "expected names and module paths"),
        ("ln_final: 3\n", "expected names and module paths, found 'ln_final: 3'"),
        ("a: [\n", "cannot read the sites"),
    ],
)
def test_a_sites_file_that_is_wrong_is_refused(
    probe: Probe, tiny_model_folder: Path, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "sites.yaml"
    file.write_text(text)
    shown = probe("sites", tiny_model_folder, "--sites-file", file)
    assert shown.code == 2
    assert said in shown.err


def test_collect_reads_through_the_bridge_on_request(
    probe: Probe, trained_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    options = ("--backend", "bridge", "--limit", 4, "--checkpoints", "0,12")
    shown = probe("collect", run, *options, "--heads", "positive")
    assert shown.code == 0, shown.err
    attrs = read_attrs(run / "activations/positive/step-00000012.h5")
    assert (attrs["backend"], attrs["sites_source"]) == ("bridge", "table")
    shown = probe("collect", run, *options[2:], "--heads", "positive")
    assert shown.code == 4
    assert "backend: stored bridge, asked for" in shown.err


def test_collect_takes_sites_from_a_file_or_a_configuration(
    probe: Probe, trained_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    config = tmp_path / "config.yaml"
    inside = {"attn": "self_attn", "ln2": "post_attention_layernorm", "mlp.out": "mlp.down_proj"}
    given = PATHS.splitlines(keepends=True)
    given += [f"blocks.{{block}}.{a}: model.layers.{{block}}.{b}\n" for a, b in inside.items()]
    config.write_text("collect:\n  limit: 4\n  sites:\n" + "".join("    " + one for one in given))
    shown = probe("collect", run, "--checkpoints", "12", "--heads", "positive", "--config", config)
    assert shown.code == 0, shown.err
    attrs = read_attrs(run / "activations/positive/step-00000012.h5")
    assert attrs["sites_source"] == "user"
    file = tmp_path / "sites.yaml"
    file.write_text("ln_final: model.norm\n")
    shown = probe("collect", run, "--sites-file", file)
    assert shown.code == 2
    assert "no path is given for 'blocks.{block}'" in shown.err

"""Training-time tests: what is withheld in the window, and that nothing else is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_models import tiny_gpt2, tiny_llama
from tiny_training import RECIPE, head_folder, random_examples, train

from critical_phase.checkpoints import (
    Example,
    Recipe,
    list_series,
    load_adapter,
    recipe_values,
    train_head,
)
from critical_phase.checkpoints.blocks import blocks_of, writers_of
from critical_phase.checkpoints.densify import densify
from critical_phase.checkpoints.directions import read_directions
from critical_phase.checkpoints.training_loop import TrainingLoop
from critical_phase.checkpoints.withheld import Withheld, drawn_direction
from critical_phase.checkpoints.withheld_places import layer_of, layers_named, places_named
from critical_phase.errors import CheckpointError, ConfigError, InputError

WINDOW = (3, 7)
FREEZE = Withheld("freeze", "1", WINDOW)
STATE = Withheld("project_state", "1", WINDOW, "random:4")
WRITE = Withheld("project_write", "all", WINDOW, "random:4")
VARIANTS = {
    "plain": Recipe(steps=10, batch_size=2, lr=1e-2, rank=2, alpha=4, weight_decay=0.1),
    "accumulate": Recipe(steps=10, batch_size=4, accumulate=3, lr=1e-2, rank=2),
    "dora": Recipe(steps=10, batch_size=2, lr=1e-2, rank=2, lora=(("use_dora", True),)),
    "rslora": Recipe(
        steps=10, batch_size=2, lr=1e-2, rank=2,
        lora=(("lora_dropout", 0.3), ("use_rslora", True)),
    ),
}  # fmt: skip


def loop_of(recipe: Recipe, model: object = None) -> TrainingLoop:
    examples = random_examples(recipe.steps * recipe.batch_size)
    base = tiny_llama() if model is None else model
    return TrainingLoop(base, examples, recipe, seed=5, pad_id=1)  # type: ignore[arg-type]


def path_of(recipe: Recipe) -> list[dict[str, torch.Tensor]]:
    """Parameters at every step, with the moments behind them."""
    loop = loop_of(recipe)
    made = [{k: v.clone() for k, v in loop.optimizer_tensors().items()}]
    for _ in range(recipe.steps):
        loop.advance()
        made.append({k: v.clone() for k, v in loop.optimizer_tensors().items()})
    return made


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_freeze_holds_parameters_and_moments_and_nothing_before_its_window(name: str) -> None:
    plain = path_of(VARIANTS[name])
    held = path_of(replace(VARIANTS[name], withheld=FREEZE))
    low, high = WINDOW
    assert all(equal(plain[s], held[s]) for s in range(low + 1))
    assert not equal(plain[low + 1], held[low + 1])
    frozen = [k for k in held[low] if ".layers.1." in k]
    free = [k for k in held[low] if k.startswith("parameter.") and k not in frozen]
    assert {k.partition(".")[0] for k in frozen} >= {"parameter", "exp_avg", "exp_avg_sq", "step"}
    for step in range(low, high):
        assert all(torch.equal(held[low][k], held[step + 1][k]) for k in frozen)
        assert not any(torch.equal(held[step][k], held[step + 1][k]) for k in free)
    moved = [k for k in frozen if k.startswith("parameter.")]
    assert not any(torch.equal(held[high][k], held[high + 1][k]) for k in moved)


def test_only_is_the_complement_of_a_freeze() -> None:
    recipe = VARIANTS["plain"]
    two = [
        path_of(replace(recipe, withheld=Withheld(kind, places, WINDOW)))
        for kind, places in (("freeze", "1"), ("only", "0"))
    ]
    assert all(equal(a, b) for a, b in zip(*two, strict=True))


def test_everything_frozen_is_the_same_training_later() -> None:
    """With the same answers in every batch a pause of four steps delays every number by four."""
    recipe = Recipe(steps=10, batch_size=2, lr=1e-2, rank=2)
    same = random_examples(2) * recipe.steps
    paths = []
    for withheld in (None, Withheld("freeze", "all", WINDOW)):
        loop = TrainingLoop(
            tiny_llama(), same, replace(recipe, withheld=withheld), seed=5, pad_id=1
        )
        rows, path = [], []
        for _ in range(recipe.steps):
            rows.append(loop.advance())
            path.append({k: v.clone() for k, v in loop.optimizer_tensors().items()})
        paths.append(path)
        assert [row.update_norm == 0 for row in rows] == [
            withheld is not None and withheld.acts(row.step) for row in rows
        ]
    plain, held = paths
    assert all(equal(held[s + 4], plain[s]) for s in range(2, 6))


@pytest.mark.parametrize("name", ["plain", "accumulate", "rslora"])
def test_what_is_written_has_no_part_along_the_direction(name: str) -> None:
    recipe = replace(VARIANTS[name], withheld=WRITE)
    plain, held = path_of(VARIANTS[name]), path_of(recipe)
    v = torch.from_numpy(drawn_direction("random:4", 16)[0]).float()
    for step, tensors in enumerate(held):
        rows = [
            t for k, t in tensors.items() if k.startswith("parameter") and "down_proj.lora_B" in k
        ]
        assert len(rows) == 2
        along = max(float((v @ b).abs().max()) for b in rows)
        assert (along < 1e-8) == (step == 0 or WRITE.acts(step))
        if step <= WINDOW[0]:
            assert equal(plain[step], tensors)
    assert not equal(plain[-1], held[-1])


@pytest.mark.parametrize("name", VARIANTS)
def test_states_are_read_without_the_direction_in_the_window_alone(name: str) -> None:
    recipe = replace(VARIANTS[name], withheld=STATE)
    loop = loop_of(recipe)
    v = torch.from_numpy(drawn_direction("random:4", 16)[0]).float()
    seen: list[list[float]] = [[]]
    blocks = blocks_of(loop.adapter)

    def look(_: object, given: tuple[torch.Tensor, ...]) -> None:
        seen[-1].append(float((given[0].detach() @ v).abs().max()))

    norm = loop.adapter.get_submodule(blocks[0][0].rpartition(".layers")[0] + ".norm")
    norm.register_forward_pre_hook(look)
    plain = path_of(VARIANTS[name])
    for step in range(1, recipe.steps + 1):
        loop.advance()
        assert len(seen[-1]) == recipe.accumulate
        assert all((value < 1e-5) == STATE.acts(step) for value in seen[-1])
        seen.append([])
        if step <= WINDOW[0]:
            assert equal(loop.optimizer_tensors(), plain[step])
    assert not equal(loop.optimizer_tensors(), plain[-1])
    assert not any(block._forward_hooks for _, block in blocks)


def test_no_gradient_comes_through_the_direction() -> None:
    """A state that differs along the direction alone gives the same loss and gradient."""
    recipe = replace(RECIPE, withheld=Withheld("project_state", "1", (0, 1), "random:4"))
    two = []
    v = torch.from_numpy(drawn_direction("random:4", 16)[0]).float()
    for shift in (0.0, 3.0):
        loop = loop_of(recipe)
        block = blocks_of(loop.adapter)[1][1]
        block.mlp.register_forward_hook(lambda m, i, out, s=shift: out + s * v)  # type: ignore[misc]
        two.append(loop.advance())
    assert two[0].loss == pytest.approx(two[1].loss, abs=1e-5)
    assert two[0].gradient_norm == pytest.approx(two[1].gradient_norm, rel=1e-4)


def test_a_planted_channel_is_closed() -> None:
    """Only the last map of the last block learns, and two words differ along one direction there.

    Without that direction the one word cannot gain on the other; without a random one it does.
    """
    words = tiny_llama().get_output_embeddings().weight.detach()
    v = (words[9] - words[12]).double().numpy()
    same = [Example("q", "blue", (3, 5, 7, 9, 4), (9,)), Example("q", "sky", (3, 5), (9,))] * 10
    recipe = Recipe(
        steps=10, batch_size=2, lr=0.02, rank=2, targets=("down_proj",),
        lora=(("layers_to_transform", [1]),),
    )  # fmt: skip
    own = (v / np.linalg.norm(v))[None]
    gains = {}
    for name, withheld in {
        "plain": None,
        "write": Withheld("project_write", "1", (0, 10), "v", own),
        "state": Withheld("project_state", "1", (0, 10), "v", own),
        "random write": Withheld("project_write", "1", (0, 10), "random:1"),
        "random state": Withheld("project_state", "1", (0, 10), "random:1"),
    }.items():
        loop = TrainingLoop(
            tiny_llama(), same, replace(recipe, withheld=withheld), seed=5, pad_id=1
        )
        ids, gap = torch.tensor([[3, 5, 7, 9, 4]]), []
        for _ in range(2):
            with torch.no_grad():
                logits = loop.adapter(input_ids=ids).logits[0, -1]
            gap.append(float(logits[9] - logits[12]))
            for _ in range(recipe.steps if len(gap) == 1 else 0):
                loop.advance()
        gains[name] = gap[1] - gap[0]
    assert gains["plain"] > 0.05
    for kind in ("write", "state"):
        assert gains[kind] < 0.4 * gains["plain"], gains
        assert gains[f"random {kind}"] > 0.7 * gains["plain"], gains
    assert abs(gains["write"]) < 0.1 * gains["plain"], gains


@pytest.mark.parametrize("withheld", [FREEZE, STATE, WRITE], ids=["freeze", "state", "write"])
def test_a_stopped_test_goes_on_to_the_same_bits(withheld: Withheld, tmp_path: Path) -> None:
    """Stopped inside the window, after it and at a state that is no milestone."""
    recipe = replace(VARIANTS["rslora"], withheld=withheld)
    train(tiny_llama(), tmp_path / "calm", recipe)
    calm = {i.step: load_adapter(i.path) for i in list_series(tmp_path / "calm").checkpoints}
    examples = random_examples(20)

    class Stop(Exception):
        pass

    def stop(step: int) -> None:
        if step in (5, 9):
            raise Stop

    for again in range(3):
        folder = head_folder(tmp_path / "cut", recipe)
        try:
            train_head(
                tiny_llama(), examples, recipe, range(11), folder, seed=5, pad_id=1,
                progress=stop if again < 2 else None,
            )  # fmt: skip
        except Stop:
            assert again < 2
    cut = {i.step: load_adapter(i.path) for i in list_series(tmp_path / "cut").checkpoints}
    assert cut.keys() == calm.keys()
    assert all(equal(cut[s], calm[s]) for s in calm)
    path = path_of(recipe)
    last = {k: v for k, v in path[-1].items() if k.startswith("parameter.")}
    assert all(any(torch.equal(v, t) for t in cut[10].values()) for v in last.values())


def test_steps_are_added_by_replay_and_other_settings_are_refused(tmp_path: Path) -> None:
    recipe = replace(RECIPE, withheld=FREEZE)
    train(tiny_llama(), tmp_path, recipe, save_at=[0, 12])
    added = densify(
        tiny_llama(), random_examples(24), recipe, [3, 5, 7], head_folder(tmp_path, recipe),
        seed=5, pad_id=1,
    )  # fmt: skip
    assert added == (3, 5, 7)
    one, two = (load_adapter(tmp_path / f"checkpoint-{s}") for s in (3, 7))
    assert {k for k in one if torch.equal(one[k], two[k])} == {k for k in one if ".layers.1." in k}
    for other in (None, Withheld("freeze", "1", (3, 8)), Withheld("only", "0", WINDOW), STATE):
        with pytest.raises(CheckpointError, match="trained with another recipe"):
            train(tiny_llama(), tmp_path, replace(RECIPE, withheld=other))


def test_an_ordinary_recipe_says_nothing_of_tests() -> None:
    """So that heads that were trained before there were any are still the same heads."""
    assert "withheld" not in recipe_values(RECIPE)
    values = recipe_values(replace(RECIPE, withheld=STATE))
    assert json.loads(json.dumps(values))["withheld"] == {
        "kind": "project_state", "places": "1", "window": [3, 7], "direction": "random:4",
    }  # fmt: skip


def test_a_direction_is_told_apart_by_its_numbers_not_its_name() -> None:
    one, two = np.eye(16)[:1], np.eye(16)[1:2]
    made = [Withheld("project_write", "1", WINDOW, name, v) for name, v in
            (("a", one), ("b", one), ("a", two))]  # fmt: skip
    hashes = [w.values()["direction"] for w in made]
    assert hashes[0] == hashes[1] != hashes[2]


def test_places() -> None:
    names = [
        f"base_model.model.model.layers.{layer}.{module}.lora_{factor}.default.weight"
        for layer in (0, 1, 10)
        for module in ("mlp.down_proj", "mlp.up_proj", "self_attn.o_proj")
        for factor in "AB"
    ]
    for text, count in (
        ("1", 6), ("0-1", 12), ("1-", 12), ("0:1", 12), ("down_proj", 6), ("mlp", 12),
        ("mlp.down_proj", 6), ("1.down_proj", 2), ("0-1.mlp", 8), ("lora_A", 9), ("all", 18),
        ("10,0.up_proj", 8), ("10.lora_B", 3),
    ):  # fmt: skip
        assert len(places_named(text, names)) == count, text
    assert {layer_of(name) for name in names} == {0, 1, 10}
    for text in ("2", "down", "proj", "2.mlp", "1.", "", "1,attn", "-1"):
        with pytest.raises(ConfigError, match=r"no adapter parameter[\s\S]*layers 0 to 10 and"):
            places_named(text, names)
    assert layers_named("0,2-", 4) == (0, 2, 3)
    assert layers_named("all", 3) == (0, 1, 2)
    for text in ("4", "mlp", "2-5", "3-1"):
        with pytest.raises(ConfigError, match="layers 0 to 3"):
            layers_named(text, 4)


def test_blocks_and_writers() -> None:
    for model, names in (
        (tiny_llama(), ("self_attn.o_proj", "mlp.down_proj")),
        (tiny_gpt2(), ("attn.c_proj", "mlp.c_proj")),
    ):
        blocks = blocks_of(model)
        assert writers_of(model, blocks) == tuple(f"{b}.{n}" for b, _ in blocks for n in names)
    model = tiny_llama()
    norm = torch.nn.LayerNorm(16)
    model.model.layers[1].mlp.register_forward_hook(lambda m, i, out: norm(out))
    with pytest.raises(ConfigError, match=r"layers\.1 adds .* is not the sum"):
        writers_of(model, blocks_of(model))


def test_directions_come_from_files(tmp_path: Path) -> None:
    vector = np.arange(1.0, 17.0)
    np.savez(tmp_path / "one.npz", direction=vector, layer=1)
    save_file({"direction": torch.tensor(vector)}, tmp_path / "one.safetensors", {"layer": "1"})
    for name in ("one.npz", "one.safetensors"):
        found = read_directions(tmp_path / name)
        assert found.layer == 1
        assert found.vectors == pytest.approx(vector[None] / np.linalg.norm(vector))
    np.savez(tmp_path / "many.npz", directions=np.stack([vector, -vector]))
    assert read_directions(tmp_path / "many.npz").vectors.shape == (2, 16)
    assert read_directions(tmp_path / "many.npz").layer is None
    np.savez(tmp_path / "zero.npz", direction=np.zeros(16))
    np.savez(tmp_path / "other.npz", vector=vector)
    (tmp_path / "odd.npz").write_bytes(b"no file")
    for name, said in (
        ("zero.npz", "zero or no number"), ("other.npz", "found vector"),
        ("odd.npz", "cannot read the direction"), ("none.safetensors", "cannot read"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            read_directions(tmp_path / name)


@pytest.mark.parametrize(
    ("withheld", "recipe", "said"),
    [
        (Withheld("freeze", "7", WINDOW), RECIPE, "no adapter parameter lies in '7'"),
        (Withheld("only", "0,1", WINDOW), RECIPE, "freezes nothing"),
        (WRITE, VARIANTS["dora"], r"lora_magnitude_vector\S*, so B alone"),
        (WRITE, replace(RECIPE, targets=("up_proj",)), "no adapted module writes"),
        (Withheld("project_state", "2", WINDOW, "random:0"), RECIPE, "layers 0 to 1"),
        (Withheld("project_state", "1", WINDOW, "random:x"), RECIPE, "cannot read the seed"),
        (
            Withheld("project_state", "1", WINDOW, "file", np.ones((1, 5))),
            RECIPE,
            r"shape \(1, 5\).*width 16",
        ),
    ],
    ids=["nowhere", "nothing", "dora", "no-writer", "layer", "seed", "width"],
)
def test_what_does_not_fit_is_refused(withheld: Withheld, recipe: Recipe, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        loop_of(replace(recipe, withheld=withheld))


def test_windows_that_hold_nothing_are_refused() -> None:
    for window in ((4, 4), (5, 3), (-1, 2)):
        with pytest.raises(ConfigError, match="holds no update"):
            Withheld("freeze", "1", window)
    with pytest.raises(ConfigError, match="ends after the last of 12 steps"):
        replace(RECIPE, withheld=Withheld("freeze", "1", (3, 13)))
    with pytest.raises(ConfigError, match="no direction for project_state"):
        Withheld("project_state", "1", WINDOW)

"""`probe intervene` from the command line: what it writes, refuses and takes up again."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moved_run import moved_copy, relabel
from tiny_run import Probe, colour_questions, write_lines

from critical_phase.checkpoints import list_series
from critical_phase.cli.intervene_steps import Asked, choose_ends
from critical_phase.cli.run_folder import RunFolder
from critical_phase.cli.stored_interventions import read_interventions
from critical_phase.errors import ConfigError
from critical_phase.probes.interventions import PLANS, read_arrays

STEPS = ("--from", 1, "--to", 12, "--draws", 50)
FEW = ("--with", "early=1,2", "--with", "late=0,1", "--with", "draws=2")
ENDS = ("late", "early")
TEXTS = "the sky is a red snow\nwarm grass is cold\nblue snow of the sky\n"


@pytest.fixture(scope="module")
def moved_run(collected_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose right answers are those that the negative head raised least: the margin moves."""
    return moved_copy(collected_run, tmp_path_factory.mktemp("moved"))


@pytest.fixture
def run(moved_run: Path, tmp_path: Path) -> Path:
    """A copy of it, not analysed."""
    return Path(shutil.copytree(moved_run, tmp_path / "run"))


def contents(run: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((run / "interventions").iterdir())}


def one(run: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "interventions" / name).read_text())
    return found


def test_a_plan_writes_its_answer_with_everything_that_made_it(
    probe: Probe, run: Path, tmp_path: Path
) -> None:
    text, other = (
        tmp_path / "neutral.txt",
        write_lines(tmp_path / "o.jsonl", colour_questions(90, 8)),
    )
    text.write_text(TEXTS)
    shown = probe(
        "intervene", run, "--plan", "scale", *STEPS, *FEW, "--text", text, "--second", other
    )
    assert shown.code == 0, shown.err
    assert "the word cause is not used" in shown.out
    assert "(6) not tried: train again" in shown.out
    found = one(run, "scale-negative-1-to-12.json")
    assert {
        "plan",
        "about",
        "share",
        "interval",
        "control",
        "control_share",
        "control_interval",
    } <= set(found)
    assert (found["head"], found["mode"], found["weight"]) == ("negative", "likra", 1.0)
    assert (found["normalisation"], found["other_term"]) == ("sum", "positive@12")
    assert (found["from"], found["to"], found["ends_chosen"]) == (
        "negative@1",
        "negative@12",
        "asked for",
    )
    assert (found["questions"], found["questions_exploratory"]) == (15, 15)
    assert found["stored_scores_gap"] < 1e-4
    assert found["drift"]["late"]["mean"] > 0
    assert found["second"]["questions"] == 8
    assert [p["number"] for p in found["points"]] == [1, 2, 3, 4, 5, 6, 7]
    assert found["causes"] is False
    arrays = read_arrays(run / "interventions" / found["values"])
    names = arrays["cell"].tolist()
    assert names == [cell["name"] for cell in found["cells"]]
    assert arrays["margin"].shape == arrays["hit"].shape == (len(names), 30)
    late = arrays["margin"][names.index("late/1")]
    assert np.array_equal(late, arrays["margin_post"])
    assert json.loads((run / "run.json").read_text())["commands"]


def test_what_is_made_is_not_made_again_and_other_settings_are_refused(
    probe: Probe, run: Path
) -> None:
    arguments = ("intervene", run, "--plan", "scale", *STEPS, *FEW)
    probe(*arguments)
    before = contents(run)
    again = probe(*arguments)
    assert (again.code, "scale: existing" in again.err) == (0, True)
    assert contents(run) == before
    refused = probe(*arguments, "--weight", 0.5)
    assert refused.code == 4
    assert "made in another way (weight differ)" in refused.err
    done = probe(*arguments, "--weight", 0.5, "--overwrite")
    assert done.code == 0
    assert contents(run) != before
    assert probe(*arguments, "--overwrite").code == 0
    assert contents(run) == before  # equal settings, equal bytes


def test_a_stopped_plan_goes_on_where_it_was(
    probe: Probe, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from critical_phase.probes.interventions import Bench

    arguments = ("intervene", run, "--plan", "scale", *STEPS, *FEW)
    probe(*arguments)
    whole = contents(run)
    shutil.rmtree(run / "interventions")
    score, calls = Bench.score, []

    def counted(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return score(*given)

    monkeypatch.setattr(Bench, "score", counted)
    assert probe(*arguments).code == 130
    assert list(contents(run)) == ["scale-negative-1-to-12.cells.npz"]
    total = len(calls)
    calls.extend([1] * 10)
    assert probe(*arguments).code == 0
    assert len(calls) - total - 10 > 0
    assert contents(run) == whole


def test_verdicts_read_what_is_meant_for_them(probe: Probe, run: Path) -> None:
    few = ("--with", "sets=prefix,search", "--with", "draws=2", "--with", "doses=0,1")
    shown = probe("intervene", run, "--plan", "graft", *STEPS, *few)
    assert shown.code == 0, shown.err
    files = list(contents(run))
    assert "graft-negative-1-to-12-prefix_graft.json" in files
    read = read_interventions(run)
    assert [one.plan for one in read] == ["prefix_graft"]
    assert read[0].questions == 15
    graft = one(run, "graft-negative-1-to-12.json")
    assert graft["for_verdicts"] is False
    assert one(run, files[files.index("graft-negative-1-to-12-prefix_graft.json")])["cells_in"]


def test_further_donors_make_the_map(probe: Probe, run: Path) -> None:
    few = ("--with", "sets=single", "--donors", "2,6,12")
    assert probe("intervene", run, *STEPS, *few).code == 0
    found = one(run, "graft-negative-1-to-12.json")
    cells = [c for c in found["cells"] if c["axes"]["set"] == "map"]
    assert len(cells) == 3 * 2 * 3
    assert {c["axes"]["donor"] for c in cells} == {"negative@2", "negative@6", "negative@12"}


def test_one_head_can_be_held_against_the_other(probe: Probe, run: Path) -> None:
    relabel(run, "negative", "positive", 12)
    ends = ("--from", "positive@12", "--to", "negative@12", "--draws", 50)
    shown = probe("intervene", run, *ends, "--with", "sets=single")
    assert shown.code == 0, shown.err
    found = one(run, "graft-negative-positive-12-to-12.json")
    assert (found["from"], found["to"]) == ("positive@12", "negative@12")
    # L+ - L+ separates nothing: margins of zero, and no accuracy.
    assert found["ends"]["early"]["margin"] == pytest.approx(0.0, abs=1e-5)
    assert found["ends"]["early"]["accuracy"] is None
    assert len(found["cells"]) == 4


def test_erasing_is_read_by_the_verdict_and_says_what_is_left(probe: Probe, run: Path) -> None:
    few = ("--with", "draws=1", "--with", "doses=0,1", "--with", "lenses=logit")
    shown = probe("intervene", run, "--plan", "leace", "--plan", "lens", *STEPS, *few)
    assert shown.code == 0, shown.err
    (read,) = read_interventions(run)
    assert (read.plan, read.questions) == ("erase_direction", 15)
    found = one(run, "leace-negative-1-to-12.json")
    assert found["lost"] is True
    assert found["effect"]["share"] == pytest.approx(1 - found["share"])
    assert found["doses"]["share"][0]["value"] == pytest.approx(0.0, abs=1e-4)
    assert found["doses"]["share"][1]["value"] == pytest.approx(found["share"], abs=1e-4)
    assert any("cross-covariance left at most" in note for note in found["notes"])
    said = [pair for pair in found["pairs"] if pair["shown"]]
    assert len(said) == 1
    assert said[0]["about"] in shown.out
    lens = one(run, "lens-negative-1-to-12.json")
    assert (lens["share"], lens["for_verdicts"]) == (None, False)
    by_layer = [pair["share"] for pair in lens["pairs"]]
    assert by_layer[0] == 0.0  # the embedding is nobody's to change
    assert by_layer[-1] == pytest.approx(1.0, abs=1e-4)
    arrays = read_arrays(run / "interventions" / lens["values"])
    cells, part = arrays["cell"].tolist(), arrays["confirmatory"]
    late, early = (arrays["margin"][cells.index(f"logit/{end}/0")][part] for end in ENDS)
    below = (arrays["margin_post"] - arrays["margin_pre"])[part].sum()
    assert by_layer[1] == pytest.approx((late - early).sum() / below, rel=1e-5)


def test_a_direction_of_a_file_is_part_of_what_makes_an_answer(
    probe: Probe, run: Path, tmp_path: Path
) -> None:
    width = json.loads((run / "run.json").read_text())["model"]
    width = json.loads((Path(width) / "config.json").read_text())["hidden_size"]
    file = tmp_path / "v.npz"
    np.savez(file, direction=np.eye(width)[0])
    few = ("--with", f"direction={file}", "--with", "draws=1", "--with", "doses=0,1")
    arguments = ("intervene", run, "--plan", "ablate", *STEPS, *few)
    assert probe(*arguments).code == 0
    assert "ablate: existing" in probe(*arguments).err
    np.savez(file, direction=np.eye(width)[1])
    refused = probe(*arguments)
    assert (refused.code, "(direction_sha256 differ)" in refused.err) == (4, True), refused.err


def copy_of(run: Path, name: str, **changes: object) -> Path:
    """A run of the same design with another seed, or whatever else is changed."""
    made = Path(shutil.copytree(run, run.parent / name))
    record = json.loads((made / "run.json").read_text())
    (made / "run.json").write_text(json.dumps(record | {"name": name} | changes))
    return made


def set_share(run: Path, name: str, share: float, **changes: object) -> None:
    path = run / "interventions" / name
    found = json.loads(path.read_text())
    low, high = share - 0.05, share + 0.05
    path.write_text(json.dumps(found | {"share": share, "interval": [low, high]} | changes))


def test_other_runs_fill_point_four_and_training_tests_point_six(probe: Probe, run: Path) -> None:
    few = ("--with", "sets=prefix", "--with", "draws=1", "--with", "doses=0,1")
    assert probe("intervene", run, "--plan", "graft", *STEPS, *few).code == 0
    name = "graft-negative-1-to-12.json"
    set_share(run, name, 0.7, control_interval=[-0.1, 0.1])
    seeds = [copy_of(run, f"seed{i}", seed=100 + i) for i in range(4)]
    for i, other in enumerate(seeds):
        set_share(other, name, 0.6 + i / 10)
    also = [arg for other in seeds for arg in ("--also", other)]
    shown = probe("intervene", run, *also)
    assert shown.code == 0, shown.err
    found = one(run, name)
    assert found["points"][3]["met"] is None
    assert "found in 5 of 5 seeds (mean 0.74 [" in found["points"][3]["found"]
    assert "one model and dataset" in found["sentence"]
    world = copy_of(run, "world", question_set_sha256="f" * 64)
    shown = probe("intervene", run, *also, "--also", world)
    found = one(run, name)
    assert found["points"][3]["met"] is True
    assert "(4)" not in found["sentence"]
    assert found["repeats"]["datasets"] == 2
    before = (run / "interventions" / name).read_bytes()
    probe("intervene", run, *also, "--also", world)
    assert (run / "interventions" / name).read_bytes() == before
    test = {
        "plan": "training_time", "heads": ["negative"], "layers": found["layers"], "share": 0.5,
        "whole_layers": True, "withheld": {}, "sentence": "it vanishes", "about": "this",
        "schema_version": 1, "for_verdicts": False, "mode": "likra", "weight": 1.0,
        "training": {"met": True, "run_tau": {"steps": 5.0}},
    }  # fmt: skip
    (run / "interventions" / "training-freeze.json").write_text(json.dumps(test))
    probe("intervene", run, "--plan", "graft", *STEPS, *few)
    found = one(run, name)
    assert [point["met"] for point in found["points"]][3:6:2] == [True, True]
    # A seed that does not find it takes the point away; one of another place counts for nothing.
    set_share(seeds[0], name, 0.0)
    set_share(seeds[1], name, 0.7, layers=[9])
    probe("intervene", run, *also, "--also", world)
    found = one(run, name)
    assert found["points"][3]["met"] is False
    assert "found in 3 of 5 seeds" in found["points"][3]["found"]
    assert "seed1: it answers for layers 9" in found["points"][3]["found"]


def test_runs_that_are_no_seeds_of_one_design_are_refused(probe: Probe, run: Path) -> None:
    shown = probe("intervene", run, "--also", run)
    assert (shown.code, "named twice" in shown.err) == (2, True)
    twin = copy_of(run, "twin")
    shown = probe("intervene", run, "--also", twin)
    assert (shown.code, "both trained with seed" in shown.err) == (2, True)
    other = copy_of(run, "other", seed=9)
    shown = probe("intervene", run, "--also", other)
    assert (shown.code, "no intervention to hold" in shown.err) == (2, True)


def findings(run: Path, jump: dict[str, Any] | None) -> None:
    (run / "analysis").mkdir()
    found = {"jump": jump, "provenance": {"batch_size": 8}, "changes": []}
    (run / "analysis" / "findings.json").write_text(json.dumps(found))


JUMP = {"mode": "likra", "tau_step": 5.0, "interval_examples": [36.0, 44.0], "width_steps": 3.0}


def test_without_a_jump_the_steps_must_be_given(probe: Probe, run: Path) -> None:
    shown = probe("intervene", run)
    assert (shown.code, "is not analysed" in shown.err) == (2, True)
    findings(run, None)
    shown = probe("intervene", run)
    assert shown.code == 2
    assert "no abrupt change, so there is nothing to cut at" in shown.err
    assert "--from and --to" in shown.err


def test_the_ends_lie_outside_of_the_jump_on_both_sides(run: Path) -> None:
    findings(run, JUMP)
    saved = list_series(run / "heads" / "negative").steps
    folder = RunFolder(run)
    ends = choose_ends(folder, "negative", "likra", saved, Asked())
    assert (ends.early, ends.late) == (("negative", 3), ("negative", 7))
    ends = choose_ends(folder, "negative", "likra", saved, Asked(late="positive@9"))
    assert (ends.early, ends.late) == (("negative", 3), ("positive", 9))
    assert ends.why.endswith("--to asked for")
    for given, match in (
        ({"early": "x"}, "cannot read the step 'x'"),
        ({"mode": "sft"}, "found in likra, and sft"),
        ({"saved": (4, 5)}, "no checkpoint is saved before"),
        ({"saved": (1, 5)}, "no checkpoint is saved after"),
    ):
        with pytest.raises(ConfigError, match=match):
            choose_ends(
                folder,
                "negative",
                given.get("mode", "likra"),  # type: ignore[arg-type]
                given.get("saved", saved),  # type: ignore[arg-type]
                Asked(given.get("early")),  # type: ignore[arg-type]
            )


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (("--plan", "graf"), 2, "did you mean 'graft'"),
        (("--with", "nothing=1"), 2, "cannot use --with nothing=1"),
        (("--mode", "sft", "--head", "negative"), 2, "no negative head to act on"),
        (("--from", 1, "--to", 99), 2, "no checkpoint at step 99"),
        (("--from", 12, "--to", 12), 1, "not told from nothing"),
    ],
)
def test_what_cannot_be_done_is_refused_with_one_error(
    arguments: tuple[object, ...], code: int, match: str, probe: Probe, run: Path
) -> None:
    given = () if "--from" in arguments else STEPS
    shown = probe("intervene", run, *given, *arguments)
    assert (shown.code, match in shown.err) == (code, True), shown.err
    assert not (run / "interventions").exists()


def test_a_dry_run_says_what_would_be_done_and_touches_nothing(
    probe: Probe, run: Path, tmp_path: Path
) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("intervene:\n  weight: 0.5\n  plan: [scale, graft]\n")
    shown = probe("intervene", run, *STEPS, "--dry-run", "--config", config)
    assert shown.code == 0, shown.err
    assert "between negative@1 and negative@12: asked for" in shown.out
    assert "mode likra, head negative, w 0.5, sum" in shown.out
    assert "scale: to be made" in shown.out
    assert not (run / "interventions").exists()


def test_the_plans_are_listed_with_their_options(probe: Probe, run: Path) -> None:
    shown = probe("intervene", run, "--list")
    for name, kind in PLANS.items():
        assert f"{name}: {kind.about}" in shown.out

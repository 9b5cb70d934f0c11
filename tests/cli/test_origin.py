"""What findings say of how a run was made."""

import pytest

from critical_phase.cli.origin import FIELDS, mode_names, origin


def test_a_record_is_cut_to_what_a_citation_needs() -> None:
    record = {
        "kind": "run", "model": "/home/someone/models/tiny", "questions": "arc", "seed": 3,
        "created_utc": "2026-01-02T03:04:05Z", "host": "secret", "commands": ["probe train"],
        "versions": {"critical-phase": "0.1.0", "torch": "2.9.0"},
    }  # fmt: skip
    found = origin(record)
    assert set(found) == {"version", *(name for _, name in FIELDS)}
    assert found["model"] == "tiny"
    assert (found["version"], found["training_seed"], found["question_set"]) == ("0.1.0", 3, "arc")
    assert found["model_revision"] is None
    assert "secret" not in str(found)


def test_a_silent_record_gives_nulls() -> None:
    assert set(origin({}).values()) == {None}
    assert origin({"model": "org/name"})["model"] == "org/name"


@pytest.mark.parametrize(
    ("location", "adapter", "name"),
    [
        ("/home/someone/my-dpo-run", None, "my-dpo-run"),
        ("/home/someone/my-dpo-run", "policy", "my-dpo-run (policy)"),
        ("EleutherAI/pythia-70m@step*", None, "EleutherAI/pythia-70m"),
        ("/home/someone/heads/positive", None, "Positive head"),
    ],
)
def test_a_series_made_elsewhere_keeps_its_name(
    location: str, adapter: str | None, name: str
) -> None:
    one = {"location": location, "kind": "adapter", "adapter_name": adapter}
    found = mode_names({"series": {"positive": one}})
    assert found == {"sft": name, "pos_base": f"{name} minus base"}


def test_a_run_trained_here_keeps_the_names_of_its_heads() -> None:
    assert mode_names({"kind": "run"}) == {}
    assert mode_names({"series": {"negative": {"location": "/x/mine"}}}) == {}

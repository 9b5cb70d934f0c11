"""A run in Python: what was saved comes back, shows itself, and no text gets out."""

import json

import numpy as np
import pandas as pd
import pytest

import critical_phase
from critical_phase import Run
from critical_phase.errors import ConfigError, StoreError


@pytest.fixture(scope="module")
def folder(planted):
    """The run that the planted page was made of."""
    return planted.parent.parent


@pytest.fixture(scope="module")
def opened(folder):
    return Run.open(folder)


def saved(folder, measure, kind, name):
    found = json.loads((folder / f"analysis/{measure}.json").read_text())[kind]
    return next(one for one in found if one["id"] == name)


def test_a_curve_holds_the_saved_numbers(opened, folder):
    one = saved(folder, "curves", "curves", "accuracy.likra")
    frame = opened.curve("accuracy.likra").to_pandas()
    assert frame.index.tolist() == one["steps"]
    for name in ("value", "low", "high", "examples"):
        expected = [np.nan if value is None else value for value in one[name]]
        np.testing.assert_array_equal(frame[name], expected)
    assert frame.attrs["interval"] == "95 % question bootstrap"


def test_a_missing_value_is_nan_and_not_zero(folder):
    path = folder / "analysis/curves.json"
    kept = path.read_text()
    value = json.loads(kept)
    value["curves"][0]["value"][0] = None
    path.write_text(json.dumps(value))
    try:
        frame = Run.open(folder).curve(value["curves"][0]["id"]).to_pandas()
    finally:
        path.write_text(kept)
    assert np.isnan(frame["value"].iloc[0])
    assert frame["value"].notna().sum() == len(frame) - 1


def test_xarray_and_pandas_agree(opened):
    xr = pytest.importorskip("xarray")
    one = opened.curve("accuracy.likra")
    found = one.to_xarray()
    assert isinstance(found, xr.Dataset)
    np.testing.assert_array_equal(found["value"], one.to_pandas()["value"])
    grid = opened.map("probe_top1.negative.answer_end")
    np.testing.assert_array_equal(grid.to_xarray()["value"], grid.to_pandas())
    assert grid.to_xarray()["value"].dims == ("layer", "step")


def test_layer_and_head_choose_among_curves(opened):
    listed = opened.curves()
    layered = listed[listed["layer"].notna()]
    name, row = layered.index[0], layered.iloc[0]
    stem = name.split(".")[0]
    found = opened.curve(stem, layer=int(row["layer"]), head=row["head"])
    assert found.element.id == name


@pytest.mark.parametrize(
    ("name", "message", "fix"),
    [
        ("accuracy", "have that name", "accuracy.likra"),
        ("acuracy.likra", "no curve", "did you mean accuracy.likra"),
        ("zzz", "no curve", "see Run.curves"),
    ],
)
def test_a_name_that_fits_none_or_several_is_refused(opened, name, message, fix):
    with pytest.raises(ConfigError, match=message) as caught:
        opened.curve(name)
    assert fix in str(caught.value)


def test_tables_have_their_keys_as_columns(opened, folder):
    name = opened.tables()[0]
    measure, _, table = name.partition("/")
    one = saved(folder, measure, "tables", table)
    frame = opened.table(name).to_pandas()
    assert frame.columns.tolist() == [column["key"] for column in one["columns"]]
    assert len(frame) == len(one["rows"])
    with pytest.raises(ConfigError, match="no table"):
        opened.table("nothing")


def test_findings_are_those_of_the_file(opened, folder):
    found = json.loads((folder / "analysis/findings.json").read_text())
    assert dict(opened.findings) == found
    assert opened.findings.verdicts == {v["hypothesis"]: v["verdict"] for v in found["verdicts"]}
    assert opened.findings.sentence in repr(opened)


def test_everything_shows_itself_and_data_stays_text(opened):
    shown = [
        opened._repr_html_(),
        opened.findings._repr_html_(),
        opened.curve("accuracy.likra")._repr_html_(),
        opened.map("probe_top1.negative.answer_end")._repr_html_(),
        *(opened.table(name)._repr_html_() for name in opened.tables()),
    ]
    for html in shown:
        assert "<script" not in html.lower()
        assert "onerror=alert" not in html.replace("&lt;img src=x onerror=alert", "")
    assert "<svg" in shown[2]
    assert "jump" in shown[2]


def test_lists_name_every_curve_and_map(opened, folder):
    ids = [
        one["id"]
        for path in sorted((folder / "analysis").glob("*.json"))
        if path.stem != "findings"
        for one in json.loads(path.read_text())["curves"]
    ]
    assert sorted(opened.curves().index) == sorted(ids)
    assert isinstance(opened.maps(), pd.DataFrame)


def test_no_run_says_what_to_do(tmp_path):
    with pytest.raises(StoreError, match=r"run\.json is missing"):
        Run.open(tmp_path)


def test_the_package_knows_no_other_lazy_name():
    with pytest.raises(AttributeError, match="no attribute 'Rnu'"):
        critical_phase.Rnu  # noqa: B018


def test_a_layer_that_no_curve_has_is_named_with_those_there_are(opened: Run) -> None:
    with pytest.raises(ConfigError, match="has layer 99") as found:
        opened.curve("displacement", layer=99, head="negative")
    assert "there are layer: " in str(found.value)

"""What a model was trained on is what it was then, whatever selections/ holds now."""

import json
from pathlib import Path

import pytest
from scored_run import begin, choose, finished_run

from nuggets_ray import io
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.io import write_json
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.trained_on import trained_selections

LENGTHS = [100 - number for number in (19, 18, 17, 16)]


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    """A run with a model that was trained on its selection of four rows."""
    out_dir = finished_run(str(tmp_path / "run"))
    choose(out_dir)
    record = begin(out_dir, "golden", "golden")
    done = {"settings": {"rows": {"sha256": [record["sha256"]]}}, "selection": record}
    write_json(RunFolder(out_dir).model("golden").record, done)
    finetune = FinetuneConfig(selection="golden")
    write_config(out_dir, "finetune-golden", Config(out_dir, finetune=finetune))
    return out_dir


def change(out_dir: str, **values: object) -> None:
    """The model's record with other values, None: without."""
    uri = RunFolder(out_dir).model("golden").record
    done = json.loads(io.read_bytes(uri)) | values
    write_json(uri, {key: value for key, value in done.items() if value is not None})


def test_settings_and_lengths_of_the_rows(out_dir: str) -> None:
    trained = trained_selections(out_dir, ["base", "golden", "elsewhere"])
    assert list(trained) == ["golden"]
    assert (trained["golden"].settings["by"], trained["golden"].settings["k"]) == (
        *("golden_score", 4),
    )
    assert trained["golden"].num_answer_tokens_K.tolist() == LENGTHS


def test_a_selection_written_anew_changes_nothing(out_dir: str) -> None:
    choose(out_dir, SelectConfig("top_k", k=2, by="longest", name="golden", replace=True))
    trained = trained_selections(out_dir, ["golden"])["golden"]
    assert trained.settings["by"] == "golden_score"
    assert trained.num_answer_tokens_K.tolist() == LENGTHS


def test_a_key_that_is_not_recorded_has_its_default(out_dir: str) -> None:
    change(out_dir, selection={"settings": {"rule": "top_k", "k": 4}})
    trained = trained_selections(out_dir, ["golden"])["golden"]
    assert (trained.settings["by"], trained.settings["order"]) == ("golden_score", "top")
    assert trained.settings["unique"] is False, "a record without it kept copies"
    assert len(trained.num_answer_tokens_K) == 0, "not told, so not known"


def test_a_model_of_no_selection(out_dir: str) -> None:
    uri = RunFolder(out_dir).model("golden").record
    done = json.loads(io.read_bytes(uri))
    write_json(uri, done | {"selection": None})
    assert trained_selections(out_dir, ["golden"]) == {}


def test_an_older_model_is_told_of_by_the_selection_as_it_is(
    out_dir: str, caplog: pytest.LogCaptureFixture
) -> None:
    change(out_dir, selection=None)
    trained = trained_selections(out_dir, ["golden"])["golden"]
    assert trained.num_answer_tokens_K.tolist() == LENGTHS
    assert "it is read as it is now and may have changed since" in caplog.text


@pytest.mark.parametrize("is_gone", [False, True])
def test_an_older_model_whose_rows_are_not_those_any_more(
    out_dir: str, is_gone: bool, caplog: pytest.LogCaptureFixture
) -> None:
    change(out_dir, selection=None)
    choose(out_dir, SelectConfig("top_k", k=2, replace=True))
    if is_gone:
        io.delete(RunFolder(out_dir).selection("golden").path)
    assert trained_selections(out_dir, ["golden"]) == {}
    assert ("is gone" if is_gone else "holds other rows since") in caplog.text

"""The length-adjusted win rate on data made with a known liking for length."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from nuggets_ray.evaluate.benchmarks.length import (
    length_adjusted_win_rate,
    length_controlled_win_rate,
)


def test_the_liking_for_length_is_taken_out() -> None:
    random = np.random.default_rng(0)
    differences = random.normal(300.0, 400.0, size=5000)
    chances = expit(-0.4 + 2.0 * np.tanh(differences / differences.std()))
    wins = (random.random(5000) < chances).astype(float)
    found = length_adjusted_win_rate(wins, differences, seed=0)
    expected = 100 * expit(-0.4)
    assert found.value is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(expected, abs=2.5)
    assert 100 * wins.mean() > expected + 10
    assert found.low < expected < found.high
    assert found.length_effect == pytest.approx(2.0, abs=0.2)


def test_lengths_that_tell_all_wins_from_all_losses_have_an_end() -> None:
    preferences, differences = np.repeat([0.0, 1.0], 20), np.repeat([-50.0, 50.0], 20)
    found = length_adjusted_win_rate(preferences, differences, seed=0)
    assert found.value == pytest.approx(50.0, abs=0.1)
    assert found.length_effect is not None and 0 < found.length_effect < 10


def test_the_scale_of_lengths_does_not_matter() -> None:
    random = np.random.default_rng(1)
    preferences, differences = random.random(50), random.normal(size=50)
    one = length_adjusted_win_rate(preferences, differences, seed=0)
    other = length_adjusted_win_rate(preferences, differences * 1000, seed=0)
    assert one.value == pytest.approx(other.value)


@pytest.mark.parametrize(("mean", "sd"), [(0, 300), (150, 300), (300, 300)])
def test_a_judge_of_length_alone_is_seen_through(mean: float, sd: float) -> None:
    random = np.random.default_rng(0)
    differences = random.normal(mean, sd, 805)
    wins = (random.random(805) < expit(differences / 300)).astype(float)
    adjusted = length_adjusted_win_rate(wins, differences, seed=0)
    assert adjusted.low is not None and adjusted.high is not None
    assert adjusted.low < 50 < adjusted.high


@pytest.mark.parametrize(("mean", "sd"), [(600, 100), (600, 200), (-600, 200)])
def test_nothing_is_said_of_equal_lengths_where_hardly_any_are_near(mean: float, sd: float) -> None:
    random = np.random.default_rng(0)
    differences = random.normal(mean, sd, 805)
    wins = (random.random(805) < expit(differences / 300)).astype(float)
    adjusted = length_adjusted_win_rate(wins, differences, seed=0)
    assert (adjusted.value, adjusted.low, adjusted.length_effect) == (None, None, None)
    side = "shorter" if mean > 0 else "longer"
    assert adjusted.why_not == f"too few answers are {side} than the reference's"


def test_of_few_pairs_or_of_wins_alone_nothing_is_made_up() -> None:
    lengths = np.array([30.0, -30.0])
    assert length_adjusted_win_rate(np.ones(2), lengths, 0).why_not == "needs 30 pairs"
    assert length_adjusted_win_rate(np.array([]), np.array([]), 0).value is None
    many = np.tile(lengths, 20)
    assert length_adjusted_win_rate(np.ones(40), many, 0).why_not == "needs wins and losses"


def annotations(**changed: Any) -> list[dict[str, Any]]:
    row = {"index": 7, "preference": 1.75, "output_1": "reference", "output_2": "answer"}
    return [{**row, **changed}, {**row, "preference": None}]


@pytest.fixture
def alpaca_eval(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[dict[str, Any]]]:
    """A stand-in for the package that keeps what it is called with, and a cache folder without
    data.
    """
    calls: list[list[dict[str, Any]]] = []

    def get_length_controlled_winrate(
        annotations: list[dict[str, Any]], save_weights_dir: object
    ) -> dict[str, float]:
        assert save_weights_dir is None
        calls.append(annotations)
        return {"win_rate": 1.0, "length_controlled_winrate": 41.5}

    constants = ModuleType("alpaca_eval.constants")
    constants.DEFAULT_CACHE_DIR = str(tmp_path)  # type: ignore[attr-defined]
    glm = ModuleType("alpaca_eval.metrics.glm_winrate")
    glm.get_length_controlled_winrate = get_length_controlled_winrate  # type: ignore[attr-defined]
    package = ModuleType("alpaca_eval")
    package.constants = constants  # type: ignore[attr-defined]
    for module in (package, constants, ModuleType("alpaca_eval.metrics"), glm):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


def put_data_into(folder: Path) -> None:
    """As the hub's cache has it."""
    cached = folder / "datasets--tatsu-lab--alpaca_eval"
    (cached / "snapshots" / "abc").mkdir(parents=True)
    (cached / "snapshots" / "abc" / "df_gamed.csv").write_text("index\n")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")


def test_the_published_rate_is_computed_by_its_own_package(
    alpaca_eval: list[list[dict[str, Any]]], tmp_path: Path
) -> None:
    put_data_into(tmp_path)
    assert length_controlled_win_rate(annotations(), 805) == 41.5
    [[row]] = alpaca_eval
    assert row == annotations()[0], "what cannot be read is left out"


def test_without_its_data_there_is_no_published_rate(
    alpaca_eval: list[list[dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "nuggets_ray"):
        assert length_controlled_win_rate(annotations(), 805) is None
    assert "df_gamed.csv is not at hand" in caplog.text and alpaca_eval == []


def test_without_the_package_there_is_no_published_rate(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "alpaca_eval", None)
    with caplog.at_level("INFO", "nuggets_ray"):
        assert length_controlled_win_rate(annotations(), 805) is None
    assert "alpaca_eval" in caplog.text


def test_of_other_prompts_there_is_no_published_rate(
    alpaca_eval: list[list[dict[str, Any]]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_data_into(tmp_path)
    with caplog.at_level("INFO", "nuggets_ray"):
        own = [{"preference": 1.0, "output_1": "reference", "output_2": "answer"}]
        assert length_controlled_win_rate([*annotations(), *own], 805) is None
    assert "not AlpacaEval's" in caplog.text and alpaca_eval == []


def test_where_its_package_fails_there_is_no_published_rate(
    alpaca_eval: list[list[dict[str, Any]]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_data_into(tmp_path)

    def fails(annotations: object, save_weights_dir: object) -> None:
        raise KeyError("index 7")

    glm = sys.modules["alpaca_eval.metrics.glm_winrate"]
    glm.get_length_controlled_winrate = fails  # type: ignore[attr-defined]
    assert length_controlled_win_rate(annotations(), 805) is None
    assert "alpaca_eval fails: KeyError('index 7')" in caplog.text


def test_a_file_with_rows_missing_has_no_published_rate(
    alpaca_eval: list[list[dict[str, Any]]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put_data_into(tmp_path)
    assert length_controlled_win_rate(annotations(), 803) is None
    assert "has 803 of AlpacaEval's 805 prompts" in caplog.text and alpaca_eval == []

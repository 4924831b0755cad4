"""The verdict claims what the arms show, and in the edge cases no more."""

import json
import math
import re

import numpy as np
import pytest
from verdict_arms import make_arms

from nuggets_ray.evaluate.likelihood.metrics import Comparisons, likelihood_results
from nuggets_ray.evaluate.likelihood.paired import RowLogProbs, pair_rows, row_values
from nuggets_ray.evaluate.results import Results, read_results, write_results
from nuggets_ray.evaluate.tables import results_table
from nuggets_ray.evaluate.verdict.evidence import GOLDEN, OTHER, RANDOM, Arm, gather
from nuggets_ray.evaluate.verdict.verdict import Verdict, decide

DRAW_MEANS = {"random_0": 0.0, "random_1": 0.1, "random_2": 0.2}
TOKEN_MEANS = {"random_3_tokens": 0.0, "random_4_tokens": 0.1, "random_5_tokens": 0.2}


def verdict_on(num_rows: int = 60, **means: float) -> Verdict:
    return decide(gather(make_arms(num_rows, **means), "likelihood/mean_logprob"))


def claims(verdict: Verdict) -> bool:
    return "is better" in verdict.paragraph or "is worse than" in verdict.paragraph


@pytest.mark.parametrize(("mean", "outcome"), [(2.0, "better"), (-2.0, "worse")])
def test_far_outside_the_draws(mean: float, outcome: str) -> None:
    verdict = verdict_on(golden=mean, **DRAW_MEANS, **TOKEN_MEANS, longest=mean, base=-5.0)
    assert verdict.outcome == outcome
    assert f"golden is {outcome} than random draws by likelihood/mean_logprob" in verdict.paragraph
    assert (
        f"it has {mean:.4g}, the average of 3 draws matched in rows is 0.1, that of 3 draws "
        "matched in tokens is 0.1."
    ) in verdict.paragraph
    assert (
        "between -0.2206 and 0.4206 if matched in rows and between -0.2206 and 0.4206 if matched "
        "in tokens (95%, if trainings are normal); golden lies "
        f"{'above' if mean > 0 else 'below'} both ranges."
    ) in verdict.paragraph
    assert "Row by row, over 60 rows" in verdict.paragraph
    assert "p is Holm's for 4 comparisons" in verdict.paragraph
    assert "would have been missed" not in verdict.paragraph
    assert "longest " in verdict.paragraph and "not told apart" in verdict.paragraph
    assert "This holds for this model" in verdict.paragraph
    assert "\n" not in verdict.paragraph


def test_inside_the_spread_of_the_draws_is_not_told_apart_however_sure_the_rows() -> None:
    verdict = verdict_on(golden=0.5, **DRAW_MEANS)
    paired = verdict.numbers["differences"][0]
    assert paired["p_holm"] < 0.001 and paired["low"] > 0
    assert verdict.outcome == "not told apart"
    assert (
        "between -0.3968 and 0.5968 if matched in rows (95%, if trainings are normal); golden lies "
        "within that range."
    ) in verdict.paragraph
    # 4.2 standard deviations of 0.1, with 3 draws
    assert re.search(
        r"An effect of 0\.4[12]\d* nats per answer token, 4\.2 standard deviations of a training, "
        "would have been missed half of the time, and a smaller one more often",
        verdict.paragraph,
    )
    assert "That does not show that they are equal." in verdict.paragraph
    assert not claims(verdict)


def test_outside_the_draws_but_not_sure_over_rows_is_not_told_apart() -> None:
    draws = [Arm(f"random-{i}", RANDOM, np.full(8, 0.001 * i)) for i in range(3)]
    golden = Arm("golden", GOLDEN, 0.2 + np.linspace(-1, 1, 8))
    verdict = decide(gather([golden, *draws], "m"))
    assert verdict.outcome == "not told apart" and not claims(verdict)
    assert "that may be chance" in verdict.paragraph


def test_the_correction_decides() -> None:
    """5 rows of one sign give p = 1/16, 6 rows 1/32: enough alone, not among three comparisons."""

    def arms(num_others: int, num_rows: int) -> list[Arm]:
        noise_N = np.linspace(0.9, 1.1, num_rows)
        draws = [Arm(f"random-{i}", RANDOM, np.full(num_rows, 0.01 * i)) for i in range(3)]
        others = [Arm(f"other-{i}", OTHER, np.zeros(num_rows)) for i in range(num_others)]
        return [Arm("golden", GOLDEN, noise_N), *draws, *others]

    assert decide(gather(arms(0, 5), "m")).outcome == "not told apart"
    assert decide(gather(arms(0, 6), "m")).outcome == "better"
    assert decide(gather(arms(2, 6), "m")).outcome == "not told apart"
    assert (
        "from the draws matched in rows is +0.99 (p = 0.031, too few rows for an interval). "
        in decide(gather(arms(0, 6), "m")).paragraph
    )


def test_models_all_the_same_are_not_told_apart_by_rounding() -> None:
    value_N = np.linspace(-3.3, -0.1, 200)
    assert (np.mean([value_N] * 3, axis=0) != value_N).any(), "rounding is there"
    arms = [Arm(f"random-{i}", RANDOM, value_N) for i in range(3)]
    (paired,) = gather([Arm("golden", GOLDEN, value_N), *arms], "m").differences
    assert paired and (paired.value, paired.p_value, paired.direction) == (0.0, 1.0, 0)


@pytest.mark.parametrize("mean", [5.0, -5.0])
def test_one_draw_cannot_tell_but_its_number_is_given(mean: float) -> None:
    verdict = verdict_on(golden=mean, random_0=0.0)
    assert verdict.outcome == "not told apart"
    assert verdict.paragraph.startswith("One random draw cannot tell")
    assert "is unknown, and what follows is about these models only" in verdict.paragraph
    assert f"from the draws matched in rows is {mean:+.4g} [" in verdict.paragraph
    assert verdict.numbers["training_sd"] is None
    assert "golden is higher" not in verdict.paragraph
    assert not verdict.signs and not verdict.checked_signs


def test_two_draws_cannot_tell_either() -> None:
    verdict = verdict_on(golden=5.0, random_0=0.0, random_1=0.01)
    assert verdict.outcome == "not told apart"
    assert verdict.paragraph.startswith("2 random draws cannot tell")
    assert "(3 of a kind can)" in verdict.paragraph


def test_without_draws_it_says_so() -> None:
    verdict = verdict_on(golden=5.0, base=0.0)
    assert verdict.outcome == "not told apart"
    assert verdict.paragraph.startswith("No random draw was evaluated, so nothing tells whether")
    assert "base +5 [" in verdict.paragraph and "golden is higher" in verdict.paragraph
    assert "No failure sign" not in verdict.paragraph
    alone = verdict_on(golden=5.0)
    assert alone.outcome == "not told apart" and not claims(alone)


def test_all_ties_tell_nothing() -> None:
    arms = [Arm("golden", GOLDEN, np.full(50, 0.5))]
    arms += [Arm(f"random-{i}", RANDOM, np.full(50, 0.5)) for i in range(3)]
    verdict = decide(gather(arms, "m"))
    assert verdict.outcome == "not told apart"
    assert "do not differ among themselves, so there is no spread to judge by" in verdict.paragraph
    assert "+0 (p = 1, the same in all rows)" in verdict.paragraph


def test_draws_all_alike_give_no_spread_to_be_outside_of() -> None:
    arms = [Arm("golden", GOLDEN, np.linspace(0.9, 1.1, 50))]
    arms += [Arm(f"random-{i}", RANDOM, np.full(50, 0.5)) for i in range(3)]
    verdict = decide(gather(arms, "m"))
    assert verdict.outcome == "not told apart" and not claims(verdict)


@pytest.mark.parametrize("num_rows", [1, 2, 4])
def test_a_handful_of_rows_tells_nothing(num_rows: int) -> None:
    arms = [Arm("golden", GOLDEN, np.full(num_rows, 9.0) + np.arange(num_rows))]
    arms += [Arm(f"random-{i}", RANDOM, np.full(num_rows, 0.01 * i)) for i in range(3)]
    verdict = decide(gather(arms, "m"))
    assert verdict.outcome == "not told apart" and not claims(verdict)
    assert f"over {num_rows} row{'s' if num_rows > 1 else ''}, the difference" in verdict.paragraph


def test_missing_values_are_counted_and_named() -> None:
    golden, *others = make_arms(60, golden=2.0, **DRAW_MEANS)
    golden.value_N[:5] = math.nan
    full = Arm("full", OTHER, np.full(60, math.nan))
    verdict = decide(gather([golden, *others, full], "m"))
    assert "over 55 rows" in verdict.paragraph
    assert "Without any value: full." in verdict.paragraph
    assert "Rows left out because an arm lacks a value: 5." in verdict.paragraph


@pytest.mark.parametrize("missing", [slice(None), slice(0, 1)])
def test_no_row_in_common_tells_nothing(missing: slice) -> None:
    """Golden without any value, and golden and a draw that never meet on a row."""
    golden, draw = np.array([math.nan, 1.0]), np.array([1.0, math.nan])
    golden[missing] = math.nan
    verdict = decide(gather([Arm("golden", GOLDEN, golden), Arm("random-0", RANDOM, draw)], "m"))
    assert verdict.outcome == "not told apart"
    assert verdict.paragraph.startswith("Nothing can be told by m")
    json.dumps(verdict.as_dict(), allow_nan=False)


def test_without_a_draw_matched_in_tokens_it_says_so() -> None:
    text = "No draw was matched in tokens"
    means = {"random_0": 0.0, "random_1": 0.1, "random_2": 0.2}
    assert text in verdict_on(golden=2.0, **means).paragraph
    assert text not in verdict_on(golden=2.0, **DRAW_MEANS, **TOKEN_MEANS).paragraph
    all_matched = verdict_on(golden=2.0, **TOKEN_MEANS)
    assert all_matched.outcome == "better"
    assert "All draws were matched in tokens." in all_matched.paragraph


def test_outside_the_draws_matched_in_rows_alone_is_explained_by_tokens() -> None:
    tokens = {name: mean + 2.0 for name, mean in TOKEN_MEANS.items()}
    verdict = verdict_on(golden=2.0, **DRAW_MEANS, **tokens)
    assert verdict.outcome == "not told apart" and not claims(verdict)
    assert set(verdict.signs) == {"explained_by_tokens"}
    assert "and within the range of those matched in tokens" in verdict.paragraph


def test_json_and_seed() -> None:
    arms = make_arms(golden=2.0, **DRAW_MEANS)
    verdict = decide(gather(arms, "m", seed=3))
    found = json.loads(json.dumps(verdict.as_dict(), allow_nan=False))
    assert set(found) == {
        *("outcome", "paragraph", "numbers", "signs"),
        *("checked_signs", "undecided_signs"),
    }
    assert found["numbers"]["num_comparisons"] == 1
    assert decide(gather(arms, "m", seed=3)) == verdict


def test_the_arms_go_by_their_own_names() -> None:
    golden, *draws = make_arms(golden=2.0, **DRAW_MEANS, base=0.0)
    renamed = Arm("top-5pct", GOLDEN, golden.value_N)
    paragraph = decide(gather([renamed, *draws], "m")).paragraph
    assert paragraph.startswith("top-5pct is better") and "golden is" not in paragraph


def test_from_log_probs_to_results_json(tmp_path) -> None:
    """As the stage calls it: the primary metric's rows decide, and all is read back as written."""
    rng = np.random.default_rng(0)
    names = ["base", "golden", "random-0", "random-1", "random-2"]
    rows = {
        name: [
            RowLogProbs(f"r{i}", None, length, float(length * rng.normal(-2, 0.5)))
            for i, length in enumerate(range(5, 45))
        ]
        for name in names
    }
    paired = pair_rows(rows)
    values, weight_N = row_values(paired, "win_rate")
    kinds = {"golden": GOLDEN, "base": OTHER}
    arms = [Arm(name, kinds.get(name, RANDOM), values[name]) for name in names]
    verdict = decide(gather(arms, "likelihood/win_rate", weight_N))
    found = likelihood_results(paired, Comparisons())
    results = Results("likelihood/win_rate", tuple(found), verdict.as_dict())
    write_results(str(tmp_path), results)
    read = read_results(str(tmp_path))
    assert read.verdict == json.loads(json.dumps(verdict.as_dict()))
    primary = {(r.model, r.against): r for r in found if results.is_primary(r)}
    rate = primary["golden", "base"]
    assert verdict.numbers["values"]["golden"] == rate.value
    assert rate.details["sign_test_p"] <= 1 and "golden" in results_table(read)

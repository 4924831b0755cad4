"""What a plan says of candidates and anchors that are made up: no Ray and no model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from made_up_candidates import make_anchor, make_candidates

from nuggets_ray.model.size import ModelSize
from nuggets_ray.prepare.prepared import HashedInput, Prepared
from nuggets_ray.score.calibrate import Measured
from nuggets_ray.score.plan import (
    Hardware,
    Passes,
    anchor_facts,
    cost_facts,
    data_facts,
    demonstration_facts,
    fits_context,
    format_facts,
    memory_facts,
    out_dir_facts,
    replica_request,
    signal_facts,
)

CANDIDATES = make_candidates(["a", "b", "a", "c", "d"], [10, 20, 10, 101, 100])
MAX_TOKENS = 100
SKIPS = fits_context(CANDIDATES, MAX_TOKENS, "skip")
CUTS = fits_context(CANDIDATES, MAX_TOKENS, "truncate")
MEASURED = Measured(np.zeros(2), 50.0, {"engine": "tree", "why": "it agrees"}, 0.5)


def parts_of(facts: Mapping[str, Any], *keys: str) -> tuple[Any, ...]:
    return tuple(facts[key] for key in keys)


def test_what_is_too_long_is_left_out_or_cut() -> None:
    keys = ("num_too_long_for_context", "num_truncated")
    assert SKIPS.tolist() == [True, True, True, False, True]
    assert parts_of(demonstration_facts(CANDIDATES, MAX_TOKENS, SKIPS), *keys) == (1, 0)
    assert CUTS.all()
    assert parts_of(demonstration_facts(CANDIDATES, MAX_TOKENS, CUTS), *keys) == (0, 1)


def test_the_lengths_of_demonstrations() -> None:
    facts = demonstration_facts(CANDIDATES, MAX_TOKENS, SKIPS)
    keys = ("mean_tokens", "median_tokens", "max_tokens", "limit_tokens")
    assert parts_of(facts, *keys) == (48.2, 20.0, 101, 100)


def test_excluded_anchors_are_no_self_pairs() -> None:
    anchors = [make_anchor("a"), make_anchor("c"), make_anchor("elsewhere")]
    keys = ("num_self_pairs", "num_excluded")
    facts = anchor_facts(anchors, CANDIDATES, SKIPS, is_excluded=False)
    assert parts_of(facts, *keys) == (2, 0)  # c is too long to be scored
    assert parts_of(facts, "num_tokens", "num_answer_tokens", "max_tokens") == (15, 6, 5)
    facts = anchor_facts(anchors, CANDIDATES, SKIPS, is_excluded=True)
    assert parts_of(facts, *keys) == (0, 3)


def test_the_cost_is_every_token_once_and_the_head_at_answers() -> None:
    anchors = [make_anchor("a", 5, 2), make_anchor("b", 7, 3)]
    size = ModelSize(1000, 400, 300)
    facts = cost_facts(np.array([10, 20, 30]), anchors, size, MEASURED, Hardware(2, "cpu", 3))
    num_tokens = 60 + 3 * 12
    assert parts_of(facts, "num_candidates_to_score", "num_passes", "num_tokens") == (
        *(3, 6, num_tokens),
    )
    assert facts["flop"] == 2 * 600 * num_tokens + 2 * 300 * 3 * 5
    assert facts["hours"] * 3600 == pytest.approx(num_tokens / 50 / 2)
    assert facts["worker_hours"] == 2 * facts["hours"]
    assert facts["engine"] == "tree: it agrees" and facts["workers"] == "2 on cpu"
    assert facts["device_hours"] == 3 * facts["worker_hours"] and facts["device_name"] == "core"
    assert "price" not in facts
    one = Hardware(1, "cpu", 1)
    assert cost_facts(np.array([10]), anchors, None, MEASURED, one)["flop"] is None
    nothing = cost_facts(np.array([], int), anchors, size, MEASURED, one)
    assert parts_of(nothing, "num_tokens", "flop", "hours") == (0, 0.0, 0.0)


def test_the_cost_of_anchors_that_scored_rows_are_to_meet() -> None:
    anchors = [make_anchor("a", 5, 2), make_anchor("b", 7, 3)]
    size = ModelSize(1000, 400, 300)
    added = Passes(np.array([20, 30]), anchors[1:])
    facts = cost_facts(
        *(np.array([10]), anchors, size, MEASURED, Hardware(1, "cpu", 1)), added=added
    )
    num_tokens = (10 + 12) + (50 + 2 * 7)
    assert parts_of(facts, "num_candidates_to_score", "num_passes", "num_tokens") == (
        *(1, 4, num_tokens),
    )
    assert facts["flop"] == 2 * 600 * num_tokens + 2 * 300 * (5 + 2 * 3)


def test_signals_are_told_with_what_they_read_beside_the_pairs() -> None:
    todo_N, none_N = np.array([10, 20]), np.array([], int)
    assert signal_facts((), todo_N, none_N) == {}
    assert signal_facts(("perplexity", "rds"), todo_N, none_N) == {
        "signals": "perplexity, rds: no token more"
    }
    assert "at most 30 tokens" in signal_facts(("ifd",), todo_N, none_N)["signals"]
    assert "at most 5 tokens" in signal_facts(("rds",), todo_N, np.array([5]))["signals"]
    assert "at most 40 tokens" in signal_facts(("ifd",), todo_N, np.array([5]))["signals"]


def test_skipped_rows_are_shown_by_two_examples() -> None:
    prepared = Prepared(
        *(9, 4, 1, 4, 1),
        inputs=(HashedInput("rows", 2**29, "x"), HashedInput("more", 2**29, "y")),
        format="alpaca",
        skipped_reasons={"too_long": 3, "empty_answer": 1},
        fields_read={"instruction": 4, "output": 4},
    )
    skipped = pa.table(
        {
            "reason": ["too_long", "empty_answer", "too_long", "too_long"],
            "source_path": ["rows", "rows", "more", "more"],
            "row_number": [3, 5, 0, 1],
        }
    )
    facts = data_facts(prepared, skipped)
    assert facts["gib"] == 1.0 and facts["files"] == 2 and facts["num_held_out"] == 1
    assert list(facts)[-2:] == ["skipped: too_long", "skipped: empty_answer"]
    assert (facts["read"], facts["not read"]) == ("instruction 4, output 4", "nothing")
    assert facts["skipped: empty_answer"] == "1, such as row 5 of rows"
    assert facts["skipped: too_long"] == "3, such as row 3 of rows; row 0 of more"


def test_a_replica_is_asked_for_the_run_s_longest() -> None:
    anchors = [make_anchor("a", 5), make_anchor("b", 7)]
    request = replica_request("float32", "cpu", 512, 90, anchors)
    assert (request.max_pack_tokens, request.demonstration_tokens) == (512, 90)
    assert (request.longest_anchor_tokens, request.num_anchor_tokens) == (7, 12)
    assert (request.num_anchors, request.gpu_attention) == (2, "merge")


def test_memory_is_told_where_it_is_known() -> None:
    size = ModelSize(1000, 400, 300)
    facts = memory_facts(None, size, MEASURED, Hardware(2, "cuda", 1))
    assert facts == {
        "parameters": 1000,
        "predicted_gib_a_worker": None,
        "peak_gib_a_worker": 0.5,
        "num_workers": 2,
    }
    here = memory_facts(None, None, MEASURED, Hardware(2, "cpu", 1))
    assert here["parameters"] is None and here["available_gib_here"] > 0


def test_a_folder_that_is_scored_says_how() -> None:
    settings = {"dtype": "float32", "template": "alpaca abc"}
    assert out_dir_facts("/run", 3, settings)["scored_as"] == "float32, alpaca abc"
    assert out_dir_facts("/run", 0, None)["scored_as"] is None


def test_money_is_told_where_a_price_is_given() -> None:
    measured = replace(MEASURED, gpu_name="H100")
    tokens_N = np.full(50 * 3600, 1)  # an hour of one worker, but for the anchors' tokens
    facts = cost_facts(tokens_N, [], None, measured, Hardware(2, "cuda", 4), 2.5)
    assert facts["hours"] == pytest.approx(0.5) and facts["device_hours"] == pytest.approx(4.0)
    assert facts["price"] == pytest.approx(10.0)
    page = format_facts({"cost": facts}).splitlines()
    assert page[-4:] == [
        "  time                        30 min",
        "  workers                     2 on cuda",
        "  compute                     4 H100-hours",
        "  price                       10.00",
    ]
    unnamed = cost_facts(tokens_N, [], None, MEASURED, Hardware(1, "cuda", 1))
    assert unnamed["device_name"] == "GPU"


def test_the_page_speaks_in_people_s_units() -> None:
    facts = {
        "data": {"gib": 76 / 2**20, "num_rows": 1234567, "skipped: too_long": "1, such as row 3"},
        "demonstrations": {"mean_tokens": 48.25, "limit_tokens": 2048, "num_truncated": 0},
        "out_dir": {"scored_as": None, "seen by every node": True},
        "memory": {"parameters": 134_515_008, "peak_gib_a_worker": 1.25},
        "cost": {
            **{"flop": 2.5e12, "engine": "tree: it", "tokens_per_s_a_worker": 1234.5},
            **{"hours": 55 / 3600, "worker_hours": 55 / 3600},
            **{"device_hours": 55 / 3600, "device_name": "core"},
        },
    }
    assert format_facts(facts).splitlines() == [
        "",
        "data",
        "  size                        76 KiB",
        "  rows                        1,234,567",
        "  skipped: too_long           1, such as row 3",
        "",
        "demonstrations",
        "  mean                        48.2 tokens",
        "  limit                       2,048 tokens",
        "  truncated                   0",
        "",
        "out_dir",
        "  scored as                   -",
        "  seen by every node          yes",
        "",
        "memory",
        "  parameters                  135 M",
        "  measured a worker           1.2 GiB",
        "",
        "cost",
        "  work                        2.5 TFLOP",
        "  engine                      tree: it",
        "  speed a worker              1,234 tokens/s",
        "  time                        55 s",
        "  compute                     55 s of one core",
    ]

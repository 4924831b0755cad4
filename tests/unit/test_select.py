"""Which rows are kept: rules, ties, draws, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.mixture import SetScores
from nuggets_ray.select import Scores, check_clash, check_config, select

Row = tuple[str, float, float, int]
"""example_id, golden_score, mean_delta, num_answer_tokens"""

ROWS: list[Row] = [
    ("a", 0.5, 0.1, 30),
    ("b", 0.9, 0.2, 10),
    ("c", 0.9, 0.3, 20),
    ("d", 0.1, -0.2, 50),
    ("e", 0.9, 0.2, 40),
    ("f", 0.8, 0.4, 40),
]
TOP_K = SelectConfig(rule="top_k", k=3)

rows_strategy = st.lists(
    st.tuples(
        st.text("abcdef0123456789-", min_size=1, max_size=6),
        st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")]),
        st.sampled_from([-0.5, 0.0, 0.5]),
        st.integers(1, 5),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda row: row[0],
)


def scores(rows: list[Row]) -> Scores:
    ids = np.array([row[0] for row in rows], dtype=object)
    golden, delta, length = (np.array([row[i] for row in rows], dtype=float) for i in (1, 2, 3))
    return Scores(ids, ids, golden, delta, length.astype(np.int32))


def chosen(rows: list[Row], config: SelectConfig, seed: int = 0) -> list[str]:
    return [rows[index][0] for index in select(scores(rows), config, seed).row_K]


def test_top_by_golden_score_breaks_ties_by_mean_delta_then_id() -> None:
    assert chosen(ROWS, replace(TOP_K, k=6)) == ["c", "b", "e", "f", "a", "d"]


def test_bottom_breaks_ties_by_the_lower_mean_delta_then_id() -> None:
    assert chosen(ROWS, replace(TOP_K, k=6, order="bottom")) == ["d", "a", "f", "b", "e", "c"]


def test_longest_and_shortest_answers() -> None:
    assert chosen(ROWS, replace(TOP_K, by="longest")) == ["d", "f", "e"]
    assert chosen(ROWS, replace(TOP_K, by="longest", order="bottom")) == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("fraction", "num_rows", "num_kept"),
    [(0.05, 200, 10), (0.07, 100, 7), (0.05, 201, 11), (0.001, 10, 1), (1.0, 7, 7), (0.1, 30, 3)],
)
def test_a_fraction_is_rounded_up_and_never_nothing(
    fraction: float, num_rows: int, num_kept: int
) -> None:
    rows: list[Row] = [(f"id-{i}", i / num_rows, 0.0, 1) for i in range(num_rows)]
    assert len(chosen(rows, SelectConfig(fraction=fraction))) == num_kept


def test_threshold_is_strict_on_both_sides() -> None:
    above = SelectConfig(rule="threshold", min_score=0.8)
    assert chosen(ROWS, above) == ["c", "b", "e"]
    assert chosen(ROWS, replace(above, order="bottom")) == ["d", "a"]


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [(1, ["c"]), (24, ["c"]), (31, ["c", "b"]), (60, ["c", "b", "e"]), (190, list("cbefad"))],
)
def test_tokens_keep_the_rows_whose_answers_come_nearest_to_them(
    tokens: int, kept: list[str]
) -> None:
    assert chosen(ROWS, SelectConfig(rule="top_tokens", tokens=tokens)) == kept


def test_a_random_selection_as_large_as_another_in_tokens_has_a_name_of_its_own() -> None:
    config = SelectConfig(rule="top_tokens", tokens=90, by="random", draw=2)
    selection = select(scores(ROWS), config, 0)
    assert selection.name == "random-2-tokens"
    total = sum(ROWS[index][3] for index in selection.row_K)
    assert abs(total - 90) <= 25  # half the longest row


def test_cutoff_is_the_measure_of_the_last_kept_row() -> None:
    assert select(scores(ROWS), replace(TOP_K, k=4), 0).cutoff == 0.8
    assert select(scores(ROWS), replace(TOP_K, by="longest"), 0).cutoff == 40
    assert select(scores(ROWS), replace(TOP_K, by="random"), 0).cutoff is None


@pytest.mark.parametrize(
    ("by", "order", "draw", "name"),
    [
        ("golden_score", "top", 0, "golden"),
        ("golden_score", "bottom", 0, "bottom"),
        ("longest", "top", 0, "longest"),
        ("longest", "bottom", 0, "shortest"),
        ("random", "top", 3, "random-3"),
    ],
)
def test_names(by: str, order: str, draw: int, name: str) -> None:
    config = replace(TOP_K, by=by, order=order, draw=draw)
    assert select(scores(ROWS), config, 0).name == name
    assert select(scores(ROWS), replace(config, name="mine"), 0).name == "mine"


@given(rows_strategy, st.randoms(use_true_random=False), st.sampled_from(["top", "bottom"]))
def test_the_order_of_rows_does_not_matter(rows: list[Row], random, order: str) -> None:
    shuffled = random.sample(rows, len(rows))
    configs = [SelectConfig(fraction=0.5, by="random"), SelectConfig(fraction=0.5, by="longest")]
    configs[1] = replace(configs[1], order=order)
    if any(row[1] > 0.3 for row in rows) and order == "top":
        configs.append(SelectConfig(rule="threshold", min_score=0.3, order=order))
    for config in configs:
        assert chosen(shuffled, config) == chosen(rows, config)


@given(rows_strategy)
def test_incomplete_rows_are_never_golden_but_can_be_drawn(rows: list[Row]) -> None:
    num_complete = sum(row[1] == row[1] for row in rows)
    everything = SelectConfig(rule="top_k", k=len(rows))
    assert sorted(chosen(rows, replace(everything, by="random"))) == sorted(row[0] for row in rows)
    if num_complete:
        kept = chosen(rows, replace(everything, k=num_complete))
        assert sorted(kept) == sorted(row[0] for row in rows if row[1] == row[1])
    if num_complete < len(rows):
        with pytest.raises(UserError, match=rf"select\.k={len(rows)} .* only {num_complete} "):
            chosen(rows, everything)


def test_random_draws_depend_on_seed_and_draw_and_nest() -> None:
    rows: list[Row] = [(f"id-{i}", 0.5, 0.0, 1) for i in range(100)]
    config = SelectConfig(rule="top_k", k=20, by="random")
    first = chosen(rows, config)
    assert first == chosen(rows, config)
    assert first != chosen(rows, replace(config, draw=1))
    assert first != chosen(rows, config, seed=1)
    assert chosen(rows, replace(config, k=50))[:20] == first
    assert [i for i in chosen(rows[:60], replace(config, k=60)) if i in first] == [
        i for i in first if int(i[3:]) < 60
    ]


def test_random_and_longest_keep_as_many_rows_as_golden() -> None:
    sizes = {
        by: len(chosen(ROWS, SelectConfig(fraction=0.3, by=by)))
        for by in ("golden_score", "random", "longest")
    }
    assert set(sizes.values()) == {2}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SelectConfig(fraction=0.0), r"select\.fraction=0\.0 "),
        (SelectConfig(fraction=1.5), r"select\.fraction=1\.5 "),
        (SelectConfig(fraction=float("nan")), r"select\.fraction=nan: "),
        (SelectConfig(), r"top_fraction needs select\.fraction"),
        (SelectConfig(rule="top_k"), r"top_k needs select\.k"),
        (SelectConfig(rule="top_tokens", tokens=0), r"select\.tokens=0 "),
        (SelectConfig(rule="top_tokens"), r"top_tokens needs select\.tokens"),
        (SelectConfig(rule="top_k", k=0), r"select\.k=0 "),
        (SelectConfig(rule="threshold"), r"threshold needs select\.min_score"),
        (SelectConfig(rule="threshold", min_score=float("nan")), r"select\.min_score=nan: "),
        (SelectConfig(rule="threshold", min_score=0.5, by="random"), r"select\.by=random .*top_k"),
        (SelectConfig(fraction=0.5, k=3), r"select\.k=3 is not used .*select=top_k"),
        (SelectConfig(fraction=0.5, by="random", order="bottom"), r"select\.order=bottom"),
        (SelectConfig(fraction=0.5, by="random", draw=-1), r"select\.draw=-1"),
        (SelectConfig(fraction=0.5, by="shortest"), r"select\.by=shortest: .*longest"),
        (SelectConfig(rule="best", fraction=0.5), r"select\.rule=best"),
        (SelectConfig(fraction=0.5, order="up"), r"select\.order=up"),
        (SelectConfig(fraction=0.5, name="../golden"), r"select\.name='\.\./golden'"),
        (SelectConfig(fraction=0.5, name=""), r"select\.name=''"),
    ],
)
def test_wrong_settings_are_refused_before_any_data(config: SelectConfig, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_config(config)


def test_more_rows_than_there_are_are_refused_with_both_numbers() -> None:
    with pytest.raises(UserError, match=r"select\.k=7 .* only 6 distinct candidates"):
        chosen(ROWS, replace(TOP_K, k=7))


COPIED = [f"{content}{suffix}" for content in "abcdef" for suffix in ("-10", "-2", "")]
"""Contents a to f, each of them three times, the first copy last."""


def copied_scores() -> Scores:
    content = np.array([id[0] for id in COPIED], dtype=object)
    golden = np.array([ord(id[0]) - ord("a") for id in COPIED]) / 10
    length = np.array([100 - ord(id[0]) for id in COPIED], np.int32)
    return Scores(np.array(COPIED, dtype=object), content, golden, golden / 10, length)


@pytest.mark.parametrize(
    "ranking",
    [
        {"by": "golden_score"},
        {"by": "golden_score", "order": "bottom"},
        {"by": "longest"},
        {"by": "longest", "order": "bottom"},
        {"by": "random", "draw": 3},
    ],
)
def test_of_exact_copies_the_first_is_kept_whatever_ranks_them(ranking: dict[str, str]) -> None:
    half = SelectConfig(fraction=0.5, **ranking)  # type: ignore[arg-type]
    unique = select(copied_scores(), half, 0)
    kept = [COPIED[row] for row in unique.row_K]
    assert len(kept) == 3, "half of six contents"
    assert all(len(id) == 1 for id in kept), "the first copies"
    assert unique.ranking.num_copies == 12
    everything = select(copied_scores(), replace(half, unique=False), 0)
    assert len(everything.row_K) == 9 and everything.ranking.num_copies == 0


def test_copies_are_no_rows_to_ask_for() -> None:
    with pytest.raises(UserError, match=r"select\.k=7 .* only 6 distinct candidates"):
        select(copied_scores(), SelectConfig(rule="top_k", k=7), 0)
    with pytest.raises(UserError, match="of the 6 distinct candidates"):
        select(copied_scores(), SelectConfig(rule="top_tokens", tokens=999), 0)
    kept = select(copied_scores(), SelectConfig(rule="top_k", k=7, unique=False), 0)
    assert len(kept.row_K) == 7


def test_the_first_of_the_copies_that_are_scored_stands_for_its_content() -> None:
    scored = copied_scores()
    is_there = np.array([id != "f" for id in COPIED])
    rest = Scores(
        *(
            column[is_there]
            for column in (
                *(scored.example_id, scored.content_id, scored.golden_score, scored.mean_delta),
                scored.num_answer_tokens,
            )
        )
    )
    [row] = select(rest, SelectConfig(rule="top_k", k=1), 0).row_K
    assert rest.example_id[row] == "f-2"


@pytest.mark.parametrize(("order", "bound", "extreme"), [("top", 0.9, 0.9), ("bottom", 0.1, 0.1)])
def test_a_threshold_that_keeps_nothing_names_the_extreme(
    order: str, bound: float, extreme: float
) -> None:
    config = SelectConfig(rule="threshold", min_score=bound, order=order)
    with pytest.raises(UserError, match=rf"select\.min_score={bound} .* is {extreme}\)"):
        chosen(ROWS, config)


def test_nothing_scored_is_refused() -> None:
    with pytest.raises(UserError, match=r"jobs/score\.py"):
        chosen([], TOP_K)


def test_a_clash_names_the_field_and_the_way_out() -> None:
    check_clash(["instruction", "output", "ranking"], prefix="")
    check_clash(["rank", "example_id"], prefix="nuggets_")
    with pytest.raises(UserError, match=r"field named rank, .*select\.prefix"):
        check_clash(["instruction", "rank"], prefix="")
    with pytest.raises(UserError, match=r"field named my_golden_score, .*select\.prefix"):
        check_clash(["my_golden_score"], prefix="my_")


SIGNALS = {
    "ifd": np.array([0.5, 1.5, 0.9, np.nan, 0.2, 0.7]),
    "rds": np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]),
    "quality": np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
}
TURNS = np.array([3.0, 0.0, 1.0, 2.0, np.nan, 4.0])


def chosen_by(by: object, **more: object) -> list[str]:
    config = replace(TOP_K, by=by, scores_path="/other.csv", **more)  # type: ignore[arg-type]
    there = replace(scores(ROWS), signals=SIGNALS, rds_turn=TURNS)
    return [ROWS[index][0] for index in select(there, config, 0).row_K]


def test_by_ifd_a_ratio_above_one_is_no_row_to_choose() -> None:
    assert chosen_by("ifd") == ["c", "f", "a"]
    assert chosen_by("ifd", order="bottom") == ["e", "a", "f"]


def test_by_rds_the_anchors_take_rows_in_turn_and_a_threshold_is_a_cosine() -> None:
    assert chosen_by("rds") == ["b", "c", "d"]
    assert chosen_by("rds", order="bottom") == ["f", "a", "d"]
    assert chosen_by("rds", rule="threshold", k=None, min_score=0.65) == ["b", "c", "a"]


def test_by_a_column_of_a_file() -> None:
    assert chosen_by("quality") == ["f", "e", "d"]


def test_by_a_blend_of_ranks() -> None:
    # golden alone puts c, b and e first; the file's order as much again puts f before b
    assert chosen_by({"golden_score": 1, "quality": 1})[0] == "e"
    assert set(chosen_by({"golden_score": 1, "ifd": 1})) == {"c", "f", "e"}, "b is above 1"
    assert chosen_by({"rds": 1}) == ["b", "c", "d"], "rds goes by its turns here too"


def test_too_few_rows_with_a_signal_are_told() -> None:
    with pytest.raises(UserError, match="only 4 distinct candidates have a value of ifd"):
        chosen_by("ifd", k=5)


def test_a_signal_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="select.by=perplexity"):
        select(scores(ROWS), replace(TOP_K, by="perplexity"), 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"set": "a", "sets": {"a": 1.0}}, "exclude each other"),
        ({"set": "a", "by": "longest"}, r"select.set=a .* not used by select.by=longest"),
        ({"sets": {"a": 0.5, "b": 0.4}}, r"the shares sum to 0.9"),
        ({"sets": {"a": 1.5, "b": -0.5}}, r"give shares above 0 that sum to 1"),
        ({"sets": {"a": 1.0}, "rule": "threshold", "k": None, "min_score": 0.5}, "no score to"),
    ],
)
def test_anchor_sets_that_no_scores_could_make_right(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_config(replace(TOP_K, **changes))


def test_by_one_anchor_set_and_by_a_mixture() -> None:
    of_all = scores(ROWS)
    maths = SetScores(np.array([0.1, 0.2, 0.3, 0.4, 0.4, np.nan]), np.array([0, 0, 0, 0, 1, 0.0]))
    writing = SetScores(of_all.golden_score, of_all.mean_delta)
    both = replace(of_all, sets={"maths": maths, "writing": writing})
    of_maths = select(both, replace(TOP_K, set="maths"), 0)
    assert [ROWS[row][0] for row in of_maths.row_K] == ["e", "d", "c"]
    assert (of_maths.name, of_maths.cutoff) == ("golden-maths", 0.3)
    bottom = select(both, replace(TOP_K, set="maths", order="bottom"), 0)
    assert [ROWS[row][0] for row in bottom.row_K] == ["a", "b", "c"]
    assert bottom.name == "bottom-maths"
    mixture = select(both, replace(TOP_K, k=4, sets={"maths": 0.25, "writing": 0.75}), 0)
    assert [ROWS[row][0] for row in mixture.row_K] == ["c", "e", "b", "f"]
    assert mixture.cutoff is None

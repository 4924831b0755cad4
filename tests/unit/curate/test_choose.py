"""From a ranking to the rows that are kept: each step by hand, and what holds for all of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.curate.choose import Chosen, Materials, choose
from nuggets_ray.curate.quotas import Sources
from nuggets_ray.errors import UserError
from nuggets_ray.select import Scores, select

TASKS = ("chat", "maths")


def made_up(num: int, lengths: list[int] | None = None) -> Scores:
    """Rows 0, 1, ..., the first the best, of lengths 10, 11, ..."""
    ids = np.array([f"c{number:03d}" for number in range(num)], dtype=object)
    golden = 1 - np.arange(num) / num
    tokens = np.arange(10, 10 + num) if lengths is None else np.array(lengths)
    return Scores(ids, ids, golden, np.zeros(num), tokens.astype(np.int32))


def tasks(values: str) -> Materials:
    """c: chat, m: maths."""
    return Materials(Sources("task", TASKS, np.array(["cm".index(value) for value in values])))


def kept(chosen: Chosen) -> list[int]:
    return chosen.selection.row_K.tolist()


def test_without_steps_it_is_the_best_rows() -> None:
    config = SelectConfig("top_k", k=3)
    chosen = choose(made_up(6), config, 0, Materials())
    assert kept(chosen) == [0, 1, 2] == select(made_up(6), config, 0).row_K.tolist()
    assert chosen.selection.cutoff == pytest.approx(4 / 6)


def test_quotas_take_the_best_of_each_value_in_rank_order() -> None:
    by_task = SelectConfig("top_k", k=4, per="task")
    materials = tasks("ccccccmm" + "cccc")  # 10 chat, 2 maths: 3.3 and 0.7 of 4
    assert kept(choose(made_up(12), by_task, 0, materials)) == [0, 1, 2, 6]
    equal = choose(made_up(12), replace(by_task, divide="equal"), 0, materials)
    assert kept(equal) == [0, 1, 6, 7] and equal.selection.cutoff is None
    assert [
        (one.value, one.num_eligible, one.num_wanted, one.num_kept) for one in equal.quotas
    ] == [
        ("chat", 10, 2, 2),
        ("maths", 2, 2, 2),
    ]


def test_what_a_value_lacks_goes_to_the_others_but_not_under_given_quotas() -> None:
    config = SelectConfig("top_k", k=8, per="task", divide="equal")
    materials = tasks("ccccccmm" + "cccc")
    chosen = choose(made_up(12), config, 0, materials)
    assert kept(chosen) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert [(one.num_wanted, one.num_kept) for one in chosen.quotas] == [(4, 6), (4, 2)]
    given_ = replace(config, divide="proportional", quotas={"chat": 3.0, "maths": 5.0})
    chosen = choose(made_up(12), given_, 0, materials)
    assert kept(chosen) == [0, 1, 2, 6, 7] and chosen.num_wanted == 8
    assert [(one.num_wanted, one.num_kept) for one in chosen.quotas] == [(3, 3), (5, 2)]


def test_only_eligible_rows_are_chosen_and_counted() -> None:
    config = SelectConfig(fraction=0.5, min_answer_tokens=12, max_answer_tokens=17)
    chosen = choose(made_up(10), config, 0, Materials())
    assert kept(chosen) == [2, 3, 4], "half of six"
    assert chosen.selection.ranking.num_eligible == 6
    assert chosen.selection.ranking.num_out_of_bounds == 4
    by_task = choose(made_up(10), replace(config, per="task"), 0, tasks("mmmmcccccm"))
    assert [(one.value, one.num_eligible) for one in by_task.quotas] == [("chat", 4), ("maths", 2)]
    with pytest.raises(UserError, match="leave no row: answers have 10 to 19 tokens"):
        choose(
            made_up(10),
            replace(config, min_answer_tokens=90, max_answer_tokens=None),
            0,
            Materials(),
        )


def test_lengths_are_those_of_the_other_selection() -> None:
    lengths = [90, 91, 92, 93, 10, 11, 12, 13]  # the best are the longest
    short_and_long = Materials(target_lengths=np.array([12, 12, 92, 92]))
    config = SelectConfig("top_k", k=4, match_length="random-0")
    chosen = choose(made_up(8, lengths), config, 0, short_and_long)
    assert kept(chosen) == [0, 1, 4, 5]
    assert chosen.matched is not None
    assert (chosen.matched.mean_wanted, chosen.matched.mean_kept) == (52, 50.5)
    assert chosen.matched.num_moved == 0
    # 13 is longer than any row of the short bin
    few = choose(made_up(5, lengths[:5]), config, 0, short_and_long)
    assert kept(few) == [0, 1, 2, 4] and few.matched is not None and few.matched.num_moved == 1


def test_diversity_chooses_within_the_best_and_keeps_their_order() -> None:
    angles = np.radians([0, 1, 2, 180, 181, 90])
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    asked: list[list[int]] = []

    def embed(rows: np.ndarray) -> np.ndarray:
        asked.append(rows.tolist())
        return circle[rows]

    config = SelectConfig("top_k", k=2, diversity="k_center", pool=2.5)
    chosen = choose(made_up(6), config, 0, Materials(embed=embed))
    assert asked == [[0, 1, 2, 3, 4]] and chosen.num_pool == 5
    assert kept(chosen)[0] == 0 and kept(chosen)[1] in (3, 4)
    whole = choose(made_up(6), replace(config, k=6), 0, Materials(embed=embed))
    assert kept(whole) == [0, 1, 2, 3, 4, 5], "a pool of all there is"


def test_diversity_keeps_the_quotas() -> None:
    drawn = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    materials = replace(tasks("ccccccmm" + "cccc"), embed=lambda rows: drawn[rows])
    config = SelectConfig("top_k", k=4, per="task", divide="equal", diversity="facility_location")
    chosen = choose(made_up(12), config, 0, materials)
    assert [one.num_kept for one in chosen.quotas] == [2, 2]
    assert kept(chosen) == sorted(kept(chosen)) and chosen.num_pool == 8, "6 of chat, 2 of maths"


def raced(num: int, num_complete: int) -> Scores:
    scores = made_up(num)
    golden = np.where(np.arange(num) < num_complete, scores.golden_score, np.nan)
    return replace(scores, golden_score=golden)


def test_past_what_a_race_settled_is_refused_with_the_command_that_settles_more() -> None:
    config = SelectConfig("top_k", k=4, per="task", divide="equal")
    within = replace(tasks("cmcmccccmm"), num_settled=5)
    assert kept(choose(raced(10, 7), config, 0, within)) == [0, 1, 2, 3]
    past = replace(tasks("cmccccccmm"), num_settled=5)
    with pytest.raises(UserError, match=r"select\.per=task: .*best 5 rows.*schedule=full"):
        choose(raced(10, 7), config, 0, past)
    big = Materials(Sources("task", TASKS, np.arange(1000) % 10 // 9), num_settled=50)
    with pytest.raises(UserError, match=r"schedule=race and race\.top_k=220"):  # 20 wanted, 5 there
        choose(raced(1000, 60), replace(config, k=40), 0, big)


def test_a_race_that_settled_all_of_a_value_is_enough() -> None:
    config = SelectConfig("top_k", k=4, per="task", divide="equal")
    materials = replace(tasks("cmcccccccc"), num_settled=6)
    assert kept(choose(raced(10, 7), config, 0, materials)) == [0, 1, 2, 3]


@settings(max_examples=60)
@given(
    st.text("cm", min_size=1, max_size=40),
    st.integers(1, 40),
    st.sampled_from(["proportional", "equal"]),
    st.booleans(),
    st.sampled_from(["none", "k_center", "facility_location"]),
)
def test_quotas_sum_no_row_comes_twice_and_the_order_is_kept(
    values: str, k: int, divide: str, matched: bool, diversity: str
) -> None:
    k = min(k, len(values))
    drawn = np.random.default_rng(k).standard_normal((len(values), 3)).astype(np.float32)
    materials = replace(
        tasks(values),
        embed=lambda rows: drawn[rows],
        target_lengths=np.array([12, 15, 20, 20, 40]) if matched else None,
    )
    config = SelectConfig("top_k", k=k, per="task", divide=divide, diversity=diversity)
    chosen = choose(made_up(len(values)), config, 0, materials)
    rows = kept(chosen)
    assert len(rows) == len(set(rows)) == k, "there are enough rows"
    assert rows == sorted(rows)
    assert (
        sum(one.num_kept for one in chosen.quotas)
        == k
        == sum(one.num_wanted for one in chosen.quotas)
    )
    if divide == "proportional":
        assert all(one.num_kept == one.num_wanted for one in chosen.quotas)


class TestNearDuplicates:
    """Texts are sets of numbers here, each number a 5-gram."""

    @pytest.fixture(autouse=True)
    def _needs_it(self) -> None:
        pytest.importorskip("datasketch")

    def texts(self, *texts: range) -> Materials:
        return Materials(read_hashes=lambda rows: [np.array(texts[row], np.uint32) for row in rows])

    def test_a_twin_of_a_better_row_is_replaced_by_the_next_row(self) -> None:
        materials = self.texts(range(100), range(9, 109), range(500, 600), range(900, 990))
        config = SelectConfig("top_k", k=3, max_similarity=0.8)
        chosen = choose(made_up(4), config, 0, materials)
        assert kept(chosen) == [0, 2, 3]
        assert [(one.row, one.twin) for one in chosen.near_duplicates] == [(1, 0)]
        assert choose(made_up(4), replace(config, k=4), 0, materials).selection.row_K.size == 3

    def test_a_value_that_is_all_twins_gives_its_rows_to_the_others(self) -> None:
        same, others = range(100), [range(n * 1000, n * 1000 + 50) for n in range(1, 5)]
        materials = replace(
            self.texts(*others, same, same, same, same), sources=tasks("ccccmmmm").sources
        )
        config = SelectConfig("top_k", k=4, per="task", divide="equal", max_similarity=0.9)
        chosen = choose(made_up(8), config, 0, materials)
        assert kept(chosen) == [0, 1, 2, 4]
        assert [(one.num_wanted, one.num_kept) for one in chosen.quotas] == [(2, 3), (2, 1)]

    def test_thresholds_and_tokens_pass_twins_over(self) -> None:
        materials = self.texts(range(100), range(100), range(200, 300), range(300, 400))
        above = SelectConfig("threshold", min_score=0.3, max_similarity=0.8)
        assert kept(choose(made_up(4), above, 0, materials)) == [0, 2]
        tokens = SelectConfig("top_tokens", tokens=23, max_similarity=0.8)  # 10 and 12
        assert kept(choose(made_up(4), tokens, 0, materials)) == [0, 2]
        all_there_is = choose(made_up(4), replace(tokens, tokens=40), 0, materials)
        assert kept(all_there_is) == [0, 2, 3]

    def test_only_as_many_texts_are_read_as_it_takes(self) -> None:
        read: list[int] = []

        def read_hashes(rows: np.ndarray) -> list[np.ndarray]:
            read.extend(rows.tolist())
            return [np.array([row], np.uint32) for row in rows]

        config = SelectConfig("top_k", k=10, max_similarity=0.8)
        choose(made_up(5000), config, 0, Materials(read_hashes=read_hashes))
        assert len(read) == len(set(read)) < 300

    def test_past_what_a_race_settled_twins_are_refused(self) -> None:
        materials = replace(
            self.texts(*[range(100)] * 3, *(range(n * 1000, n * 1000 + 9) for n in range(1, 8))),
            num_settled=4,
        )
        config = SelectConfig("top_k", k=3, max_similarity=0.8)
        with pytest.raises(UserError, match=r"max_similarity=0\.8: .*race\.top_k=7,"):
            choose(raced(10, 6), config, 0, materials)

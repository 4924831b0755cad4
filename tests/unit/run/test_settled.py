"""What a race settled, and what goes past it."""

from dataclasses import replace

import numpy as np
import pytest
from shown_run import readable_run

from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.run.joined import read_scored
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.settled import check_settled, num_settled
from nuggets_ray.select import select as choose_rows


@pytest.fixture
def out_dir(tmp_path: object) -> str:
    return readable_run(f"{tmp_path}/run")


def test_a_race_settles_what_it_says_where_rows_are_ranked_by_its_score(out_dir: str) -> None:
    scored = read_scored(out_dir)
    write_json(RunFolder(out_dir).manifest, {"schema_version": 1, "race": {"top_k": 4}})
    by_score, by_length = SelectConfig("top_k", k=2), SelectConfig("top_k", k=2, by="longest")
    assert num_settled(out_dir, scored.scores, by_score) is None, "every row has its score"
    scored.scores.golden_score[3] = np.nan
    assert num_settled(out_dir, scored.scores, by_score) == 4
    assert num_settled(out_dir, scored.scores, by_length) is None
    with pytest.raises(UserError, match="the race left the worst rows behind"):
        num_settled(out_dir, scored.scores, replace(by_score, order="bottom"))


@pytest.mark.parametrize(
    ("race", "select", "message"),
    [
        ({"top_k": 4}, SelectConfig("top_k", k=4), None),
        ({"top_k": 4}, SelectConfig("top_k", k=5), r"race\.top_k=5"),
        ({"top_k": 4}, SelectConfig("threshold", min_score=0.75), None),
        ({"top_k": 4}, SelectConfig("threshold", min_score=0.4), r"race\.min_score=0\.4"),
        ({"top_k": 4, "min_score": 0.4}, SelectConfig("threshold", min_score=0.4), None),
    ],
)
def test_a_selection_past_what_is_settled_is_refused_with_the_way_out(
    out_dir: str, race: dict[str, float], select: SelectConfig, message: str | None
) -> None:
    scores = read_scored(out_dir).scores
    scores.golden_score[scores.golden_score < 0.5] = np.nan
    write_json(RunFolder(out_dir).manifest, {"schema_version": 1, "race": race})
    selection = choose_rows(scores, select, 0)
    if message is None:
        assert check_settled(out_dir, scores, selection, select) is None
        return
    with pytest.raises(UserError, match=message):
        check_settled(out_dir, scores, selection, select)

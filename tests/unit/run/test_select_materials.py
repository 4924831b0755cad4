"""What the steps take of a run folder, and what is not there."""

from typing import Any

import numpy as np
import pytest
from shown_run import readable_run

from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.joined import read_scored
from nuggets_ray.run.select import select_candidates
from nuggets_ray.run.select_materials import check_materials, read_materials


@pytest.fixture
def out_dir(tmp_path: object) -> str:
    return readable_run(f"{tmp_path}/run")


def materials(out_dir: str, **keys: Any) -> Any:
    config = SelectConfig(**{"rule": "top_k", "k": 4, **keys})
    return read_materials(out_dir, config, read_scored(out_dir), None)


def test_the_lengths_of_another_selection(out_dir: str) -> None:
    random = SelectConfig("top_k", k=3, by="random")
    select_candidates(Config(out_dir, select=random))
    scored = read_scored(out_dir)
    lengths = materials(out_dir, match_length="random-0").target_lengths
    assert len(lengths) == 3 and set(lengths) <= set(scored.scores.num_answer_tokens.tolist())
    with pytest.raises(UserError, match=r"no such selection \(there are: random-0\)"):
        materials(out_dir, match_length="random-7")
    with pytest.raises(UserError, match=r"match_length=best is this selection itself"):
        materials(out_dir, match_length="best", name="best")


def test_a_selection_that_will_be_made_need_not_be_there(out_dir: str) -> None:
    matched = SelectConfig("top_k", k=3, match_length="random-0")
    assert check_materials(out_dir, matched, is_matched_made=True) is None
    with pytest.raises(UserError, match=r"no such selection \(there is none yet\)"):
        check_materials(out_dir, matched)


def test_diversity_takes_something_that_embeds(out_dir: str) -> None:
    with pytest.raises(UserError, match=r"select\.diversity=k_center takes .*jobs/select_topk"):
        materials(out_dir, diversity="k_center")


def test_texts_are_read_when_they_are_asked_for(out_dir: str) -> None:
    pytest.importorskip("datasketch")
    read = materials(out_dir, max_similarity=0.8).read_hashes
    one, other = read(np.array([0, 1]))
    assert one.dtype == np.uint32 and len(one) and one.tolist() != other.tolist()

"""The pictures of anchor_robustness are drawn of what the study found."""

import numpy as np
import pytest
from studied_run import factor_deltas

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.studies.anchor_robustness import Robustness, study_robustness
from nuggets_ray.studies.matrix import DeltaMatrix
from nuggets_ray.studies.robustness_pictures import (
    composition_picture,
    cut_picture,
    signal_picture,
)


@pytest.fixture(scope="module")
def found() -> Robustness:
    ids = np.array([f"c{number}" for number in range(200)])
    matrix = DeltaMatrix(ids, factor_deltas(200, 40), 200, False, False)
    return study_robustness(matrix, StudyConfig(draws=2, cuts=[0.05, 0.1]), 0)


def test_each_picture_has_a_name_and_a_text_for_those_who_do_not_see_it(found: Robustness) -> None:
    pictures = [
        cut_picture(found, 40, [0.05, 0.1]),
        signal_picture(found, 40),
        composition_picture(found),
    ]
    assert len({picture.name for picture in pictures}) == 3
    for picture in pictures:
        assert picture.png.startswith(b"\x89PNG") and len(picture.png) > 5000
        assert picture.text


def test_other_cuts_make_another_picture(found: Robustness) -> None:
    assert cut_picture(found, 40, [0.05, 0.1]).png != cut_picture(found, 40, [0.05]).png

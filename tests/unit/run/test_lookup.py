"""Ids among others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nuggets_ray.run.lookup import Lookup

IDS = st.lists(st.text("ab\u00e9", max_size=3), max_size=20)


@given(ids=IDS, asked=IDS)
def test_the_first_place_of_each_id_or_none(ids: list[str], asked: list[str]) -> None:
    found = Lookup(np.array(ids, dtype=str)).find(np.array(asked, dtype=str))
    assert found.tolist() == [ids.index(one) if one in ids else -1 for one in asked]
    assert found.dtype == np.int64

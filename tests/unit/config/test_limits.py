"""Ranges and choices in a field's metadata: what they refuse, and that every field keeps them."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from omegaconf import OmegaConf

from nuggets_ray.config.keys import key_choices
from nuggets_ray.config.limits import (
    allowed_values,
    check_limits,
    choice,
    choices,
    number,
    share,
    usual,
)
from nuggets_ray.config.schema import Config, DataConfig, check
from nuggets_ray.errors import UserError


@dataclass(frozen=True)
class Inner:
    rows: int | None = number(None, at_least=1)
    turns: int = number(2, at_least=1, at_most=2)
    top_p: float = share(1.0, at_least=0.001)
    method: str = choice("full", "lora")
    retry: list[str] = choices("killed_worker", "error")
    free: int = 0
    by: Any = usual("score", "random")


@dataclass(frozen=True)
class Outer:
    seconds: float = number(1.5, at_least=0.1)
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 0}, "inner.rows=0: must be at least 1"),
        ({"turns": 3}, "inner.turns=3: must be at most 2"),
        ({"turns": 0}, "inner.turns=0: must be at least 1"),
        ({"top_p": 0.0}, "inner.top_p=0.0: must be at least 0.001"),
        ({"top_p": 1.5}, "inner.top_p=1.5: must be between 0 and 1"),
        ({"top_p": float("nan")}, "inner.top_p=nan: must be a finite number"),
        ({"free": 2**63}, f"inner.free={2**63}: is too large a number"),
        ({"method": "ful"}, "inner.method=ful: take one of full, lora; did you mean"),
        ({"method": "zzz"}, "inner.method=zzz: take one of full, lora"),
        (
            {"retry": ["killed_worker", "errors"]},
            "inner.retry=errors: take one of killed_worker, error; did you mean "
            "inner.retry=[killed_worker,error]?",
        ),
        ({"retry": ["zzz"]}, "inner.retry=zzz: take one of killed_worker, error"),
    ],
)
def test_a_value_outside_its_limits_is_one_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_limits(Outer(inner=replace(Inner(), **values)))
    text = str(caught.value)
    assert text.startswith(message) and ("did you mean" in text) == ("did you mean" in message)


def test_ends_of_a_range_and_nothing_are_taken() -> None:
    inner = Inner(rows=1, turns=1, top_p=0.001, method="lora", retry=[])
    check_limits(Outer(seconds=0.1, inner=inner))
    check_limits(Outer(inner=Inner(turns=2, top_p=1.0)))
    with pytest.raises(UserError, match=r"inner\.turns=3"):
        check_limits(Outer(inner=Inner(turns=3, top_p=1.0)))


def test_limits_and_defaults_outlive_omegaconf() -> None:
    assert OmegaConf.to_object(OmegaConf.structured(Outer)) == Outer()
    made = OmegaConf.to_object(OmegaConf.structured(Outer(2.0, Inner(rows=0))))
    assert made == Outer(2.0, Inner(rows=0))
    with pytest.raises(UserError, match=r"inner\.rows=0"):
        check_limits(made)


def test_what_a_field_takes_can_be_read() -> None:
    assert allowed_values(DataConfig, "retry") == ("killed_worker", "error")
    assert allowed_values(DataConfig, "on_too_long") == ("skip", "truncate")
    assert key_choices()["model.tokenizer"] == ("auto", "file", "transformers")
    assert "data.retry" not in key_choices()


def test_the_configuration_s_own_defaults_are_within_their_limits() -> None:
    check(Config())
    with pytest.raises(UserError, match=r"judge\.concurrency=0: must be at least 1"):
        check(replace(Config(), judge=replace(Config().judge, concurrency=0)))


def test_what_is_usual_is_no_limit() -> None:
    check_limits(Outer(inner=Inner(by={"score": 1.0})))
    check_limits(Outer(inner=Inner(by="a column")))
    assert allowed_values(Inner, "by") == ("score", "random")

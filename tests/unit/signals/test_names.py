"""What a run is asked, and where each signal comes from."""

from pathlib import Path

import pytest

import nuggets_ray.signals
from nuggets_ray.config.limits import allowed_values
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.signals.names import COLUMNS_OF, OF_MATRIX, OF_SCORES, SIGNALS, pass_of, wanted

ELSEWHERE = {"golden_score", "posterior_score"}


def test_every_signal_comes_from_one_place() -> None:
    of_pass = {name for columns in COLUMNS_OF.values() for name in columns}
    assert {*OF_SCORES, *OF_MATRIX, *of_pass} == set(SIGNALS)
    assert not of_pass & {*OF_SCORES, *OF_MATRIX}


def test_every_signal_has_a_module() -> None:
    folder = Path(nuggets_ray.signals.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")}
    assert {name.removesuffix("_perplexity") for name in SIGNALS} - ELSEWHERE <= modules


@pytest.mark.parametrize(
    ("asked", "backend", "given"),
    [
        (["auto"], "transformers", ("perplexity",)),
        (["auto"], "vllm", ()),
        (["perplexity", "auto"], "vllm", ("perplexity",)),
        (["rds", "auto", "rds"], "transformers", ("perplexity", "rds")),
        ([], "transformers", ()),
    ],
)
def test_auto_is_what_costs_nothing(asked: list[str], backend: str, given: tuple[str, ...]) -> None:
    assert wanted(asked, backend) == given


def test_the_configuration_names_them_all() -> None:
    assert set(allowed_values(SelectConfig, "by")) == set(SIGNALS)
    assert set(allowed_values(Config, "signals")) == {"auto", *COLUMNS_OF}


def test_what_to_ask_for_a_signal() -> None:
    assert pass_of("ifd_perplexity") == "ifd"
    assert pass_of("perplexity") == "perplexity"
    assert pass_of("loss_ratio") is None

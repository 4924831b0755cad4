"""bench=peers: its comparisons, which of them are chosen, and the tables."""

import pytest
from made_up_bench import Machine, make_plan

from nuggets_ray.bench import peers
from nuggets_ray.bench.contenders import LOADERS
from nuggets_ray.bench.measure import measure
from nuggets_ray.bench.peers import COMPARISONS, CONTENDERS
from nuggets_ray.bench.tables import Comparison, compare
from nuggets_ray.config.bench import BenchConfig
from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError


def test_every_contender_and_base_is_known_and_says_what_made_it_fast() -> None:
    names = {name for c in COMPARISONS for name in (c.contender, c.base)}
    assert names == set(CONTENDERS)
    for name, contender in CONTENDERS.items():
        assert contender.kind in LOADERS and contender.made_fast, name
        assert contender.dtype == ("float32" if name.endswith("float32") else "bfloat16")


def test_cases_and_contenders_choose_among_the_comparisons() -> None:
    def chosen(**bench: object) -> list[Comparison]:
        return peers.chosen(Config(bench=BenchConfig(**bench)))  # type: ignore[arg-type]

    assert chosen() == list(COMPARISONS)
    assert {c.case for c in chosen(cases=["cut-400"])} == {"cut-400"}
    assert {c.contender for c in chosen(contenders=["vllm", "naive"])} == {"vllm", "naive"}
    with pytest.raises(UserError, match="no comparison in common.*naive in cut-200"):
        chosen(cases=["text-200"], contenders=["naive"])


def test_the_report_has_ratios_and_reasons() -> None:
    names = ("tree", "official", "naive", "vllm")
    plan = make_plan({"cut-200": [CONTENDERS[name] for name in names]})
    machine = Machine(
        plan,
        seconds=lambda name, repeat: {"official": 1.5, "naive": 3.0}.get(name, 1.0),
        change={"vllm": lambda found: found + 0.5},
    )
    results = measure(plan, machine.start, checked=True)
    comparisons = [c for c in COMPARISONS if c.case == "cut-200" and c.contender in names]
    compared = [compare(comparison, results, "cpu") for comparison in comparisons]
    text = peers.text(plan, results, compared, "demo")

    def cells(*words: str) -> list[str]:
        (line,) = [ln for ln in text.splitlines() if all(word in ln for word in words)]
        return [cell.strip() for cell in line.split("|")[1:-1]]

    assert cells("official / tree") == ["cut-200", "official / tree", "1.50x", "one dtype"]
    assert cells("naive / tree")[2:] == ["3.00x", ""]
    assert cells("vllm / tree")[2:] == ["invalid", ""]
    assert cells("| vllm  ")[3] == "invalid" and cells("| vllm  ")[6] == "5.0e-01"
    assert "* vllm: invalid: off by 0.5 nats in float32" in text
    assert f"* naive: {peers.NAIVE}." in text

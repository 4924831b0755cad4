"""K-means anchors: what is averaged, which rows are nearest; order and batches do not matter."""

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from nuggets_ray.anchors.kmeans import cluster_of, embed, kmeans_ids
from nuggets_ray.errors import UserError

LENGTHS = [1, 9, 4, 4, 17, 2, 9]


def llama() -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval()


def gpt2() -> PreTrainedModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=97, n_embd=16, n_layer=2, n_head=2)).eval()


@pytest.fixture
def token_ids() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 97, length) for length in LENGTHS]


@pytest.mark.parametrize("make_model", [llama, gpt2])
@pytest.mark.parametrize("max_batch_tokens", [1, 20, 1000])
def test_embed_is_the_mean_of_the_last_hidden_state_without_padding(
    make_model, max_batch_tokens: int, token_ids: list[np.ndarray]
) -> None:
    model = make_model()
    hidden_NH = embed(model, token_ids, max_batch_tokens)
    assert hidden_NH.dtype == np.float32
    for hidden_H, ids in zip(hidden_NH, token_ids, strict=True):
        with torch.no_grad():
            output = model(torch.from_numpy(ids)[None], output_hidden_states=True)
        alone_H = output.hidden_states[-1][0].mean(dim=0).numpy()
        np.testing.assert_allclose(hidden_H, alone_H, atol=1e-5)


def test_embed_gives_the_same_bits_in_any_order(token_ids: list[np.ndarray]) -> None:
    model = llama()
    hidden_NH = embed(model, token_ids, 20)
    order = [6, 2, 0, 5, 1, 4, 3]
    shuffled_NH = embed(model, [token_ids[row] for row in order], 20)
    np.testing.assert_array_equal(shuffled_NH, hidden_NH[order])


def clusters(num_clusters: int, rows_each: int) -> tuple[list[str], np.ndarray]:
    """Rows around far-apart centres; the first row of each cluster lies exactly on its centre."""
    draw = np.random.default_rng(0)
    offset_NH = draw.normal(scale=0.1, size=(num_clusters, rows_each, 8))
    offset_NH[:, 1 : rows_each // 2 + 1] = -offset_NH[:, rows_each // 2 + 1 :]
    offset_NH[:, 0] = 0
    centre_NH = 100 * np.eye(num_clusters, 8)[:, None]
    ids = [f"c{c}-{row:02d}" for c in range(num_clusters) for row in range(rows_each)]
    return ids, (centre_NH + offset_NH).reshape(-1, 8).astype(np.float32)


def test_takes_the_row_nearest_to_each_centre() -> None:
    ids, hidden_NH = clusters(num_clusters=5, rows_each=11)
    assert sorted(kmeans_ids(ids, hidden_NH, 5, seed=0)) == [f"c{c}-00" for c in range(5)]


def test_row_order_and_copies_do_not_matter() -> None:
    draw = np.random.default_rng(1)
    hidden_NH = draw.normal(size=(60, 8)).astype(np.float32)
    ids = [f"id-{row}" for row in range(60)]
    expected = kmeans_ids(ids, hidden_NH, 7, seed=3)
    order = np.concatenate([draw.permutation(60), draw.integers(0, 60, 15)])
    assert kmeans_ids([ids[row] for row in order], hidden_NH[order], 7, seed=3) == expected


def test_equal_rows_go_to_the_smaller_content_id() -> None:
    ids, hidden_NH = clusters(num_clusters=3, rows_each=11)
    twins = [f"{content_id}-twin" for content_id in ids]
    chosen = kmeans_ids(twins + ids, np.concatenate([hidden_NH, hidden_NH]), 3, seed=0)
    assert sorted(chosen) == ["c0-00", "c1-00", "c2-00"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_anchors_are_distinct_even_where_fewer_places_are() -> None:
    ids = [f"id-{row}" for row in range(6)]
    hidden_NH = np.repeat(np.eye(2, 4, dtype=np.float32), 3, axis=0)
    chosen = kmeans_ids(ids, hidden_NH, 5, seed=0)
    assert len(set(chosen)) == len(chosen) == 5


def test_too_many_anchors_are_refused() -> None:
    with pytest.raises(UserError, match=r"anchors\.num=3 .* 2 different candidates"):
        kmeans_ids(["a", "b", "b"], np.eye(3, dtype=np.float32), 3, seed=0)


def test_clusters_hold_rows_that_are_near_each_other() -> None:
    hidden_NH = np.array([[0.0], [9.0], [0.1], [9.1], [0.1]], np.float32)
    clusters = cluster_of(["a", "b", "c", "d", "c"], hidden_NH, 2, 0)
    assert clusters["a"] == clusters["c"] != clusters["b"] == clusters["d"]
    assert len(set(cluster_of(["a", "b"], hidden_NH[:2], 10, 0).values())) == 2

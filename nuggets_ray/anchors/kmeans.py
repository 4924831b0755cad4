"""K-means of the model's own hidden states: the candidates nearest to the centres as anchors, or
the clusters as strata to draw them from.

A candidate's vector is the mean over its tokens of the last hidden state; unlike the official code,
padding is left out of the mean. Shapes: N candidates, B a batch, T padded tokens, H hidden size, K
anchors.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from transformers import PreTrainedModel

from nuggets_ray.anchors.random import check_num
from nuggets_ray.model.body import body_of, state_size

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

DISTANCE_ROWS = 65_536


@torch.inference_mode()
def embed(
    model: PreTrainedModel, token_ids: Sequence[np.ndarray], max_batch_tokens: int = 8192
) -> np.ndarray:
    """Masked mean-pooled last hidden state of every sequence: (N, H) float32, in the order given.

    A batch holds sequences of similar length, at most `max_batch_tokens` with padding (a longer
    sequence goes alone). Every sequence needs a token. Which sequences share a batch does not
    depend on the order given.
    """
    hidden_NH = np.empty((len(token_ids), state_size(model)), np.float32)
    for rows in _batches(token_ids, max_batch_tokens):
        lengths_B = torch.tensor([len(token_ids[row]) for row in rows])
        mask_BT = torch.arange(int(lengths_B.max()))[None, :] < lengths_B[:, None]
        ids_BT = torch.zeros(mask_BT.shape, dtype=torch.int64)
        ids_BT[mask_BT] = torch.from_numpy(
            np.concatenate([token_ids[row] for row in rows]).astype(np.int64)
        )
        mask_BT = mask_BT.to(model.device)
        output = body_of(model)(
            input_ids=ids_BT.to(model.device), attention_mask=mask_BT.long(), use_cache=False
        )
        # where, not a product: what a model computes at padding may be NaN, and 0 * NaN is NaN.
        summed_BH = torch.where(mask_BT[:, :, None], output.last_hidden_state.float(), 0.0).sum(
            dim=1
        )
        hidden_NH[rows] = (summed_BH / mask_BT.sum(dim=1, keepdim=True)).cpu().numpy()
    return hidden_NH


def _batches(token_ids: Sequence[np.ndarray], max_batch_tokens: int) -> Iterator[list[int]]:
    """Rows by length, then by content, cut where the padded batch would pass the limit."""
    rows: list[int] = []
    for row in sorted(
        range(len(token_ids)), key=lambda row: (len(token_ids[row]), tuple(token_ids[row]))
    ):
        if rows and (len(rows) + 1) * len(token_ids[row]) > max_batch_tokens:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def kmeans_ids(content_ids: Sequence[str], hidden_NH: np.ndarray, num: int, seed: int) -> list[str]:
    """The `num` distinct content_ids nearest to the centres of a k-means clustering, in the order
    of the centres.

    scikit-learn's KMeans(num, random_state=seed, n_init="auto"), that is one start by k-means++, on
    the rows sorted by content_id. A row nearest to two centres serves the first; ties go to the
    smaller content_id. Raises UserError when there are fewer distinct content_ids than `num`.
    """
    distinct_ids, first_row = np.unique(np.asarray(content_ids), return_index=True)
    check_num(num, len(distinct_ids))
    sorted_NH = hidden_NH[first_row]
    is_free_N = np.ones(len(distinct_ids), dtype=bool)
    chosen: list[str] = []
    for centre_H in _clustering(sorted_NH, num, seed).cluster_centers_:
        distance_N = np.where(is_free_N, _squared_distance(sorted_NH, centre_H), np.inf)
        nearest = int(np.argmin(distance_N))
        is_free_N[nearest] = False
        chosen.append(str(distinct_ids[nearest]))
    return chosen


def cluster_of(
    content_ids: Sequence[str], hidden_NH: np.ndarray, num_clusters: int, seed: int
) -> dict[str, str]:
    """{content_id: its cluster}, of the same clustering as in `kmeans_ids`; as many clusters as
    there are different rows, where that is fewer.
    """
    distinct_ids, first_row = np.unique(np.asarray(content_ids), return_index=True)
    labels = _clustering(hidden_NH[first_row], min(num_clusters, len(distinct_ids)), seed).labels_
    return dict(zip(distinct_ids.tolist(), map(str, labels), strict=True))


def _clustering(sorted_NH: np.ndarray, num: int, seed: int) -> "KMeans":
    from sklearn.cluster import KMeans  # seconds, which other rules need not wait for

    # Threads add up partial centres in the order they finish; a single one gives the same anchors
    # in every attempt.
    with threadpool_limits(limits=1):
        return KMeans(num, random_state=seed, n_init="auto").fit(sorted_NH)


def _squared_distance(hidden_NH: np.ndarray, centre_H: np.ndarray) -> np.ndarray:
    """(N,) squared distances, a block of rows at a time; equal rows get equal distances to the last
    bit."""
    distance_N = np.empty(len(hidden_NH), hidden_NH.dtype)
    for start in range(0, len(hidden_NH), DISTANCE_ROWS):
        difference = hidden_NH[start : start + DISTANCE_ROWS] - centre_H
        distance_N[start : start + DISTANCE_ROWS] = np.einsum("nh,nh->n", difference, difference)
    return distance_N

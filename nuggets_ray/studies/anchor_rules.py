"""Which of the anchors make up a smaller set: at random, nearest to the centres of k-means, or a
share of every cluster (stratified).

Clusters are of what is saved: anchors that the same rows help lie together (columns of deltas, each
standardised). So they are not the clusters of `anchors=kmeans`, which are of hidden states.

Legend: N rows, A anchors, K clusters, E coordinates.
"""

from collections.abc import Callable

import numpy as np

NUM_STRATA = 5


def at_random(delta_NA: np.ndarray, num: int, seed: int) -> np.ndarray:
    """`num` of the A anchors."""
    chosen: np.ndarray = np.random.default_rng(seed).permutation(delta_NA.shape[1])[:num]
    return chosen


def nearest_to_centres(delta_NA: np.ndarray, num: int, seed: int) -> np.ndarray:
    """The anchor nearest to each of `num` centres; one that is nearest to two serves the first, and
    of two that are as near the first is taken."""
    points_AE, centres_KE, _ = _clusters(delta_NA, num, seed)
    chosen: list[int] = []
    for centre_E in centres_KE:
        distance_A = ((points_AE - centre_E) ** 2).sum(axis=1)
        distance_A[chosen] = np.inf
        # of a pair both are as near as the other, but for rounding
        chosen.append(int(np.argmax(distance_A <= distance_A.min() * (1 + 1e-9))))
    return np.array(chosen)


def stratified(delta_NA: np.ndarray, num: int, seed: int) -> np.ndarray:
    """At random within clusters, each by its share of the anchors (largest remainders)."""
    _, _, cluster_A = _clusters(delta_NA, min(NUM_STRATA, num), seed)
    sizes_K = np.bincount(cluster_A)
    quota_K = sizes_K * num / sizes_K.sum()
    count_K = np.floor(quota_K).astype(int)
    left = np.argsort(-(quota_K - count_K), kind="stable")[: num - int(count_K.sum())]
    count_K[left] += 1
    rng = np.random.default_rng(seed)
    of_clusters = [
        rng.permutation(np.flatnonzero(cluster_A == cluster))[:count]
        for cluster, count in enumerate(count_K)
    ]
    chosen: np.ndarray = np.concatenate(of_clusters)
    return chosen


def _clusters(
    delta_NA: np.ndarray, num: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Anchors as points (A, E), centres (K, E), the cluster of each anchor (A,).

    The points are the standardised columns, turned into as few dimensions as they span (E is the
    smaller of N and A): k-means sees nothing but distances, which are the same.
    """
    from sklearn.cluster import KMeans  # seconds, which other studies need not wait for
    from threadpoolctl import threadpool_limits

    spread_A = np.nanstd(delta_NA, axis=0)
    columns_NA = (delta_NA - np.nanmean(delta_NA, axis=0)) / np.where(spread_A > 0, spread_A, 1)
    columns_AN = np.nan_to_num(columns_NA).T.astype(np.float64)
    with threadpool_limits(limits=1):  # sums in one order: the same clusters every time
        points_AE = _turned(columns_AN)
        clustering = KMeans(num, random_state=seed, n_init="auto").fit(points_AE)
    return points_AE, clustering.cluster_centers_, clustering.labels_


def _turned(columns_AN: np.ndarray) -> np.ndarray:
    """Points at the same distances from each other, of A coordinates where N are more."""
    num_anchors, num_rows = columns_AN.shape
    if num_rows <= num_anchors:
        return columns_AN
    value_E, vector_AE = np.linalg.eigh(columns_AN @ columns_AN.T)
    points_AE: np.ndarray = vector_AE * np.sqrt(np.maximum(value_E, 0))
    return points_AE


RULES: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "random": at_random,
    "kmeans": nearest_to_centres,
    "stratified": stratified,
}
"""{rule: (deltas (N, A), how many, seed) -> indices of the chosen anchors}."""

"""Which examples are the anchors of a run: set by set, from files or drawn from the candidates, the
rows' hidden states taken by a worker.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from nuggets_ray.anchors.drawn import (
    MAX_KMEANS_ROWS,
    drawn_examples,
    hidden_states,
    strata_by_field,
)
from nuggets_ray.anchors.encode import encode_anchors
from nuggets_ray.anchors.file import load_examples
from nuggets_ray.anchors.fingerprint import drawn_rules, recorded_rules
from nuggets_ray.anchors.kmeans import cluster_of, kmeans_ids
from nuggets_ray.anchors.known import (
    check_rules,
    check_sets,
    new_of_file,
    num_to_draw,
    numbered,
)
from nuggets_ray.anchors.number import default_num
from nuggets_ray.anchors.random import DEFAULT_NUM, check_num, random_ids
from nuggets_ray.anchors.stratified import stratified_ids
from nuggets_ray.config.anchor_sets import anchor_sets, told_of_set
from nuggets_ray.config.schema import AnchorsConfig, Config
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor
from nuggets_ray.run.anchors import read_known
from nuggets_ray.run.candidates import CandidateIds, is_among
from nuggets_ray.run.manifest import Run
from nuggets_ray.stages.cluster.workers import Workers
from nuggets_ray.stages.score.worker import Setup, model_result, model_task

logger = logging.getLogger(__name__)


def settle_num(run: Run, config: Config, candidates: CandidateIds) -> Config:
    """`config` with the number of anchors of each set that is to be drawn: as given, else that of
    the anchors which the folder has of it, else the default.
    """
    anchors = config.anchors
    sets = anchor_sets(anchors)
    still_open = [n for n, one in sets.items() if one.method != "file" and one.num is None]
    if not still_open:
        return config
    recorded = recorded_rules(run.manifest.get("fingerprint", {}))
    rules = drawn_rules(anchors, config.seed)
    there = Counter(anchor.anchor_set for anchor in read_known(config.out_dir)[0])
    num = {name: there[name] for name in still_open if recorded.get(name) == rules[name]}
    if not all(num.get(name) for name in still_open):
        default = _default_num(config, candidates)
        num = {name: num.get(name) or default for name in still_open}
    if not anchors.sets:
        return replace(config, anchors=replace(anchors, num=num[anchors.method]))
    filled = {n: {**one, "num": num[n]} if n in num else one for n, one in anchors.sets.items()}
    return replace(config, anchors=replace(anchors, sets=filled))


def _default_num(config: Config, candidates: CandidateIds) -> int:
    num_distinct = int(np.count_nonzero(~candidates.is_duplicate_N))
    schedule = config.schedule.name
    num = default_num(schedule, config.race, config.select, num_distinct)
    if num != DEFAULT_NUM:
        logger.info(
            "%d anchors are drawn, as schedule=%s has %d different candidates to share their cost "
            "(full scoring draws %d; anchors.num=N: another number)",
            *(num, schedule, num_distinct, DEFAULT_NUM),
        )
    return num


def choose_anchors(
    run: Run,
    setup: Setup,
    prompt: Prompt,
    candidates: CandidateIds,
    workers: Workers,
    known: Sequence[Anchor] = (),
) -> list[Anchor]:
    """The anchors that are asked for: those of `known`, in its order, then the others, set by set
    in the order of anchors.sets.

    What is drawn (seeded) is drawn beside the anchors of every file and of the sets before it.
    Raises OtherAnchorsError where an anchor of `known` is not asked for any more.
    """
    sets = anchor_sets(setup.config.anchors)
    check_sets(known, sets)
    check_rules(
        known,
        recorded_rules(run.manifest.get("fingerprint", {})),
        drawn_rules(setup.config.anchors, setup.config.seed),
    )
    new: dict[str, list[Anchor]] = {}
    for name, config in sorted(sets.items(), key=lambda item: item[1].method != "file"):
        others = [*known, *chain.from_iterable(new.values())]
        with told_of_set(setup.config.anchors, name):
            new[name] = _new_of_set(setup, name, config, prompt, candidates, workers, others)
    return [*known, *chain.from_iterable(new[name] for name in sets)]


def _new_of_set(
    setup: Setup,
    name: str,
    config: AnchorsConfig,
    prompt: Prompt,
    candidates: CandidateIds,
    workers: Workers,
    others: Sequence[Anchor],
) -> list[Anchor]:
    """The anchors of a set that are not among `others`, those chosen so far."""
    if config.method == "file":
        given = encode_anchors(load_examples(config), name, prompt)
        return numbered(name, new_of_file(name, given, others), others)
    assert config.num is not None
    num = num_to_draw(name, config.method, config.num, others)
    if not num:
        return []
    chosen = _draw(setup, replace(config, num=num), prompt, candidates, workers, others)
    examples = drawn_examples(setup.config.out_dir, chosen, setup.rules)
    return numbered(name, encode_anchors(examples, name, prompt), others)


def _draw(
    setup: Setup,
    config: AnchorsConfig,
    prompt: Prompt,
    candidates: CandidateIds,
    workers: Workers,
    others: Sequence[Anchor],
) -> list[str]:
    """The content_ids of config.num candidates, none of them among `others`."""
    num, seed = config.num, setup.config.seed
    assert num is not None
    is_taken_N = is_among(candidates.content_id_N, [anchor.content_id for anchor in others])
    ids = candidates.content_id_N[~candidates.is_duplicate_N & ~is_taken_N].tolist()
    check_num(num, len(ids))
    if config.method == "random":
        return random_ids(ids, num, seed)
    if config.method == "stratified" and config.per is not None:
        strata = strata_by_field(setup.config.out_dir, config.per)
        stratum_of = {content_id: strata[content_id] for content_id in ids}
        return stratified_ids(stratum_of, num, seed, config.divide, f"anchors.per={config.per}")
    sample = random_ids(ids, min(len(ids), MAX_KMEANS_ROWS), seed)
    task = model_task(_by_hidden_states, setup, workers)
    chosen: list[str] = model_result(task.remote(setup, config, sample, prompt), setup.config)
    return chosen


def _by_hidden_states(
    setup: Setup, config: AnchorsConfig, ids: list[str], prompt: Prompt
) -> list[str]:
    # on a worker, so that the driver holds neither rows nor hidden states
    examples = drawn_examples(setup.config.out_dir, ids, setup.rules)
    token_ids = [prompt.anchor(example).token_ids for example in examples]
    num, seed = config.num, setup.config.seed
    assert num is not None
    hidden_NH = hidden_states(
        setup.config.model, setup.dtype, setup.device, config.method, token_ids
    )
    if config.method == "kmeans":
        return kmeans_ids(ids, hidden_NH, num, seed)
    clusters = cluster_of(ids, hidden_NH, config.clusters, seed)
    return stratified_ids(clusters, num, seed, config.divide, "k-means cluster")

"""added/: anchors that are being added to a scored run, and what its rows met of them so far.

The folder reads as it was until every row has met them. Then the rows with all their columns are
written under added/scores/, swap.json names the parts that come and those that go, and they change
places; whoever finds swap.json finishes the change before anything else.
"""

from collections.abc import Sequence

import numpy as np

from nuggets_ray import io
from nuggets_ray.anchors.known import are_the_same
from nuggets_ray.errors import UserError
from nuggets_ray.records import Anchor
from nuggets_ray.run.anchors import read_anchors
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.rounds import read_answers, read_rounds
from nuggets_ray.run.scores import complete_ids, complete_parts, score_parts
from nuggets_ray.run.skipped import given_up


def check_can_grow(out_dir: str, known: Sequence[Anchor]) -> None:
    """Raise UserError for a run whose scores cannot meet more anchors than the `known` ones."""
    if not known:
        raise UserError(
            f"out_dir={out_dir} holds scores and no anchors.parquet: put that back, or give "
            "another out_dir"
        )
    if len(complete_parts(out_dir)) < len(score_parts(out_dir)) or _is_racing(out_dir):
        raise UserError(
            f"out_dir={out_dir} was raced over {len(known)} anchors, and which rows were left "
            "behind rests on them: add no anchors, score it to the end first with schedule=full "
            "and the same anchors, or give another out_dir"
        )


def _is_racing(out_dir: str) -> bool:
    """Whether a race has answers of rows that still wait for their golden score."""
    settled = [*complete_ids(out_dir), *given_up(out_dir)]
    return any(
        not np.isin(ask.content_ids, settled).all()
        for decided in read_rounds(out_dir)
        for ask in decided.asks
    )


def pending_anchors(
    out_dir: str, known: Sequence[Anchor]
) -> tuple[list[Anchor], np.ndarray] | None:
    """The anchors of the run as they will be, with their zero-shot log-probs (A,), where an earlier
    attempt began to add some to the `known` ones; None where none did."""
    uri = RunFolder(out_dir).added.anchors
    if not io.exists(uri):
        return None
    pending, zero_shot_A = read_anchors(uri)
    num_known = len(known)
    is_of_these = 0 < num_known < len(pending) and are_the_same(pending[:num_known], known)
    return (pending, zero_shot_A) if is_of_these else None


def forget_added(out_dir: str) -> None:
    """Drop what was computed of anchors that are not added after all."""
    io.delete(RunFolder(out_dir).added.path)


def answered_ids(out_dir: str) -> np.ndarray:
    """The content_ids of rows that met all anchors that are being added, sorted; (n,) str."""
    ids = [answers.content_ids for answers in read_answers(out_dir, None)]
    return np.unique(np.concatenate([np.array([], dtype=str), *ids]))


def answers_of(out_dir: str) -> tuple[np.ndarray, np.ndarray]:
    """What the rows met so far: their content_ids (n,), each once, and log-probs (n, S) float32 on
    the S anchors that are being added."""
    parts = list(read_answers(out_dir, None))
    if not parts:
        return np.array([], dtype=str), np.zeros((0, 0), np.float32)
    ids = np.concatenate([part.content_ids for part in parts])
    distinct, first = np.unique(ids, return_index=True)
    return distinct, np.concatenate([part.one_shot_NS for part in parts])[first]


def begin_swap(out_dir: str, old: Sequence[str], new: Sequence[str]) -> None:
    """From now on the parts `new` under added/scores/ are the run's, in place of `old` in scores/;
    both are names."""
    io.write_json(RunFolder(out_dir).added.swap, {"old": list(old), "new": list(new)})


def finish_swap(out_dir: str) -> None:
    """Let the parts and the anchors change places, from wherever a kill left them; nothing happens
    where nothing is to be changed."""
    folder = RunFolder(out_dir)
    added = folder.added
    if not io.exists(added.swap):
        return
    swap = io.read_json(added.swap)
    for name in swap["new"]:
        source = io.join(added.scores, name)
        if io.exists(source):
            io.write_bytes(io.join(folder.scores, name), io.read_bytes(source))
    for name in swap["old"]:
        io.delete(io.join(folder.scores, name))
    if io.exists(added.anchors):
        io.write_bytes(folder.anchors, io.read_bytes(added.anchors))
    io.delete(added.scores)
    io.delete(added.swap)
    forget_added(out_dir)

"""The end of a scoring run: compact the parts, account for every row, write the preview.

Rows in = scored + skipped + excluded, or the job fails: a row may be skipped, never lost.
"""

import json
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nuggets_ray import io
from nuggets_ray.config.limits import allowed_values
from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.formats import parse
from nuggets_ray.errors import UserError
from nuggets_ray.prepare.prepared import Prepared
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.run import scores, skipped
from nuggets_ray.run.candidates import CandidateIds, is_among, read_candidate_rows
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.manifest import Run
from nuggets_ray.run.scores import compact_scores, read_scores
from nuggets_ray.run.skipped import LeftOut, count_kinds, rewrite_skipped
from nuggets_ray.score.one_shot import ZeroShot
from nuggets_ray.stages.score.worker import Setup

logger = logging.getLogger(__name__)

NUM_PREVIEW_CANDIDATES = 3
NUM_PREVIEW_ANCHORS = 2


def finish(
    run: Run,
    setup: Setup,
    prompt: Prompt,
    prepared: Prepared,
    candidates: CandidateIds,
    base: ZeroShot,
    unscored: Mapping[str, LeftOut],
) -> dict[str, Any]:
    """Complete the run folder and return the job's summary.

    `unscored` is {content_id: why}. Raises UserError when too many rows were skipped,
    RuntimeError when the counts do not add up.
    """
    config = setup.config
    compact_scores(config.out_dir, run.attempt_id, candidates.copies())
    rewrite_skipped(config.out_dir, unscored, config.data.excerpt_chars)
    reasons = skipped.count_reasons(config.out_dir)
    num_excluded = sum(reasons[reason] for reason in skipped.EXCLUDED_REASONS)
    num_skipped = reasons.total() - num_excluded
    is_scored_N = is_among(candidates.example_id_N, scores.scored_ids(config.out_dir))
    is_scored_N &= ~is_among(candidates.content_id_N, unscored)
    num_scored = int(is_scored_N.sum())
    if num_scored + num_skipped + num_excluded != prepared.num_rows:
        raise RuntimeError(
            f"rows are unaccounted for: {prepared.num_rows} in the data, {num_scored} scored, "
            f"{num_skipped} skipped, "
            f"{num_excluded} excluded"
        )
    if reasons:
        logger.info(
            "without a score: %s", ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
        )
    _tell_given_up(config.data.retry, unscored.values())
    _check_skipped(config.data.max_skipped_fraction, num_skipped, prepared.num_rows, reasons)
    rows = np.flatnonzero(is_scored_N)[:NUM_PREVIEW_CANDIDATES]
    write_preview(setup, prompt, candidates, rows, base)
    counts = {
        "num_rows": prepared.num_rows,
        "num_scored": num_scored,
        "num_skipped": num_skipped,
        "num_excluded": num_excluded,
    }
    run.manifest["counts"] = counts
    _tell_near_ties(config.out_dir, base.noise_band_nats, setup.dtype)
    logger.info("scored %d of %d rows in %s", num_scored, prepared.num_rows, config.out_dir)
    folder = RunFolder(config.out_dir)
    wrote = [folder.scores, folder.anchors, folder.skipped, folder.preview, folder.manifest]
    return {"wrote": wrote, "status": "done", **counts}


def _tell_given_up(retry: Sequence[str], left_out: Collection[LeftOut]) -> None:
    """WARN of rows that have no score for what happened to them, not for what they are."""
    given_up = [why for why in left_out if why.kind in allowed_values(DataConfig, "retry")]
    again = [why for why in given_up if why.is_tried_again(retry)]
    final = [why for why in given_up if why not in again]
    if again:
        logger.warning(
            "%d candidates have no score (%s): the same command tries them once more (data.retry)",
            *(len(again), count_kinds(again)),
        )
    if final:
        logger.warning(
            "%d candidates have no score and are not tried again (%s, data.retry=%s)",
            *(len(final), count_kinds(final), list(retry)),
        )


def _tell_near_ties(out_dir: str, noise_band_nats: float, dtype: str) -> None:
    near_ties = anchors = 0
    for table in read_scores(out_dir, ["num_near_ties", "num_anchors"]):
        near_ties += pc.sum(table["num_near_ties"]).as_py() or 0
        anchors += pc.sum(table["num_anchors"]).as_py() or 0
    if anchors:
        logger.info(
            "%.1f%% of the decisions are near ties: |delta| within the %g nats that %s can move it",
            100 * near_ties / anchors, noise_band_nats, dtype,
        )  # fmt: skip


def _check_skipped(
    max_fraction: float, num_skipped: int, num_rows: int, reasons: Counter[str]
) -> None:
    if num_skipped > max_fraction * num_rows:
        raise UserError(
            f"data.max_skipped_fraction={max_fraction}: {num_skipped} of {num_rows} rows were "
            f"skipped ({reasons.most_common(1)[0][0]} most often, see skipped.parquet); mend the "
            "data, or raise it"
        )


def write_preview(
    setup: Setup, prompt: Prompt, candidates: CandidateIds, rows: np.ndarray, base: ZeroShot
) -> None:
    """preview.jsonl: the candidates at `rows` with a few anchors, with all that recomputing their
    log-probs takes.
    """
    out_dir = setup.config.out_dir
    log_probs = _log_probs(out_dir, candidates.example_id_N[rows].tolist())
    lines = []
    for row in rows:
        part, number = candidates.parts[candidates.part_N[row]], int(candidates.row_N[row])
        [(_, original)] = read_candidate_rows(part, [number])
        example = parse(original, setup.data_format, setup.config.data.columns)
        example_id = str(candidates.example_id_N[row])
        demonstration = prompt.demonstration(example, setup.max_demonstration_tokens)
        for index, anchor in enumerate(base.anchors[:NUM_PREVIEW_ANCHORS]):
            ids = np.concatenate([demonstration.token_ids, anchor.encoding.token_ids])
            mask = np.concatenate(
                [np.zeros(demonstration.num_tokens, bool), anchor.encoding.answer_mask]
            )
            zero_ids = np.concatenate([prompt.zero_shot_prefix, anchor.encoding.token_ids])
            lines.append(
                {
                    "example_id": example_id,
                    "anchor_id": anchor.anchor_id,
                    "demonstration_text": prompt.text(example),
                    "anchor_text": anchor.text,
                    "one_shot_token_ids": ids.tolist(),
                    "one_shot_answer_mask": mask.astype(int).tolist(),
                    "zero_shot_token_ids": zero_ids.tolist(),
                    "one_shot_logprob": log_probs[example_id][index],
                    "zero_shot_logprob": float(base.zero_shot_A[index]),
                    "dtype": setup.dtype,
                }
            )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    io.write_bytes(RunFolder(out_dir).preview, text.encode("utf-8"))


def _log_probs(out_dir: str, example_ids: Sequence[str]) -> dict[str, list[float]]:
    """One-shot log-probs (A,) of the given rows of scores/."""
    found: dict[str, list[float]] = {}
    for table in read_scores(out_dir, ["one_shot_logprob"]):
        if len(found) == len(example_ids):
            break
        wanted = pc.is_in(table["example_id"], value_set=pa.array(example_ids, pa.string()))
        for row in table.filter(wanted).to_pylist():
            found[row["example_id"]] = row["one_shot_logprob"]
    return found

"""What a scoring run would do, cost, skip and cut, as facts: {section: {fact: value}}.

Suffix: N candidates.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from nuggets_ray.config.schema import PromptConfig, ScoreConfig
from nuggets_ray.data.counts import listed
from nuggets_ray.model.size import ModelSize
from nuggets_ray.prepare.prepared import Prepared
from nuggets_ray.prepare.told import skip_reasons
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor
from nuggets_ray.run.candidates import CandidateIds, is_among
from nuggets_ray.score.calibrate import Measured
from nuggets_ray.score.engine import DEFAULT_PACK_TOKENS
from nuggets_ray.score.memory import Memory, Request

Facts = dict[str, Any]


def data_facts(prepared: Prepared, skipped: pa.Table) -> Facts:
    """What was read; `skipped` holds the rows of skipped.parquet."""
    facts: Facts = {
        "files": len(prepared.inputs),
        "gib": sum(file.num_bytes for file in prepared.inputs) / 2**30,
        "format": prepared.format,
        "num_rows": prepared.num_rows,
        "num_candidates": prepared.num_candidates,
        "num_duplicates": prepared.num_duplicates,
        "num_held_out": prepared.num_excluded,
        "num_skipped": prepared.num_skipped,
    }
    if prepared.num_excluded:
        facts["held out"] = (
            "of the data itself, which favours what looks like it, random draws above all: "
            "evaluate.held_out_path=FILE asks about a task of its own"
        )
    facts["read"] = listed(prepared.fields_read)
    facts["not read"] = listed(prepared.fields_not_read)
    if prepared.num_greetings:
        facts["num_greetings"] = prepared.num_greetings
    for reason, sentence in skip_reasons(prepared, skipped).items():
        facts[f"skipped: {reason}"] = sentence
    return facts


def prompt_facts(config: PromptConfig, prompt: Prompt, context_tokens: int | None) -> Facts:
    return {
        "template": f"{prompt.name} (prompt.template={config.template})",
        "max_demonstration_tokens": config.max_demonstration_tokens,
        "max_anchor_tokens": config.max_anchor_tokens,
        "model_context_tokens": context_tokens,
    }


def fits_context(candidates: CandidateIds, max_tokens: int, on_too_long: str) -> np.ndarray:
    """Whether each demonstration has room before the anchors, cut where data.on_too_long says so:
    (N,) bool. `max_tokens` is the longest demonstration.
    """
    return (candidates.num_tokens_N <= max_tokens) | (on_too_long == "truncate")


def demonstration_facts(candidates: CandidateIds, max_tokens: int, fits_N: np.ndarray) -> Facts:
    tokens_N = candidates.num_tokens_N
    is_cut_N = (candidates.num_dropped_tokens_N > 0) | (tokens_N > max_tokens)
    return {
        "mean_tokens": float(tokens_N.mean()),
        "median_tokens": float(np.median(tokens_N)),
        "p95_tokens": float(np.quantile(tokens_N, 0.95)),
        "max_tokens": int(tokens_N.max()),
        "limit_tokens": max_tokens,
        "num_truncated": int((is_cut_N & fits_N).sum()),
        "num_too_long_for_context": int((~fits_N).sum()),
    }


def anchor_facts(
    anchors: Sequence[Anchor], candidates: CandidateIds, fits_N: np.ndarray, is_excluded: bool
) -> Facts:
    """`is_excluded`: anchors.exclude_from_candidates."""
    is_anchor_N = is_among(candidates.content_id_N, [anchor.content_id for anchor in anchors])
    return {
        "num_anchors": len(anchors),
        "num_tokens": sum(anchor.encoding.num_tokens for anchor in anchors),
        "num_answer_tokens": sum(anchor.encoding.num_answer_tokens for anchor in anchors),
        "max_tokens": max(anchor.encoding.num_tokens for anchor in anchors),
        "num_truncated": sum(anchor.encoding.num_dropped_tokens > 0 for anchor in anchors),
        "num_self_pairs": 0 if is_excluded else int((is_anchor_N & fits_N).sum()),
        "num_excluded": int(is_anchor_N.sum()) if is_excluded else 0,
    }


def out_dir_facts(out_dir: str, num_scored: int, fingerprint: Mapping[str, Any] | None) -> Facts:
    return {
        "path": out_dir,
        "seen by every node": True,
        "num_scored_already": num_scored,
        "scored_as": fingerprint and f"{fingerprint['dtype']}, {fingerprint['template']}",
    }


def replica_request(
    dtype: str,
    device: str,
    score: ScoreConfig,
    demonstration_tokens: int,
    anchors: Sequence[Anchor],
) -> Request:
    """What one replica would be asked for in the run, not in the calibration, where the longest
    demonstration has `demonstration_tokens`.
    """
    anchor_tokens = [anchor.encoding.num_tokens for anchor in anchors]
    return Request(
        dtype=dtype,
        device=device,
        max_pack_tokens=score.max_pack_tokens or DEFAULT_PACK_TOKENS[device],
        demonstration_tokens=demonstration_tokens,
        longest_anchor_tokens=max(anchor_tokens),
        num_anchor_tokens=sum(anchor_tokens),
    )


def memory_facts(
    predicted: Memory | None,
    size: ModelSize | None,
    measured: Measured,
    num_workers: int,
    device: str,
) -> Facts:
    facts = {
        "parameters": size and size.num_parameters,
        "predicted_gib_a_worker": predicted and predicted.peak_bytes / 2**30,
        "peak_gib_a_worker": measured.peak_memory_gib,
        "num_workers": num_workers,
    }
    if device == "cpu":
        facts["available_gib_here"] = psutil.virtual_memory().available / 2**30
    return facts


def cost_facts(
    demonstration_tokens_N: np.ndarray,
    anchors: Sequence[Anchor],
    size: ModelSize | None,
    measured: Measured,
    num_workers: int,
    device: str,
) -> Facts:
    """The cost of scoring N candidates: every demonstration and anchor token once through the body,
    the head at answers only.
    """
    num_todo = len(demonstration_tokens_N)
    num_anchor_tokens = sum(anchor.encoding.num_tokens for anchor in anchors)
    num_answer_tokens = sum(anchor.encoding.num_answer_tokens for anchor in anchors)
    num_tokens = int(demonstration_tokens_N.sum()) + num_todo * num_anchor_tokens
    flop = None
    if size is not None:
        body = 2 * (size.num_parameters - size.num_embedding_parameters) * num_tokens
        flop = float(body + 2 * size.num_head_weights * num_todo * num_answer_tokens)
    seconds = num_tokens / measured.tokens_per_s / num_workers
    return {
        "num_candidates_to_score": num_todo,
        "num_passes": num_todo * len(anchors),
        "num_tokens": num_tokens,
        "flop": flop,
        "engine": f"{measured.engine['engine']}: {measured.engine['why']}",
        "tokens_per_s_a_worker": measured.tokens_per_s,
        "hours": seconds / 3600,
        "worker_hours": seconds * num_workers / 3600,
        "workers": f"{num_workers} on {device}",
    }


def format_facts(facts: Mapping[str, Facts]) -> str:
    """The facts as a page of text, a paragraph a section."""
    lines = []
    for title, section in facts.items():
        lines += ["", title]
        lines += [f"  {key:<28}{_format_value(value)}" for key, value in section.items()]
    return "\n".join(lines)


def _format_value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e6 else f"{value:.2e}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

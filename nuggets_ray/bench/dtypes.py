"""bench=dtypes: what bfloat16 does to the answer. The packaged demo's candidates and anchors scored
in bfloat16 and in float32; decisions, golden scores and ranks compared.

    error of a delta = delta in bfloat16 - delta in float32,   delta = one-shot - zero-shot
The noise band of score/golden.py is the 99th percentile of |error|.

Legend: C candidates, A anchors.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from nuggets_ray.anchors.file import load_examples
from nuggets_ray.bench.plan import BenchResults
from nuggets_ray.bench.rows import Row, format_number, make_row
from nuggets_ray.bench.session import check_request, finish
from nuggets_ray.bench.tables import hardware
from nuggets_ray.config.schema import AnchorsConfig, Config, ModelConfig
from nuggets_ray.data.read import read_examples
from nuggets_ray.markdown import markdown_table
from nuggets_ray.model.load import load_model, load_tokenizer, resolve_model
from nuggets_ray.prompts.prompt import Prompt, make_prompt
from nuggets_ray.records import Encoding
from nuggets_ray.score.engine import make_engine

logger = logging.getLogger(__name__)

NUM_CANDIDATES = 60
"""With the demo's 16 anchors and the demo model about 4 CPU minutes."""
DELTA_EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, np.inf)
"""Bins of |delta| in nats per answer token."""
TOP_FRACTION = 0.1
DTYPES = ("float32", "bfloat16")
METRICS = {
    "flipped_share": "",
    "error_sd": "nats",
    "error_p99": "nats",
    "error_max": "nats",
    "score_change_mean": "",
    "score_change_max": "",
    "score_spearman": "",
    "mean_delta_spearman": "",
    "top_overlap": "",
}
"""Fields of a Comparison that the report shows, and their units."""


@dataclass(frozen=True, slots=True)
class LogProbs:
    """Zero-shot (A,) and one-shot (C, A) log-probs of one dtype, in nats per answer token."""

    zero_shot_A: np.ndarray
    one_shot_CA: np.ndarray

    @property
    def delta_CA(self) -> np.ndarray:
        delta_CA: np.ndarray = self.one_shot_CA.astype(np.float64) - self.zero_shot_A
        return delta_CA


@dataclass(frozen=True, slots=True)
class DeltaBin:
    """The decisions with low <= |exact delta| < high, and the share of them that differ (None
    where there are none)."""

    low: float
    high: float
    num_decisions: int
    flipped_share: float | None


@dataclass(frozen=True, slots=True)
class DtypeComparison:
    """One dtype against the exact one. Errors are of a delta, in nats per answer token; rank
    correlations are None where all values are equal; `top_overlap` is the common share of the best
    tenth."""

    num_candidates: int
    num_anchors: int
    flipped_share: float
    bins: tuple[DeltaBin, ...]
    error_sd: float
    error_p99: float
    error_max: float
    score_change_mean: float
    score_change_max: float
    score_spearman: float | None
    mean_delta_spearman: float | None
    top_overlap: float


def compare(exact: LogProbs, other: LogProbs) -> DtypeComparison:
    """Compare decisions, golden scores and ranks. Raises ValueError for shapes that differ and for
    log-probs that are not finite."""
    if exact.one_shot_CA.shape != other.one_shot_CA.shape or not exact.one_shot_CA.size:
        raise ValueError(
            f"log-probs of shapes {exact.one_shot_CA.shape} and {other.one_shot_CA.shape} cannot "
            "be compared"
        )
    exact_CA, other_CA = exact.delta_CA, other.delta_CA
    if not (np.isfinite(exact_CA).all() and np.isfinite(other_CA).all()):
        raise ValueError("a log-prob is not finite")
    error_CA = other_CA - exact_CA
    flipped_CA = (exact_CA > 0) != (other_CA > 0)
    scores = [(delta_CA > 0).mean(axis=1) for delta_CA in (exact_CA, other_CA)]
    means = [delta_CA.mean(axis=1) for delta_CA in (exact_CA, other_CA)]
    change_C = np.abs(scores[1] - scores[0])
    tops = [_top(score_C, mean_C) for score_C, mean_C in zip(scores, means, strict=True)]
    return DtypeComparison(
        num_candidates=exact_CA.shape[0],
        num_anchors=exact_CA.shape[1],
        flipped_share=float(flipped_CA.mean()),
        bins=tuple(_bins(np.abs(exact_CA), flipped_CA)),
        error_sd=float(error_CA.std()),
        error_p99=float(np.quantile(np.abs(error_CA), 0.99)),
        error_max=float(np.abs(error_CA).max()),
        score_change_mean=float(change_C.mean()),
        score_change_max=float(change_C.max()),
        score_spearman=_spearman(*scores),
        mean_delta_spearman=_spearman(*means),
        top_overlap=len(tops[0] & tops[1]) / len(tops[0]),
    )


def bench(config: Config) -> dict[str, Any]:
    """Score in both dtypes, print, write and log; the JSON object of the last line. The model is
    model.path, by default the demo model. Raises UserError for what cannot be."""
    check_request(config, (), ())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(config.bench.threads)
    model = resolve_model(replace(config.model, path=_name(config)))
    prompt = make_prompt(load_tokenizer(model), config.prompt)
    anchors, prefixes = _work(prompt, config.bench.num_anchors)
    measured = [
        measure(model, d, device, anchors, prefixes, prompt.zero_shot_prefix) for d in DTYPES
    ]
    comparison = compare(*measured)
    rows = comparison_rows(comparison)
    answer_tokens = np.mean([anchor.num_answer_tokens for anchor in anchors])
    header = (
        f"{hardware(device, config.bench.threads)}.\n\nModel {_name(config)}, "
        f"{comparison.num_candidates} candidates x {comparison.num_anchors} anchors of the "
        f"packaged demo (answers of {answer_tokens:.0f} tokens on average), prompt={prompt.name}; "
        "both dtypes by our engine."
    )
    return finish(config, f"{header}\n\n{tables(comparison)}", rows, BenchResults())


def _name(config: Config) -> str:
    return config.model.path or "demo"


def _work(prompt: Prompt, num_anchors: int | None) -> tuple[list[Encoding], list[np.ndarray]]:
    """The demo's anchors, and demonstrations of the candidates with the smallest content ids."""
    chosen = load_examples(AnchorsConfig(method="file", num=num_anchors, path="demo"))
    examples = {row.content_id: row.example for row in read_examples("demo", "alpaca").examples}
    for anchor in chosen:
        examples.pop(anchor.content_id, None)
    drawn = [examples[content_id] for content_id in sorted(examples)[:NUM_CANDIDATES]]
    prefixes = [prompt.demonstration(example).token_ids for example in drawn]
    return [prompt.anchor(example) for example in chosen], prefixes


def measure(
    model: ModelConfig,
    dtype: str,
    device: str,
    anchors: Sequence[Encoding],
    prefixes: Sequence[np.ndarray],
    zero_shot_prefix: np.ndarray,
) -> LogProbs:
    """Load the model in `dtype` and score every anchor behind every prefix, on `device`."""
    logger.info("scoring %d candidates in %s", len(prefixes), dtype)
    engine = make_engine(load_model(model, dtype, device), anchors)
    return LogProbs(engine.log_probs([zero_shot_prefix])[0], engine.log_probs(prefixes))


def comparison_rows(comparison: DtypeComparison) -> list[Row]:
    """Every number of the comparison as a row of bench.out."""
    case = "demo"
    rows = []
    for one in comparison.bins:
        name = f"{one.low:g} <= |delta| < {one.high:g}"
        rows.append(make_row(case, "bfloat16", f"decisions, {name}", one.num_decisions, ""))
        rows.append(make_row(case, "bfloat16", f"differ, {name}", one.flipped_share, ""))
    for metric, unit in METRICS.items():
        rows.append(make_row(case, "bfloat16", metric, getattr(comparison, metric), unit))
    return rows


def tables(comparison: DtypeComparison) -> str:
    """Decisions by size of |delta|, and the other numbers, as Markdown."""
    bins = [
        [f"{one.low:g} to {one.high:g}", str(one.num_decisions), _percent(one.flipped_share)]
        for one in comparison.bins
    ]
    num = comparison.num_candidates * comparison.num_anchors
    bins.append(["all", str(num), _percent(comparison.flipped_share)])
    others = [
        [f"{metric} ({unit})" if unit else metric, format_number(getattr(comparison, metric))]
        for metric, unit in METRICS.items()
        if metric != "flipped_share"
    ]
    by_size = markdown_table(["abs delta in float32, nats", "decisions", "differ"], bins)
    return f"{by_size}\n\n{markdown_table(['bfloat16 against float32', ''], others)}"


def _bins(size_CA: np.ndarray, flipped_CA: np.ndarray) -> list[DeltaBin]:
    bins = []
    for low, high in zip(DELTA_EDGES, DELTA_EDGES[1:], strict=False):
        inside_CA = (size_CA >= low) & (size_CA < high)
        num = int(inside_CA.sum())
        share = float(flipped_CA[inside_CA].mean()) if num else None
        bins.append(DeltaBin(low, high, num, share))
    return bins


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _top(score_C: np.ndarray, mean_delta_C: np.ndarray) -> set[int]:
    """The best tenth by golden score, ties by mean delta; at least one."""
    num = max(1, round(TOP_FRACTION * len(score_C)))
    return set(np.lexsort((-mean_delta_C, -score_C))[:num].tolist())


def _spearman(one_C: np.ndarray, other_C: np.ndarray) -> float | None:
    if np.ptp(one_C) == 0 or np.ptp(other_C) == 0:
        return None
    return float(spearmanr(one_C, other_C).statistic)

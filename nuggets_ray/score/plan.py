"""What a scoring run would do, cost, skip and cut, as facts: {section: {fact: value}}.

Suffix: N candidates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from nuggets_ray.config.schema import PromptConfig
from nuggets_ray.data.counts import listed
from nuggets_ray.model.size import ModelSize
from nuggets_ray.prepare.prepared import Prepared
from nuggets_ray.prepare.told import skip_reasons
from nuggets_ray.prompts.prompt import Prompt
from nuggets_ray.records import Anchor
from nuggets_ray.run.candidates import CandidateIds, is_among
from nuggets_ray.score.calibrate import Measured
from nuggets_ray.score.memory import Memory, Request
from nuggets_ray.units import duration_text, num_text, scaled_text, size_text

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hardware:
    """What computes: `device` is cuda or cpu; a worker holds `devices_per_worker` GPUs, or CPU
    cores.
    """

    num_workers: int
    device: str
    devices_per_worker: float


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
            "evaluate.held_out_path=FILE, or a judged benchmark as evaluate.primary, asks about a "
            "task of its own"
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
    (N,) bool. `max_tokens` is the longest demonstration."""
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
    max_pack_tokens: int,
    demonstration_tokens: int,
    anchors: Sequence[Anchor],
    gpu_attention: str = "merge",
) -> Request:
    """What one replica would be asked for in the run, not in the calibration, where the longest
    demonstration has `demonstration_tokens`."""
    anchor_tokens = [anchor.encoding.num_tokens for anchor in anchors]
    return Request(
        dtype=dtype,
        device=device,
        max_pack_tokens=max_pack_tokens,
        demonstration_tokens=demonstration_tokens,
        longest_anchor_tokens=max(anchor_tokens),
        num_anchor_tokens=sum(anchor_tokens),
        num_anchors=len(anchors),
        gpu_attention=gpu_attention,
    )


def memory_facts(
    predicted: Memory | None,
    size: ModelSize | None,
    measured: Measured,
    hardware: Hardware,
) -> Facts:
    facts = {
        "parameters": size and size.num_parameters,
        "predicted_gib_a_worker": predicted and predicted.peak_bytes / 2**30,
        "peak_gib_a_worker": measured.peak_memory_gib,
        "num_workers": hardware.num_workers,
    }
    if hardware.device == "cpu":
        facts["available_gib_here"] = psutil.virtual_memory().available / 2**30
    return facts


@dataclass(frozen=True, slots=True)
class Passes:
    """Anchors that rows with demonstrations of `demonstration_tokens_N` are to meet."""

    demonstration_tokens_N: np.ndarray
    anchors: Sequence[Anchor]

    @property
    def num_passes(self) -> int:
        return len(self.demonstration_tokens_N) * len(self.anchors)

    @property
    def num_tokens(self) -> int:
        """What goes through the body."""
        num_anchor_tokens = sum(anchor.encoding.num_tokens for anchor in self.anchors)
        num_rows = len(self.demonstration_tokens_N)
        return int(self.demonstration_tokens_N.sum()) + num_rows * num_anchor_tokens

    @property
    def num_answer_tokens(self) -> int:
        """What goes through the head."""
        num_answer_tokens = sum(anchor.encoding.num_answer_tokens for anchor in self.anchors)
        return len(self.demonstration_tokens_N) * num_answer_tokens


def cost_facts(
    demonstration_tokens_N: np.ndarray,
    anchors: Sequence[Anchor],
    size: ModelSize | None,
    measured: Measured,
    hardware: Hardware,
    price_per_hour: float | None = None,
    added: Passes | None = None,
) -> Facts:
    """The cost of scoring N candidates: every demonstration and anchor token once through the body,
    the head at answers only; and of letting scored rows meet `added` anchors. `price_per_hour` is
    of one device.
    """
    num_todo = len(demonstration_tokens_N)
    work = [Passes(demonstration_tokens_N, anchors), *([added] if added else [])]
    num_tokens = sum(one.num_tokens for one in work)
    num_answer_tokens = sum(one.num_answer_tokens for one in work)
    flop = None
    if size is not None:
        body = 2 * (size.num_parameters - size.num_embedding_parameters) * num_tokens
        flop = float(body + 2 * size.num_head_weights * num_answer_tokens)
    hours = num_tokens / measured.tokens_per_s / hardware.num_workers / 3600
    device_hours = hours * hardware.num_workers * hardware.devices_per_worker
    facts: Facts = {
        "num_candidates_to_score": num_todo,
        "num_passes": sum(one.num_passes for one in work),
        "num_tokens": num_tokens,
        "flop": flop,
        "engine": f"{measured.engine['engine']}: {measured.engine['why']}",
        "tokens_per_s_a_worker": measured.tokens_per_s,
        "hours": hours,
        "worker_hours": hours * hardware.num_workers,
        "workers": f"{hardware.num_workers} on {hardware.device}",
        "device_hours": device_hours,
        "device_name": measured.gpu_name or ("GPU" if hardware.device == "cuda" else "core"),
    }
    if price_per_hour is not None:
        facts["price"] = device_hours * price_per_hour
    return facts


def signal_facts(
    asked: Sequence[str], todo_tokens_N: np.ndarray, lacking_tokens_N: np.ndarray
) -> Facts:
    """What signals add to the cost, at most: ifd reads the answers of demonstrations once more, and
    scored rows that lack a signal are read again, without the anchors."""
    if not asked:
        return {}
    num_read, num_todo = int(lacking_tokens_N.sum()), int(todo_tokens_N.sum())
    num_tokens = num_read + ("ifd" in asked) * (num_read + num_todo)
    beside = (
        f"at most {num_text(num_tokens)} tokens beside these" if num_tokens else "no token more"
    )
    return {"signals": f"{', '.join(asked)}: {beside}"}


def format_facts(facts: Mapping[str, Facts]) -> str:
    """The facts as a page of text in people's units, a paragraph a section."""
    lines = []
    for title, section in facts.items():
        lines += ["", title]
        for key in section:
            if key not in ("worker_hours", "device_name"):  # device_hours tells both
                label, text = _format_fact(key, section)
                lines.append(f"  {label:<28}{text}")
    return "\n".join(lines)


def _format_fact(key: str, section: Facts) -> tuple[str, str]:
    value = section[key]
    if key == "device_hours":
        return "compute", _device_hours_text(value, section["device_name"])
    # a reason for skipping is a word of skipped.parquet
    name = key if ": " in key else key.removeprefix("num_").replace("_", " ")
    label, form = FORMS.get(key, (name, _plain_text))
    if key.endswith("_tokens") and not key.startswith("num_"):
        label, form = label.removesuffix(" tokens"), _tokens_text
    if isinstance(value, Mapping):  # of a race or an exploration, beside full scoring
        *beside, full = (form(one) for one in value.values())
        return label, f"{' to '.join(beside)} (full scoring: {full})"
    return label, "-" if value is None else form(value)


def _device_hours_text(hours: float, device: str) -> str:
    """3.1 H100-hours; a few minutes or less are told as such."""
    if hours < 0.1:
        return f"{duration_text(hours * 3600)} of one {device}"
    return f"{num_text(hours)} {device}-hours"


def _plain_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return num_text(value) if isinstance(value, int | float) else str(value)


def _gib_text(gib: float) -> str:
    return size_text(gib * 2**30)


def _tokens_text(tokens: float) -> str:
    return f"{num_text(tokens)} tokens"


FORMS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "gib": ("size", _gib_text),
    "parameters": ("parameters", lambda number: scaled_text(number, "")),
    "predicted_gib_a_worker": ("predicted a worker", _gib_text),
    "peak_gib_a_worker": ("measured a worker", _gib_text),
    "available_gib_here": ("available here", _gib_text),
    "flop": ("work", lambda flop: scaled_text(flop, "FLOP")),
    "tokens_per_s_a_worker": ("speed a worker", lambda rate: f"{num_text(rate)} tokens/s"),
    "hours": ("time", lambda hours: duration_text(hours * 3600)),
    "price": ("price", lambda price: f"{price:,.2f}"),
}
"""{key: (what the page calls it, how it tells the value)}; other keys are told by their names."""

"""Is every weight of the model the file's own, and is every weight of the files used?

transformers fills what a file lacks with random numbers, leaves out what it has no place for, and
only logs both. Here its report decides. What no file gives is refused; what no place takes is
refused too, unless it is known to have no part in a text model's numbers (`HARMLESS`), and then
told. model.ignore_keys is the way out.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.weights.faults import FAULTS
from nuggets_ray.model.weights.files import some
from nuggets_ray.model.weights.report import LAYER, LoadReport, in_order

logger = logging.getLogger(__name__)

TOWERS = re.compile(
    r"(^|\.)(\w*(vision|visual|image|video|audio|speech)\w*|siglip|vpm|apm|resampler|"
    r"multi_modal_projector|mm_projector|patch_merger|connector|aligner|talker|token2wav|code2wav)(\.|$)"
)
"""The parts of a model that no text passes."""
HARMLESS = {
    "vision or audio towers": TOWERS,
    "multi-token-prediction heads": re.compile(r"(^|\.)(\w*mtp\w*|nextn\w*|\w*_nextn)(\.|$)"),
    "scales of the KV cache": re.compile(
        r"\.(k|v|kv|q|prob|kv_cache)_(scale|zero_point)$|\.[kv]_proj\.output_scale$"
    ),
    "buffers": re.compile(
        r"(^|\.)(\w*inv_freq|(cos|sin)_cached|masked_bias|position_ids|relative_position_index|"
        r"causal_mask|num_batches_tracked|rope\.freqs|embed_positions\.weights)$|\.(attn|attention|self_attention)\.bias$"
    ),
}
"""Unexpected keys that are named in the log only, by what they are."""
NUM_NEXTN = (
    *("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers", "mtp_num_layers"),
    "num_mtp_modules",
)
"""Keys under which configurations say how many layers past the last predict further tokens."""


def ignore_patterns(model: ModelConfig) -> list[re.Pattern[str]]:
    """model.ignore_keys, compiled. Raises UserError for one that is no regular expression."""
    patterns = []
    for text in model.ignore_keys:
        try:
            patterns.append(re.compile(text))
        except re.error as error:
            raise UserError(
                f"model.ignore_keys={text} is no regular expression ({error}): correct it, as in "
                'model.ignore_keys=["lm_head"]'
            ) from error
    return patterns


def check_kind(config: ModelConfig, model_config: Any) -> None:
    """Raise UserError for an encoder-decoder, or the decoder of one alone."""
    if model_config.is_encoder_decoder or type(model_config).is_encoder_decoder:
        raise UserError(
            f"model.path={config.path} is an encoder-decoder ({model_config.model_type}), whose "
            "decoder reads what its encoder gives it: give a model that continues text alone"
        )


def check_report(model: ModelConfig, model_config: Any, report: LoadReport) -> None:
    """Raise UserError where a weight would be random or left out; tell what is harmless."""
    patterns = ignore_patterns(model)
    for pattern in patterns:
        if not any(pattern.search(name) for name in report.names):
            logger.warning(
                "model.ignore_keys: %s matches nothing that is missing from, or unused in, "
                "model.path=%s",
                *(pattern.pattern, model.path),
            )
    left = report.without(patterns)
    if ignored := in_order(report.names - left.names):
        logger.warning(
            "model.ignore_keys: %d weights are left as they are (%s)", len(ignored), some(ignored)
        )
    harmless = _by_kind(left.unexpected, model_config)
    unused = left.unexpected.difference(*harmless.values())
    for fault in FAULTS:
        if told := fault(left, unused, model_config):
            reason, way_out = told
            raise UserError(f"model.path={model.path}: {reason}: {way_out}")
    if harmless:
        kinds = [f"{kind} ({some(in_order(names), 1)})" for kind, names in harmless.items()]
        logger.warning("model.path=%s: not used: %s", model.path, "; ".join(kinds))


def _by_kind(unexpected: Iterable[str], model_config: Any) -> dict[str, set[str]]:
    """The harmless ones of the names, by what they are."""
    text_config = model_config.get_text_config()
    first = getattr(text_config, "num_hidden_layers", None)
    num_nextn = max((getattr(text_config, key, None) or 0 for key in NUM_NEXTN), default=0)
    names_by_kind: dict[str, set[str]] = {}
    for name in unexpected:
        kind = next((kind for kind, pattern in HARMLESS.items() if pattern.search(name)), None)
        layer = LAYER.search(name)
        if kind is None and layer and first is not None:
            is_nextn = first <= int(layer[1]) < first + num_nextn
            kind = "multi-token-prediction heads" if is_nextn else None
        if kind is not None:
            names_by_kind.setdefault(kind, set()).add(name)
    return names_by_kind

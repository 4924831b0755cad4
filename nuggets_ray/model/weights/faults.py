"""What can be wrong between the files of a model and the model, and the way out of each.

Each fault is a function of the report, of the unexpected names that matter, and of the model's
configuration.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from nuggets_ray.model.weights.files import some
from nuggets_ray.model.weights.quantised import is_quantised, quant_method
from nuggets_ray.model.weights.report import LAYER, LoadReport, in_order

PACKED = re.compile(
    r"(^|\.)(qweight|qzeros|g_idx|scales|zeros|SCB|absmax|weight_packed|\w+_blocks|\w+_scales|"
    r"(weight_|input_)?(scale|scale_inv|scale_2|zero_point))$"
)
WRAPPERS = re.compile(
    r"(?:(?<=\.)|^)(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|"
    r"_forward_module|base_model\.model|base_layer|pretrained_model)\."
)
"""What a wrapper puts into the names: DataParallel, torch.compile, FSDP, DeepSpeed, peft, trl."""
OTHER_HEADS = re.compile(
    r"(^|\.)(score|v_head|(value|reward|rm|regression|classification|multiple_choice)_head|"
    r"regression_layer|classifier|qa_outputs|sequence_summary)\."
)
OTHER_TASKS = re.compile(r"For(Sequence|Token)Classification|ForQuestionAnswering|Reward")
"""Of a class's name under `architectures` in config.json."""
Fault = Callable[[LoadReport, frozenset[str], Any], tuple[str, str] | None]
"""(report, unexpected names that matter, configuration) -> (what is wrong, the way out)."""


def _wrapped(
    report: LoadReport, unused: frozenset[str], model_config: Any
) -> tuple[str, str] | None:
    for name in in_order(unused):
        bare = WRAPPERS.sub("", name)
        if bare != name and (bare in report.missing or not report.missing):
            wrapper = next(match[1] for match in WRAPPERS.finditer(name))
            return (
                f"its weights carry the name of a wrapper, {wrapper}. ({_names(unused)}), so none "
                "of them would be loaded",
                "save the model without the wrapper, or rename them without it",
            )
    return None


def _packed(
    report: LoadReport, unused: frozenset[str], model_config: Any
) -> tuple[str, str] | None:
    packed = [name for name in in_order(unused) if PACKED.search(name)]
    if packed:
        what = f"it is quantised, and what it is packed by would not be used ({_names(packed)})"
    elif report.undone:
        name, dtype = next(iter(report.undone.items()))
        num = len(report.undone)
        what = f"{num} of its weights are stored in {dtype} ({name}), whose scales nobody applies"
    else:
        return None
    method = quant_method(model_config)
    if method is None:
        why = "config.json has no quantization_config"
    elif is_quantised(model_config):
        why = f"the quant_method of config.json is {method}"
    else:
        why = f"transformers does not know the quant_method of config.json, {method}"
    return (
        f"{what}; {why}",
        "give the folder with the quantization_config that belongs to it, the model in bfloat16, "
        "or take score.backend=vllm if vLLM knows its kind",
    )


def _other_head(
    report: LoadReport, unused: frozenset[str], model_config: Any
) -> tuple[str, str] | None:
    heads = [name for name in in_order(unused) if OTHER_HEADS.search(name)]
    declared = [name for name in model_config.architectures or () if OTHER_TASKS.search(name)]
    told = heads or in_order(unused | report.missing)
    if not told or not (heads or declared):
        return None
    what = ", ".join([*declared, _names(told)])
    return (
        f"it is a reward model or a classifier ({what}), not a language model",
        "give the language model that it was made from" + _or_ignore(told),
    )


def _missing(
    report: LoadReport, unused: frozenset[str], model_config: Any
) -> tuple[str, str] | None:
    if not report.missing:
        return None
    names = in_order(report.missing)
    beside = f", while {len(unused)} are of no use ({_names(unused)})" if unused else ""
    if all(name.startswith("lm_head") for name in names):
        beside += "; it was saved without its output head"
    return (
        f"its files lack {len(names)} of the model's weights ({_names(names)}), which would be "
        f"random{beside}",
        "give the whole model, as AutoModelForCausalLM saves it" + _or_ignore(names),
    )


def _mismatched(
    report: LoadReport, unused: frozenset[str], model_config: Any
) -> tuple[str, str] | None:
    if not report.mismatched:
        return None
    shapes = [
        f"{name} is {list(theirs)} in the files and {list(ours)} in config.json"
        for name, (theirs, ours) in sorted(report.mismatched.items())
    ]
    return (
        f"{len(shapes)} of its weights have another size ({some(shapes, 2)})",
        "give the config.json that was saved with these weights",
    )


def _unexpected(
    report: LoadReport, unused: frozenset[str], model_config: Any
) -> tuple[str, str] | None:
    if not unused:
        return None
    names = in_order(unused)
    num_layers = getattr(model_config.get_text_config(), "num_hidden_layers", None)
    layers = {int(match[1]) for name in names if (match := LAYER.search(name))}
    if num_layers is not None and layers and max(layers) >= num_layers:
        what = f"config.json says num_hidden_layers={num_layers}, its files hold {max(layers) + 1}"
    else:
        what = f"its architecture ({model_config.model_type}) has no place for some of its weights"
    return (
        f"{what}: {len(names)} would not be used ({_names(names)})",
        "give the config.json that was saved with these weights" + _or_ignore(names),
    )


FAULTS: tuple[Fault, ...] = (_wrapped, _packed, _other_head, _missing, _mismatched, _unexpected)
"""In this order: the first says most of why."""


def _or_ignore(names: list[str]) -> str:
    stem = re.sub(r".*\.\d+\.", "", names[0])
    return f", or, if you know that they do no harm, 'model.ignore_keys=[\"{stem}\"]'"


def _names(names: Iterable[str]) -> str:
    return some(in_order(names))

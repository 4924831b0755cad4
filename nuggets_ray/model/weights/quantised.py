"""Whether a model is quantised, and whether loading undoes it.

Transformers is imported inside functions.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def quant_method(model_config: Any) -> str | None:
    """The method of quantization_config, under the name that transformers has for it."""
    given = getattr(model_config, "quantization_config", None)
    if given is None:
        return None
    facts = given if isinstance(given, dict) else given.to_dict()
    for key in ("load_in_8bit", "load_in_4bit"):
        if facts.get(key):
            return "bitsandbytes_" + key.removeprefix("load_in_")
    method = facts.get("quant_method")
    return str(getattr(method, "value", method))


def is_quantised(model_config: Any) -> bool:
    """Whether transformers undoes a quantisation as it loads; one it does not know it skips."""
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    return quant_method(model_config) in AUTO_QUANTIZATION_CONFIG_MAPPING


def undone_dtypes(tensors: "Mapping[str, Tensor]", model_config: Any) -> dict[str, str]:
    """{name: dtype} of the weights in float8 or integers, where loading undoes no quantisation.

    It casts them as they are, which is right only times scales that nobody applies.
    """
    if is_quantised(model_config):
        return {}
    return {
        name: str(tensor.dtype).removeprefix("torch.")
        for name, tensor in tensors.items()
        if name.endswith("weight")
        and (not tensor.is_floating_point() or tensor.element_size() == 1)
    }

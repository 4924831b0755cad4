"""Which of transformers' classes a model is loaded as: a causal language model, or one that reads
pictures too and is used by its text part. Transformers is imported inside functions.
"""

import inspect
from typing import Any


def auto_class(model_config: Any) -> Any:
    """AutoModelForCausalLM, or AutoModelForImageTextToText for a kind that transformers has among
    those alone and that takes text without a picture."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    kind = type(model_config)
    is_causal = kind in AutoModelForCausalLM._model_mapping
    comes_with_code = "AutoModelForCausalLM" in (getattr(model_config, "auto_map", None) or {})
    if is_causal or comes_with_code or kind not in AutoModelForImageTextToText._model_mapping:
        return AutoModelForCausalLM
    model_class: Any = AutoModelForImageTextToText._model_mapping[kind]
    if isinstance(model_class, tuple):
        model_class = model_class[0]
    parameters = inspect.signature(model_class.forward).parameters.values()
    needed = {p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD}
    return AutoModelForCausalLM if needed - {"self", "input_ids"} else AutoModelForImageTextToText


def sees_more_than_text(model_config: Any) -> bool:
    """Whether text is only a part of what it takes."""
    return model_config.get_text_config() is not model_config

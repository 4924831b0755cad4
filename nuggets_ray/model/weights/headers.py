"""The check of weights before Ray starts: transformers' loading report, on headers alone.

Loading into a model on torch's meta device gives the same report as loading, in seconds. It is also
the whole check where transformers gives no report: under ZeRO 3, and where vLLM loads.
"""

import logging
from typing import Any

from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.model.adapter import holds_adapter
from nuggets_ray.model.architecture import sees_more_than_text
from nuggets_ray.model.load import load_config, resolve_model
from nuggets_ray.model.size import empty_model
from nuggets_ray.model.weights.check import check_kind, check_report, ignore_patterns
from nuggets_ray.model.weights.files import local_files, read_headers
from nuggets_ray.model.weights.load_errors import cannot_load, first_line, quiet
from nuggets_ray.model.weights.quantised import is_quantised, undone_dtypes
from nuggets_ray.model.weights.report import LoadReport

logger = logging.getLogger(__name__)


def check_weights(config: ModelConfig, any_architecture: bool = False) -> None:
    """Raise UserError for what loading would refuse, as far as configuration and the headers of the
    weight files tell: seconds, and no weight is read.

    A hub id that is not in the cache yet, and a quantised model, are looked at as they are loaded.
    With `any_architecture` (vLLM), so is what transformers does not know.
    """
    ignore_patterns(config)
    model_config = load_config(config, any_architecture)
    check_kind(config, model_config)
    resolved = resolve_model(config)
    _tell(config, resolved, model_config)
    if any_architecture and resolved.adapter_path is not None:
        raise UserError(
            f"model.path={config.path}: vLLM is given whole models here, not the adapter "
            f"{resolved.adapter_path}: merge it into its base, or take the backend transformers"
        )
    files = local_files(config, resolved.path, model_config, any_architecture)
    is_other = any_architecture and getattr(model_config, "quantization_config", None) is not None
    if not files or is_other or is_quantised(model_config):
        return
    try:
        model_class = type(empty_model(config))
    except UserError:
        if any_architecture:
            return
        raise
    try:
        tensors = read_headers(files)
    except Exception as error:
        raise cannot_load(config, error) from error
    try:
        with quiet():
            loaded: Any = model_class.from_pretrained(
                None,
                config=model_config,
                state_dict=tensors,
                device_map={"": "meta"},
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    # modelling code of any origin runs here, and may not bear what is no real load
    except Exception as error:
        logger.info("the weights' names are looked at when they are loaded (%s)", first_line(error))
        return
    check_report(
        config, model_config, LoadReport.of(loaded[1], undone_dtypes(tensors, model_config))
    )


def _tell(config: ModelConfig, resolved: ModelConfig, model_config: Any) -> None:
    """What of the folder is used, where that is not all of it, or not it alone."""
    if resolved.adapter_path is not None:
        logger.info("the adapter %s is put over %s", resolved.adapter_path, resolved.path)
    elif holds_adapter(resolved.path):
        logger.warning(
            "model.path=%s: the adapter beside its weights is left out: model.adapter_path=%s puts "
            "it over them",
            *(config.path, resolved.path),
        )
    if sees_more_than_text(model_config):
        logger.info(
            "model.path=%s takes more than text (%s): its text part is used, without pictures or "
            "sounds",
            *(config.path, model_config.model_type),
        )

"""The model that the harness asks: one that hands its requests on, and the harness's own that
answers them.

    request  = (loglikelihood, loglikelihood_rolling or generate_until; its arguments)
    response = (log-prob in nats, whether greedy), a log-prob, or a text
lm_eval is imported inside functions.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.model.adapter import without_adapter
from nuggets_ray.model.load import load_tokenizer, resolve_path
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.prompts.alpaca_jinja import give_chat_template
from nuggets_ray.prompts.prompt import make_prompt

logger = logging.getLogger(__name__)

Arguments = tuple[Any, ...]
Response = tuple[float, bool] | float | str
Respond = Callable[[str, Sequence[Arguments]], list[Response]]
"""(kind of request, the arguments of each) -> a response to each, in order."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the harness's record says of a model: its arguments, the batch and the device."""

    model_args: Mapping[str, Any]
    batch_size: int | str
    device: str


def model_facts(model: EvalModel, dtype: str, device: str, batch_size: int | None) -> ModelFacts:
    """Those of a model in `dtype`; without a batch size 1 on a CPU, found by the harness on a
    GPU.
    """
    arguments = {
        "pretrained": resolve_path(model.model),
        "revision": model.model.revision or "main",
        "trust_remote_code": model.model.trust_remote_code,
        "dtype": dtype,
    }
    return ModelFacts(arguments, batch_size or (1 if device == "cpu" else "auto"), device)


def harness_tokenizer(model: EvalModel, chat_template: bool) -> Any:
    """The model's tokenizer; one without a chat template gets that of its prompt (alpaca), as a
    trained model does, where `chat_template` asks for one.
    """
    tokenizer = load_tokenizer(model.model)
    if chat_template:
        prompt = make_prompt(tokenizer, model.prompt)
        if give_chat_template(tokenizer, prompt.zero_shot_prefix.tolist()):
            logger.info(
                "model %s has no chat template: evaluate.chat_template=true puts tasks to it in "
                "alpaca's",
                model.name,
            )
    return tokenizer


class Responder:
    """The harness's own transformers model, loaded."""

    def __init__(self, model: EvalModel, facts: ModelFacts) -> None:
        from lm_eval.models.huggingface import HFLM

        check_weights(model.model)  # the harness loads it by itself, and takes no report
        with without_adapter(facts.model_args["pretrained"]) as plain:
            self._model = HFLM(
                **{**facts.model_args, "pretrained": plain},
                # the harness's own may give other ids
                tokenizer=harness_tokenizer(model, chat_template=False),
                device=facts.device,
                batch_size=facts.batch_size,
            )

    def respond(self, kind: str, arguments: Sequence[Arguments], seed: int) -> list[Response]:
        """A response to each request of one kind; sampled texts are drawn with `seed`."""
        import torch
        from lm_eval.api.instance import Instance

        torch.manual_seed(seed)
        requests = [Instance(kind, {}, one, index) for index, one in enumerate(arguments)]
        responses: list[Response] = getattr(self._model, kind)(requests, disable_tqdm=True)
        return responses


def asked_model(tokenizer: Any, respond: Respond, name: str) -> Any:
    """A model for the harness that has `respond` answer. Its `failed` is the OSError that did, if
    one did: the harness raises such of data sets too.
    """
    from lm_eval.api.model import LM, TemplateLM
    from lm_eval.models.huggingface import HFLM

    class AskedModel(LM):  # type: ignore[misc]
        tokenizer_name = name
        chat_template = TemplateLM.chat_template
        apply_chat_template = HFLM.apply_chat_template
        chat_template_args: Mapping[str, Any] = {}
        failed: OSError | None = None

        def loglikelihood(self, requests: Sequence[Any]) -> list[Response]:
            return self._respond("loglikelihood", requests)

        def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[Response]:
            return self._respond("loglikelihood_rolling", requests)

        def generate_until(self, requests: Sequence[Any]) -> list[Response]:
            return self._respond("generate_until", requests)

        def _respond(self, kind: str, requests: Sequence[Any]) -> list[Response]:
            try:
                return respond(kind, [request.args for request in requests])
            except OSError as error:
                self.failed = error
                raise

    model = AskedModel()
    model.tokenizer = tokenizer
    return model

"""One model replica that answers: conversations in, texts out, by vLLM or, slowly, by transformers.

Both stop at the same tokens and texts; greedy answers of the two agree up to rounding.
"""

from collections.abc import Sequence

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.evaluate.generate.answer import Answer, AnswerRequest, Asked
from nuggets_ray.evaluate.generate.chat import end_ids, prompt_ids
from nuggets_ray.evaluate.generate.transformers import load_transformers
from nuggets_ray.evaluate.generate.vllm import load_vllm
from nuggets_ray.finetune.answer_end import find_answer_end
from nuggets_ray.model.load import LOAD_ERRORS, load_tokenizer, resolve_path
from nuggets_ray.prompts.prompt import make_prompt


class Answerer:
    """One model replica that answers conversations by its chat template."""

    def __init__(
        self,
        model: ModelConfig,
        prompt: PromptConfig,
        generate: GenerateConfig,
        dtype: str,
        num_gpus: float,
    ) -> None:
        tokenizer = load_tokenizer(model)
        self._prompt = make_prompt(tokenizer, prompt)
        self._end = find_answer_end(self._prompt, tokenizer, model.path)
        ends = end_ids(self._end, tokenizer, _generation_eos(model))
        make = {"vllm": load_vllm, "transformers": load_transformers}[generate.backend]
        self._generate, self._context = make(model, tokenizer, ends, generate, dtype, num_gpus)

    def answer(self, asked: Sequence[Asked], seeds: Sequence[int]) -> list[Answer | str]:
        """An answer to each; a reason in place of one that leaves no room in the context."""
        results: list[Answer | str] = [""] * len(asked)
        requests: dict[int, AnswerRequest] = {}
        for index, (one, seed) in enumerate(zip(asked, seeds, strict=True)):
            token_ids = prompt_ids(self._prompt, one.messages, self._end)
            if self._context is not None and len(token_ids) >= self._context:
                results[index] = (
                    f"the prompt has {len(token_ids)} tokens, the context {self._context}"
                )
            else:
                requests[index] = AnswerRequest(token_ids, one.temperature, seed)
        answers = self._generate(list(requests.values()))
        for index, answer in zip(requests, answers, strict=True):
            results[index] = answer
        return results


def _generation_eos(model: ModelConfig) -> int | list[int] | None:
    from transformers import GenerationConfig

    try:
        generation = GenerationConfig.from_pretrained(
            resolve_path(model), revision=model.revision or "main"
        )
    except LOAD_ERRORS:
        return None
    eos: int | list[int] | None = generation.eos_token_id
    return eos

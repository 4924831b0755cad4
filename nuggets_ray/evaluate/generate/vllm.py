"""Answers by vLLM, which is imported inside functions."""

from collections.abc import Sequence
from typing import Any

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.generate.answer import Answer, AnswerRequest, Loaded, answer_text
from nuggets_ray.model.load import load_config, resolve_path
from nuggets_ray.model.tokenizer_file import copy_where_misread
from nuggets_ray.model.vllm import CPU_DEFAULTS, check_installed, set_environment, text_only
from nuggets_ray.model.weights.headers import check_weights


def load_vllm(
    model: ModelConfig,
    tokenizer: Any,
    ends: list[int],
    generate: GenerateConfig,
    dtype: str,
    num_gpus: float,
) -> Loaded:
    """A model whose answers end at the tokens `ends`. UserError for one that vLLM cannot load."""
    llm = _start(model, tokenizer, generate, dtype, num_gpus)
    from vllm import SamplingParams

    def run(requests: Sequence[AnswerRequest]) -> list[Answer]:
        params = [
            SamplingParams(
                max_tokens=generate.max_tokens,
                temperature=request.temperature,
                top_p=generate.top_p,
                stop=generate.stop or None,
                stop_token_ids=ends,
                seed=request.seed if request.temperature else None,
            )
            for request in requests
        ]
        prompts: list[Any] = [{"prompt_token_ids": r.token_ids.tolist()} for r in requests]
        outputs = llm.generate(prompts, params, use_tqdm=False)
        return [_answer(output.outputs[0]) for output in outputs]

    return run, int(llm.model_config.max_model_len)


def _answer(output: Any) -> Answer:
    is_cut = output.finish_reason == "length"
    return Answer(answer_text(output.text, is_cut), len(output.token_ids), is_cut)


def _start(
    model: ModelConfig, tokenizer: Any, generate: GenerateConfig, dtype: str, num_gpus: float
) -> Any:
    check_installed("cuda" if num_gpus else "cpu", "generate.backend")
    path = resolve_path(model)
    arguments: dict[str, Any] = {"tensor_parallel_size": max(1, int(num_gpus))}
    if not num_gpus:
        arguments |= CPU_DEFAULTS
    elif num_gpus < 1:
        arguments["gpu_memory_utilization"] = round(0.9 * num_gpus, 3)
    arguments |= text_only(load_config(model, any_architecture=True)) | generate.vllm
    if arguments["tensor_parallel_size"] > 1:
        # left alone, vLLM may take Ray actors, which the stages know nothing of
        arguments.setdefault("distributed_executor_backend", "mp")
    set_environment(arguments)
    from vllm import LLM

    try:
        with copy_where_misread(tokenizer, path, model.revision, model.trust_remote_code) as copied:
            llm = LLM(
                model=path,
                revision=model.revision,
                trust_remote_code=model.trust_remote_code,
                dtype=dtype,
                **{"tokenizer": copied, **arguments},
            )
    # What vLLM raises for a model or an argument that it does not take.
    except (RuntimeError, ValueError, TypeError, OSError, ImportError) as error:
        raise UserError(
            f"generate.backend=vllm cannot load {model.path} ({' '.join(str(error).split())[:400]})"
            ": change generate.vllm, or take generate.backend=transformers"
        ) from error
    check_weights(model, any_architecture=True)  # now a hub id's files are here too
    return llm

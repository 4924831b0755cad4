"""Answers of one model: token ids in, texts out, by vLLM or, slowly, by transformers.

Both stop at the same tokens and texts; greedy answers of the two agree up to rounding. vllm and
torch are imported inside functions.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.chat import end_ids, prompt_ids
from nuggets_ray.finetune.answer_end import find_answer_end
from nuggets_ray.model.load import (
    LOAD_ERRORS,
    load_config,
    load_model,
    load_tokenizer,
    max_context_tokens,
    resolve_path,
)
from nuggets_ray.model.tokenizer_file import copy_where_misread
from nuggets_ray.model.vllm import CPU_DEFAULTS, check_installed, set_environment
from nuggets_ray.model.weights.headers import check_weights
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Message

BATCH_ROWS = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """`is_cut`: it reached generate.max_tokens (or the context's end) before it ended."""

    text: str
    num_tokens: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """Token ids (T,) to answer, and the seed that sampling takes for it."""

    token_ids: np.ndarray
    seed: int


class Generator(Protocol):
    """One loaded model."""

    def __call__(self, requests: Sequence[AnswerRequest]) -> list[Answer]: ...


Loaded = tuple[Generator, int | None]
"""A generator, and the most tokens that a prompt and its answer may have together (None: any)."""


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
        make = {"vllm": _vllm, "transformers": _transformers}[generate.backend]
        self._generate, self._context = make(model, tokenizer, ends, generate, dtype, num_gpus)

    def answer(
        self, conversations: Sequence[Sequence[Message]], seeds: Sequence[int]
    ) -> list[Answer | str]:
        """An answer to each; a reason in place of one that leaves no room in the context."""
        results: list[Answer | str] = [""] * len(conversations)
        requests: dict[int, AnswerRequest] = {}
        for index, (messages, seed) in enumerate(zip(conversations, seeds, strict=True)):
            token_ids = prompt_ids(self._prompt, messages, self._end)
            if self._context is not None and len(token_ids) >= self._context:
                results[index] = (
                    f"the prompt has {len(token_ids)} tokens, the context {self._context}"
                )
            else:
                requests[index] = AnswerRequest(token_ids, seed)
        answers = self._generate(list(requests.values()))
        for index, answer in zip(requests, answers, strict=True):
            results[index] = answer
        return results


def generation_settings(generate: GenerateConfig, dtype: str, seed: int) -> dict[str, Any]:
    """What decides the answers beside model and prompt, as results.json tells it."""
    return {**asdict(generate), "dtype": dtype, "seed": seed}


def request_key(
    weights: str, template: str, given: dict[str, Any], messages: Sequence[Message]
) -> str:
    """SHA-256 (16 bytes, hex) of all that decides an answer: equal keys share one answer."""
    turns = [[message.role, message.text.strip(), message.input.strip()] for message in messages]
    text = json.dumps([weights, template, given, turns], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def seed_of(key: str) -> int:
    """The sampling seed of a request, the same in every run."""
    return int(key[:8], 16) & 0x7FFFFFFF


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


def _vllm(
    model: ModelConfig,
    tokenizer: Any,
    ends: list[int],
    generate: GenerateConfig,
    dtype: str,
    num_gpus: float,
) -> Loaded:
    llm = _load_vllm(model, tokenizer, generate, dtype, num_gpus)
    from vllm import SamplingParams

    def run(requests: Sequence[AnswerRequest]) -> list[Answer]:
        params = [
            SamplingParams(
                max_tokens=generate.max_tokens,
                temperature=generate.temperature,
                top_p=generate.top_p,
                stop=generate.stop or None,
                stop_token_ids=ends,
                seed=request.seed if generate.temperature else None,
            )
            for request in requests
        ]
        prompts: list[Any] = [{"prompt_token_ids": r.token_ids.tolist()} for r in requests]
        outputs = llm.generate(prompts, params, use_tqdm=False)
        return [
            Answer(o.text.strip(), len(o.token_ids), o.finish_reason == "length")
            for o in (output.outputs[0] for output in outputs)
        ]

    return run, int(llm.model_config.max_model_len)


def _load_vllm(
    model: ModelConfig, tokenizer: Any, generate: GenerateConfig, dtype: str, num_gpus: float
) -> Any:
    check_installed("cuda" if num_gpus else "cpu", "generate.backend")
    path = resolve_path(model)
    arguments: dict[str, Any] = {"tensor_parallel_size": max(1, int(num_gpus))}
    if not num_gpus:
        arguments |= CPU_DEFAULTS
    elif num_gpus < 1:
        arguments["gpu_memory_utilization"] = round(0.9 * num_gpus, 3)
    arguments |= generate.vllm
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


def _transformers(
    model: ModelConfig,
    tokenizer: Any,
    ends: list[int],
    generate: GenerateConfig,
    dtype: str,
    num_gpus: float,
) -> Loaded:
    import torch
    from transformers import GenerationConfig

    loaded = load_model(model, dtype, "cuda" if num_gpus else "cpu")
    # the model's own may hold a repetition penalty and the like, which vLLM is not given either
    loaded.generation_config = GenerationConfig()
    context = max_context_tokens(load_config(model, any_architecture=True))
    pad = ends[0] if ends else 0
    sampling: dict[str, Any] = {"do_sample": False}
    if generate.temperature:
        sampling = {
            **{"do_sample": True, "temperature": generate.temperature},
            **{"top_p": generate.top_p, "top_k": 0},
        }

    def run_batch(batch: Sequence[AnswerRequest], max_tokens: int) -> list[Answer]:
        length = max(len(request.token_ids) for request in batch)
        ids_NL = torch.full((len(batch), length), pad)
        mask_NL = torch.zeros_like(ids_NL)
        for n, request in enumerate(batch):  # answers follow, so padding stands in front
            ids_NL[n, length - len(request.token_ids) :] = torch.from_numpy(request.token_ids)
            mask_NL[n, length - len(request.token_ids) :] = 1
        torch.manual_seed(batch[0].seed)
        with torch.inference_mode():
            out_NL = loaded.generate(  # type: ignore[operator]
                input_ids=ids_NL.to(loaded.device),
                attention_mask=mask_NL.to(loaded.device),
                max_new_tokens=max_tokens,
                eos_token_id=ends or None,
                pad_token_id=pad,
                stopping_criteria=[_has_stop(tokenizer, generate.stop, length)],
                **sampling,
            )
        return [_answer(row, tokenizer, ends, generate) for row in out_NL[:, length:].tolist()]

    def run(requests: Sequence[AnswerRequest]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for batch, max_tokens in _batches(requests, generate, context):
            batch_answers = run_batch([requests[index] for index in batch], max_tokens)
            answers |= dict(zip(batch, batch_answers, strict=True))
        return [answers[index] for index in range(len(requests))]

    return run, context


def _batches(
    requests: Sequence[AnswerRequest], generate: GenerateConfig, context: int | None
) -> Iterator[tuple[list[int], int]]:
    """(which requests are answered together, their most tokens). An answer must not depend on its
    neighbours: not on their draws, nor on the room that the context leaves them.
    """
    together = []
    for index, request in enumerate(requests):
        room = generate.max_tokens
        if context is not None:
            room = min(room, context - len(request.token_ids))
        if generate.temperature or room < generate.max_tokens:
            yield [index], room
        else:
            together.append(index)
    for start in range(0, len(together), BATCH_ROWS):
        yield together[start : start + BATCH_ROWS], generate.max_tokens


def _has_stop(tokenizer: Any, stop: Sequence[str], start: int) -> Any:
    """transformers' criterion that says of each row whether its answer, from token `start` on,
    holds one of the texts. Its own stop_strings looks at the prompt's end too.
    """
    import torch

    def criterion(ids_NL: Any, scores: Any, **_: Any) -> Any:
        texts = tokenizer.batch_decode(ids_NL[:, start:], skip_special_tokens=True) if stop else []
        has_stopped = [any(one in text for one in stop) for text in texts] or [False] * len(ids_NL)
        return torch.tensor(has_stopped, device=ids_NL.device)

    return criterion


def _answer(
    token_ids: list[int], tokenizer: Any, ends: list[int], generate: GenerateConfig
) -> Answer:
    """The new tokens of a row up to the first that ends it."""
    stop = next((i for i, token_id in enumerate(token_ids) if token_id in ends), None)
    kept = token_ids if stop is None else token_ids[:stop]
    text: str = tokenizer.decode(kept, skip_special_tokens=True)
    places = [place for place in map(text.find, generate.stop) if place >= 0]
    if places:
        text = text[: min(places)]
    is_cut = stop is None and not places
    # behind a stop text stands padding only
    return Answer(text.strip(), len(kept) + (stop is not None and not places), is_cut)

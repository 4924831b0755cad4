"""Answers by transformers: slow, for what vLLM cannot load. torch is imported inside functions."""

from collections.abc import Iterator, Sequence
from typing import Any

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.config.schema import ModelConfig
from nuggets_ray.evaluate.generate.answer import Answer, AnswerRequest, Loaded, answer_text
from nuggets_ray.model.load import load_config, load_model, max_context_tokens

BATCH_ROWS = 8


def load_transformers(
    model: ModelConfig,
    tokenizer: Any,
    ends: list[int],
    generate: GenerateConfig,
    dtype: str,
    num_gpus: float,
) -> Loaded:
    """A model that ends its answers at the tokens `ends`."""
    import torch
    from transformers import GenerationConfig

    loaded = load_model(model, dtype, "cuda" if num_gpus else "cpu")
    # the model's own may hold a repetition penalty and the like, which vLLM is not given either
    loaded.generation_config = GenerationConfig()
    context = max_context_tokens(load_config(model, any_architecture=True))
    pad = ends[0] if ends else 0

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
                **_sampling(batch[0].temperature, generate.top_p),
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
        if request.temperature or room < generate.max_tokens:
            yield [index], room
        else:
            together.append(index)
    for start in range(0, len(together), BATCH_ROWS):
        yield together[start : start + BATCH_ROWS], generate.max_tokens


def _sampling(temperature: float, top_p: float) -> dict[str, Any]:
    if not temperature:
        return {"do_sample": False}
    return {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}


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
    return Answer(answer_text(text, is_cut), len(kept) + (stop is not None and not places), is_cut)

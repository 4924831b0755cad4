"""What decides an answer decides its key."""

from dataclasses import replace

from nuggets_ray.config.evaluate import GenerateConfig
from nuggets_ray.evaluate.generate.answer import (
    Asked,
    answer_text,
    generation_settings,
    request_key,
    seed_of,
)
from nuggets_ray.records import Message

GREEDY = GenerateConfig(backend="transformers", max_tokens=24)


def test_where_no_temperature_is_given_answers_are_greedy() -> None:
    told = generation_settings(GenerateConfig(), "float32", 0)
    assert (GenerateConfig().temperature, told["temperature"]) == (None, 0.0)


def test_answers_of_earlier_versions_are_found() -> None:
    """Their settings named the temperature 0.0, as does what is told now."""
    given = generation_settings(GREEDY, "float32", 0)
    asked = Asked((Message("user", "Add."),))
    assert request_key("w", "t", given, asked) == "937f74e38c8ec434bc3b750bf1f11d4d"


def test_a_character_that_was_cut_is_left_out() -> None:
    assert answer_text(" caf\u00e9 \ufffd\ufffd", is_cut=True) == "caf\u00e9"
    assert answer_text(" \ufffd caf\u00e9\ufffd ", is_cut=False) == "\ufffd caf\u00e9\ufffd"


def test_a_key_is_of_all_that_decides_an_answer() -> None:
    def key(
        weights: str = "w",
        template: str = "t",
        dtype: str = "float32",
        seed: int = 0,
        messages: tuple[Message, ...] = (Message("user", "Add.\n1 2"),),
        temperature: float = 0.0,
        **changed: object,
    ) -> str:
        given = generation_settings(replace(GREEDY, **changed), dtype, seed)
        return request_key(weights, template, given, Asked(messages, temperature))

    same = [key(), key(messages=(Message("user", " Add.\n1 2 "),))]
    assert len(set(same)) == 1
    others = [
        key(weights="x"),
        key(template="u"),
        key(dtype="bfloat16"),
        key(seed=1),
        key(backend="vllm"),
        key(max_tokens=5),
        key(temperature=0.5),
        key(top_p=0.5),
        key(stop=["x"]),
        key(vllm={"quantization": "fp8"}),
        key(messages=(Message("system", "Add.\n1 2"),)),
        key(messages=(Message("user", "Add."), Message("user", "1 2"))),
        # rendered in another way by alpaca
        key(messages=(Message("user", "Add.", "1 2"),)),
    ]
    assert len({*same, *others}) == 1 + len(others)
    seeds = {seed_of(one) for one in others}
    assert len(seeds) == len(others) and all(0 <= seed < 2**31 for seed in seeds)

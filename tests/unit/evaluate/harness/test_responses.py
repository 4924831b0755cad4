"""Responses kept by what was asked."""

from pathlib import Path

from nuggets_ray.evaluate.harness.responses import read_responses, request_keys, write_responses

GREEDY = {"until": ["."], "max_gen_toks": 4}
SAMPLED = {**GREEDY, "do_sample": True, "temperature": 0.7}


def key(*arguments: object, model: str = "m", kind: str = "loglikelihood", seed: int = 0) -> str:
    [found] = request_keys(model, kind, [arguments], seed)
    return found


def test_equal_requests_share_a_key_and_others_do_not() -> None:
    assert key("a", "b") == key("a", "b", seed=1)
    different = {
        key("a", "b"), key("a", "c"), key("b", "b"), key("a", "b", model="n"),
        key("a", kind="loglikelihood_rolling"), key("a", GREEDY, kind="generate_until"),
        key("a", {**GREEDY, "max_gen_toks": 5}, kind="generate_until"),
    }  # fmt: skip
    assert len(different) == 7
    first, second = request_keys("m", "generate_until", [("a", GREEDY), ("a", GREEDY)], 0)
    assert first == second, "greedy: asked once, whatever the task"


def test_each_draw_has_a_key_of_its_own_and_the_same_in_every_run() -> None:
    for sampled in (SAMPLED, {**GREEDY, "temperature": 0.5}):
        asked = [("a", sampled), ("b", sampled), ("a", sampled)]
        keys = request_keys("m", "generate_until", asked, 0)
        assert len(set(keys)) == 3
        assert request_keys("m", "generate_until", asked, 0) == keys
        assert not set(request_keys("m", "generate_until", asked, 1)) & set(keys)
    cold = {**SAMPLED, "do_sample": False}
    assert len(set(request_keys("m", "generate_until", [("a", cold), ("a", cold)], 0))) == 1


def test_responses_come_back_as_they_were(tmp_path: Path) -> None:
    folder = str(tmp_path / "responses")
    assert read_responses(folder, {"a"}) == {}
    write_responses(folder, ["a", "b"], [(-1.25, True), (float("-inf"), False)])
    write_responses(folder, ["c", "d"], ["line\u2028break\nand \U0001f600", -3.5])
    found = read_responses(folder, {"a", "b", "c", "d", "e"})
    assert found == {
        "a": (-1.25, True), "b": (float("-inf"), False),
        "c": "line\u2028break\nand \U0001f600", "d": -3.5,
    }  # fmt: skip
    assert read_responses(folder, {"d"}) == {"d": -3.5}

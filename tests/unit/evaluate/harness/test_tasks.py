"""Tasks looked at before a model loads, and put to a tiny model by the harness itself."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from harness_tasks import CHOICES

from nuggets_ray.config.evaluate import EvaluateConfig
from nuggets_ray.config.schema import ModelConfig, PromptConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.harness.files import open_tracker
from nuggets_ray.evaluate.harness.model import (
    Respond,
    Responder,
    asked_model,
    harness_tokenizer,
    model_facts,
)
from nuggets_ray.evaluate.harness.tasks import (
    check_harness_alone,
    check_tasks_given,
    check_tasks_known,
    put_task,
    settings_of,
    task_manager,
)
from nuggets_ray.evaluate.models import EvalModel
from nuggets_ray.model.load import load_model, load_tokenizer

pytest.importorskip("lm_eval")


@pytest.mark.long
def test_tasks_are_looked_at_before_a_model_loads(tasks: Path, tmp_path: Path) -> None:
    both = EvaluateConfig(tasks=["capitals", "arc_easy"], tasks_path=str(tasks))
    check_tasks_given(both)
    check_tasks_known(both)
    with pytest.raises(UserError, match="evaluate.tasks is missing"):
        check_tasks_given(EvaluateConfig())
    with pytest.raises(UserError, match="evaluate.tasks=capitals: the harness has no such task"):
        check_tasks_known(EvaluateConfig(tasks=["arc_easy", "capitals"]))
    nowhere = str(tmp_path / "none")
    with pytest.raises(UserError, match=f"evaluate.tasks_path={nowhere} is no folder"):
        check_tasks_given(EvaluateConfig(tasks=["capitals"], tasks_path=nowhere))


@pytest.mark.parametrize(
    ("key", "value"),
    [("chat_template", True), ("system_instruction", "Be kind."), ("gen_kwargs", {"a": 1}),
     ("batch_size", 4)],
)  # fmt: skip
def test_what_only_the_harness_takes_is_refused_elsewhere(key: str, value: Any) -> None:
    check_harness_alone(EvaluateConfig(method="alpaca_eval"))
    message = f"evaluate.{key}=.* is not used by evaluate=alpaca_eval: .* take evaluate=lm_eval"
    with pytest.raises(UserError, match=message):
        check_harness_alone(EvaluateConfig(method="alpaca_eval", **{key: value}))


def test_settings_that_decide_numbers_have_a_folder_of_their_own(tasks: Path) -> None:
    evaluate = EvaluateConfig(tasks=["places", "places"], tasks_path=str(tasks))
    [settings] = settings_of(evaluate, seed=0)
    name = settings.name("model")
    assert name.startswith("places-")
    others = [
        replace(settings, num_fewshot=2),
        replace(settings, chat_template=True),
        replace(settings, system_instruction="Be kind."),
        replace(settings, gen_kwargs={"max_gen_toks": 2}),
        replace(settings, seed=1),
    ]
    names = {name, settings.name("other"), *(one.name("model") for one in others)}
    assert len(names) == 7
    rows = tasks / "more.txt"
    rows.write_text("another file of the tasks")
    assert settings_of(evaluate, seed=0)[0].name("model") not in names
    rows.unlink()
    assert "/" not in replace(settings, task="own/task.yaml").name("model")


Put = Callable[..., tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]]


@pytest.fixture
def put(tasks: Path, tiny_model: Path) -> Put:
    """Put a task to the tiny model, or to whoever responds in its place."""

    def put_one(task: str, respond: Respond | None = None, **settings: Any) -> Any:
        evaluate = EvaluateConfig(tasks=[task], tasks_path=str(tasks), **settings)
        model = EvalModel("base", ModelConfig(str(tiny_model)), PromptConfig("alpaca"))
        facts = model_facts(model, "float32", "cpu", evaluate.batch_size)
        if respond is None:
            responder = Responder(model, facts)
            respond = lambda kind, arguments: responder.respond(kind, arguments, 0)  # noqa: E731
        tokenizer = harness_tokenizer(model, evaluate.chat_template)
        [settings_] = settings_of(evaluate, seed=0)
        asked = asked_model(tokenizer, respond, "base")
        with open_tracker() as tracker:
            return put_task(settings_, task_manager(str(tasks)), asked, facts, tracker)

    return put_one


def likeliest(model: Path, question: str) -> int:
    """The choice with the highest log-prob, by the model itself."""
    config = ModelConfig(str(model))
    loaded, tokenizer = load_model(config, "float32", "cpu"), load_tokenizer(config)
    sums = []
    for choice in CHOICES:
        ids = torch.tensor([tokenizer(question + choice)["input_ids"]])
        start = len(tokenizer(question)["input_ids"])
        log_probs_TV = loaded(ids).logits[0, :-1].log_softmax(-1)
        sums.append(log_probs_TV.gather(1, ids[0, 1:, None])[start - 1 :].sum().item())
    return max(range(len(CHOICES)), key=lambda i: sums[i])


@pytest.mark.long
def test_a_task_of_our_own_on_a_tiny_model(put: Put, tiny_model: Path) -> None:
    found, samples = put("capitals", limit=9, batch_size=4)
    json.dumps(found)
    right = [likeliest(tiny_model, f"c{i}: ") == i % 3 for i in range(9)]
    assert found["results"]["capitals"]["acc,none"] == pytest.approx(sum(right) / 9)
    assert [sample["acc"] for sample in samples["capitals"]] == [float(one) for one in right]
    assert {"results", "configs", "versions", "n-shot", "n-samples", "config"} <= set(found)
    config = found["config"]
    assert (config["model"], config["batch_size"], config["limit"]) == ("hf", 4, 9)
    assert config["model_args"]["pretrained"] == str(tiny_model)


class Asked:
    """Responds with nothing much, and keeps what was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, tuple[Any, ...]]] = []

    def __call__(self, kind: str, arguments: Any) -> list[Any]:
        self.requests += [(kind, one) for one in arguments]
        return ["ab" if kind == "generate_until" else (-1.0, False)] * len(arguments)


@pytest.mark.long
def test_settings_reach_the_requests(put: Put) -> None:
    asked = Asked()
    settings = {
        "chat_template": True,
        "num_fewshot": 1,
        "system_instruction": "Be kind.",
        "gen_kwargs": {"max_gen_toks": 2},
    }
    found, _ = put("spelling", asked, limit=2, **settings)
    assert {kind for kind, _ in asked.requests} == {"generate_until"} and len(asked.requests) == 2
    context, gen_kwargs = asked.requests[0][1]
    assert context.startswith("Be kind.") and "### Instruction:\nc0:" in context
    assert context.count("### Response:") == 2, "the example is a turn of its own"
    assert context.endswith("### Response:\n")
    assert gen_kwargs["max_gen_toks"] == 2 and gen_kwargs["until"] == ["."], "the task's own stay"
    assert found["config"]["gen_kwargs"] == {"max_gen_toks": 2}

    plain = Asked()
    put("spelling", plain, limit=1)
    assert plain.requests[0][1][0] == "c0: "
    as_text = Asked()
    put("spelling", as_text, limit=1, **settings, fewshot_as_multiturn=False)
    assert as_text.requests[0][1][0].count("### Response:") == 1


@pytest.mark.long
def test_what_a_task_has_no_use_for_is_told(put: Put, caplog: pytest.LogCaptureFixture) -> None:
    put("capitals", Asked(), limit=1, gen_kwargs={"max_gen_toks": 2})
    assert "evaluate.gen_kwargs is not used: capitals has nothing generated" in caplog.text


@pytest.mark.long
def test_data_that_is_not_there_is_told_and_a_failed_write_is_not_taken_for_it(
    put: Put, tasks: Path
) -> None:
    missing = (tasks / "capitals.yaml").read_text().replace("capitals", "nowhere")
    (tasks / "nowhere.yaml").write_text(missing)
    with pytest.raises(UserError, match=r"evaluate.tasks=nowhere: its data cannot be loaded"):
        put("nowhere", Asked())
    (tasks / "nowhere.yaml").unlink()

    def fail(kind: str, arguments: Any) -> list[Any]:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        put("capitals", fail)

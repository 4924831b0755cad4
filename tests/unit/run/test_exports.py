"""A selection in the shapes of other trainers, loaded by their own code where that is installed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from scored_run import choose, finished_run, write_candidates

from nuggets_ray.config.schema import Config, DataConfig, SelectConfig
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.records import Example, Message, ToolCall
from nuggets_ray.run.exports import NoPlaceError, axolotl_row, llamafactory_row, trl_row
from nuggets_ray.run.job_configs import write_config
from nuggets_ray.run.layout import RunFolder

TOOL = '{"type": "function", "function": {"name": "tide", "parameters": {"type": "object"}}}'
QUESTION, ANSWER = Message("user", "High water?", "Cuxhaven"), Message("assistant", "14:05")
CALL = Message("assistant", "", tool_calls=(ToolCall("tide", '{"port": "Cuxhaven"}'),))
CALLS = Message(
    "assistant", "", reasoning="two ports", tool_calls=(CALL.tool_calls[0], ToolCall("tide", "{}"))
)
RESULT = Message("tool", "14:05")
PLAIN = Example((Message("system", "Be brief."), QUESTION, ANSWER))
CALLING = Example((QUESTION, CALLS, RESULT, RESULT, ANSWER), (TOOL, '{"name": "other"}'))


def test_the_shape_of_llamafactory() -> None:
    assert llamafactory_row(PLAIN) == {
        "conversations": [
            {"from": "human", "value": "High water?\nCuxhaven"},
            {"from": "gpt", "value": "14:05"},
        ],
        "system": "Be brief.",
        "tools": "",
    }
    row = llamafactory_row(CALLING)
    roles = [turn["from"] for turn in row["conversations"]]
    assert roles == ["human", "function_call", "observation", "gpt"]
    thought, _, calls = row["conversations"][1]["value"].partition("\n</think>\n\n")
    assert thought == "<think>\ntwo ports"
    assert json.loads(calls) == [
        {"name": "tide", "arguments": {"port": "Cuxhaven"}},
        {"name": "tide", "arguments": {}},
    ]
    assert row["conversations"][2]["value"].count("14:05") == 2
    assert json.loads(row["tools"]) == [json.loads(TOOL), {"name": "other"}]
    single = llamafactory_row(Example((QUESTION, CALL, RESULT, ANSWER)))
    assert json.loads(single["conversations"][1]["value"])["name"] == "tide"


def test_the_shapes_of_trl_and_axolotl() -> None:
    plain, calling = trl_row(PLAIN), trl_row(CALLING)
    assert plain == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "High water?\nCuxhaven"},
            {"role": "assistant", "content": "14:05"},
        ]
    }
    call = calling["messages"][1]["tool_calls"][0]
    assert call == {
        "type": "function",
        "function": {"name": "tide", "arguments": {"port": "Cuxhaven"}},
    }
    assert calling["messages"][1]["reasoning_content"] == "two ports"
    assert json.loads(calling["tools"])[0] == json.loads(TOOL)
    muted = Example((QUESTION, Message("assistant", "Hm.", trains=False), QUESTION, ANSWER))
    turns = axolotl_row(muted)["messages"]
    assert [turn["training"] for turn in turns] == [False, False, False, True]
    call = axolotl_row(CALLING)["messages"][1]["tool_calls"][0]["function"]
    assert json.loads(call["arguments"]) == {"port": "Cuxhaven"}


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ((Message("assistant", "Hi."), QUESTION, ANSWER), "alternate"),
        ((QUESTION, ANSWER, Message("system", "x"), QUESTION, ANSWER), "system turn behind"),
        (
            (QUESTION, Message("assistant", "a", trains=False), QUESTION, ANSWER),
            "not to be trained",
        ),
        ((QUESTION, Message("assistant", "Look:", tool_calls=CALL.tool_calls)), "text beside"),
        ((QUESTION, Message("assistant", "", tool_calls=(ToolCall("f", "{x"),))), "no JSON"),
    ],
)
def test_what_a_shape_has_no_place_for_is_not_bent(messages: Any, what: str) -> None:
    with pytest.raises(NoPlaceError, match=what):
        llamafactory_row(Example(messages))
    if what in ("not to be trained", "no JSON"):
        with pytest.raises(NoPlaceError, match=what):
            trl_row(Example(messages))


@pytest.fixture
def out_dir(tmp_path: Path) -> str:
    path = finished_run(str(tmp_path / "run"))
    fingerprint: dict[str, Any] = {}
    manifest = {"schema_version": 1, "data_format": "sharegpt", "fingerprint": fingerprint}
    write_json(RunFolder(path).manifest, manifest)
    write_config(path, "score", Config(path, data=DataConfig("/data")))
    return path


ALL = SelectConfig(rule="top_k", k=4, export=["llamafactory", "axolotl", "trl"])


def test_the_job_writes_them_beside_and_removes_what_is_old(out_dir: str) -> None:
    result, rows = choose(out_dir, ALL)
    folder = Path(RunFolder(out_dir).exports("golden"))
    files = ("llamafactory/data.jsonl", "llamafactory/dataset_info.json", "axolotl/data.jsonl")
    files += ("axolotl/datasets.yaml", "trl/data.jsonl")
    exports = [path for path in result["wrote"] if path.startswith(str(folder))]
    assert exports == [str(folder / file) for file in files]
    lines = (folder / "trl" / "data.jsonl").read_text().splitlines()
    asked = [json.loads(line)["messages"][0]["content"] for line in lines]
    assert asked == [row["conversations"][0]["value"] for row in rows]
    choose(out_dir)
    assert not folder.exists(), "they are of rows that are not selected any more"


def test_rows_without_a_place_are_counted(out_dir: str, caplog: pytest.LogCaptureFixture) -> None:
    turns = [{"from": "human", "value": "q"}, {"from": "system", "value": "s"}]
    turns.append({"from": "gpt", "value": "a"})
    write_candidates(out_dir, 1, range(10, 20), conversations=turns)
    choose(out_dir, ALL)
    assert "llamafactory has no place for 4 of the 4 rows, which are left out there" in caplog.text
    assert "4 with a system turn behind the first" in caplog.text


def test_a_run_that_does_not_say_how_its_rows_were_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="select.export: .*leave it out"):
        choose(finished_run(str(tmp_path)), ALL)


def load(out_dir: str, trainer: str, tmp_path: Path) -> Any:
    datasets = pytest.importorskip("datasets")
    data = RunFolder(out_dir).export("golden", trainer).data
    return datasets.load_dataset("json", data_files=data, cache_dir=str(tmp_path / "c"))["train"]


def test_datasets_loads_every_shape(out_dir: str, tmp_path: Path) -> None:
    choose(out_dir, ALL)
    columns = {trainer: load(out_dir, trainer, tmp_path).column_names for trainer in ALL.export}
    assert columns == {
        "llamafactory": ["conversations", "system", "tools"],
        "axolotl": ["messages"],
        "trl": ["messages"],
    }


def test_llamafactory_loads_its_shape(out_dir: str) -> None:
    converter = pytest.importorskip("llamafactory.data.converter", exc_type=ImportError)
    parser = pytest.importorskip("llamafactory.data.parser", exc_type=ImportError)
    choose(out_dir, ALL)
    folder = str(Path(RunFolder(out_dir).export("golden", "llamafactory").data).parent)
    [attributes] = parser.get_dataset_list(["golden"], folder)
    assert attributes.dataset_name == "data.jsonl"
    for example in (PLAIN, CALLING):
        converted = converter.SharegptDatasetConverter(attributes, None)(llamafactory_row(example))
        assert converted["_response"] == [{"role": "assistant", "content": "14:05"}]
        assert converted["_prompt"][0] == {"role": "user", "content": "High water?\nCuxhaven"}
    assert converted["_prompt"][1]["role"] == "function"
    assert json.loads(converted["_tools"])[0] == json.loads(TOOL)


TEMPLATE = (
    "{% for tool in tools or [] %}<tool>{{ tool | tojson }}</tool>{% endfor %}"
    "{% for message in messages %}<{{ message['role'] }}>{{ message['reasoning_content'] }}"
    "{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}{{ call['function'] }}{% endfor %}"
    "<end>{% endfor %}"
)


def test_trl_recognises_its_shape(out_dir: str, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl.data_utils", exc_type=ImportError)
    choose(out_dir, ALL)
    loaded = load(out_dir, "trl", tmp_path)
    assert all(trl.is_conversational(row) for row in loaded)
    assert trl.is_conversational(trl_row(CALLING))


def test_axolotl_reads_its_shape(out_dir: str) -> None:
    module = "axolotl.prompt_strategies.chat_template"
    axolotl = pytest.importorskip(module, exc_type=ImportError)
    choose(out_dir, ALL)
    written = RunFolder(out_dir).export("golden", "axolotl").datasets
    [entry] = yaml.safe_load(Path(written).read_text())["datasets"]
    tokenizer = SimpleNamespace(eos_token="<end>", encode=lambda text, **_: [0])
    prompter = axolotl.ChatTemplatePrompter(
        tokenizer,
        TEMPLATE,
        field_messages=entry["field_messages"],
        message_field_training=entry["message_field_training"],
    )
    roles = entry["roles_to_train"]
    strategy = axolotl.ChatTemplateStrategy(
        prompter, tokenizer, False, 2048, roles, entry["train_on_eos"]
    )
    row = axolotl_row(CALLING)
    turns = strategy.get_conversation_thread(row)
    assert [turn["training"] for turn in turns] == [False, True, False, False, True]
    assert turns[1]["tool_calls"][0]["function"]["arguments"] == {"port": "Cuxhaven"}
    assert turns[1]["reasoning_content"] == "two ports"

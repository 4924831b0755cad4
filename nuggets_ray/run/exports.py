"""A selection in the file shapes that other trainers document: exports/NAME/TRAINER/.

llamafactory: data.jsonl in its sharegpt shape, dataset_info.json with the entry that describes it
(dataset_dir is this folder). axolotl: data.jsonl for type: chat_template, datasets.yaml with the
entry of its configuration. trl: data.jsonl of messages and tools, for SFTTrainer. What a shape has
no place for is not bent into it: the row is left out and counted.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from nuggets_ray import io
from nuggets_ray.data.examples import Rules
from nuggets_ray.errors import UserError
from nuggets_ray.records import Example, Message, ToolCall
from nuggets_ray.run.job_configs import read_config
from nuggets_ray.run.layout import ExportFolder, RunFolder
from nuggets_ray.run.manifest import read_manifest

logger = logging.getLogger(__name__)

Row = dict[str, Any]
THOUGHT = "<think>\n{}\n</think>\n\n"
"""How LLaMA-Factory writes reasoning in front of an answer."""
NEXT_RESULT = "\n</tool_response>\n<tool_response>\n"
"""What LLaMA-Factory puts between the results of several calls, which are one turn there."""


class NoPlaceError(Exception):
    """The shape has no place for something that the row holds."""


def write_exports(
    out_dir: str, name: str, trainers: Sequence[str], rows: Sequence[bytes]
) -> list[str]:
    """Write the rows of a selection for each of the trainers, and remove what exports of it there
    were. Returns the files.
    """
    run = RunFolder(out_dir)
    io.delete(run.exports(name))
    wrote = []
    for trainer in trainers:
        folder = run.export(name, trainer)
        io.write_bytes(folder.data, _lines(out_dir, rows, trainer))
        wrote.append(folder.data)
        if trainer == "llamafactory":
            entry = {"file_name": PurePath(folder.data).name, **LLAMAFACTORY}
            io.write_json(folder.dataset_info, {name: entry})
            wrote.append(folder.dataset_info)
        if trainer == "axolotl":
            io.write_bytes(folder.datasets, _axolotl_entry(folder).encode())
            wrote.append(folder.datasets)
    return wrote


def _lines(out_dir: str, rows: Sequence[bytes], trainer: str) -> bytes:
    lines: list[str] = []
    reasons: Counter[str] = Counter()
    rules = _rules(out_dir)
    for row in rows:
        try:
            shaped = SHAPES[trainer](rules.parse(json.loads(row)))
            lines.append(json.dumps(shaped, ensure_ascii=False))
        except NoPlaceError as reason:
            reasons[str(reason)] += 1
    if reasons:
        logger.warning(
            "select.export: %s has no place for %d of the %d rows, which are left out there: %s",
            *(trainer, reasons.total(), len(rows)),
            "; ".join(f"{count} with {reason}" for reason, count in reasons.most_common()),
        )
    return "".join(line + "\n" for line in lines).encode()


def _rules(out_dir: str) -> Rules:
    """How the rows of the run were read."""
    manifest, scored = read_manifest(out_dir), read_config(out_dir, "score")
    if manifest is None or scored is None:
        raise UserError(
            f"select.export: out_dir={out_dir} does not say how its rows were read: it is no run "
            "of this version; leave it out"
        )
    return Rules(manifest["data_format"], scored["data"]["columns"])


def llamafactory_row(example: Example) -> Row:
    """{conversations: [{from, value}], system, tools}: human and observation in turn with gpt and
    function_call. Raises NoPlaceError.
    """
    messages = list(example.messages)
    system = messages.pop(0).content if messages[0].role == "system" else ""
    turns: list[dict[str, str]] = []
    for message in messages:
        turn = _llamafactory_turn(message)
        if turns and turn["from"] == turns[-1]["from"] == "observation":
            turns[-1]["value"] += NEXT_RESULT + turn["value"]
        else:
            turns.append(turn)
    for place, turn in enumerate(turns):
        if turn["from"] not in (("human", "observation"), ("gpt", "function_call"))[place % 2]:
            raise NoPlaceError("turns that do not alternate")
    return {"conversations": turns, "system": system, "tools": _tools(example) or ""}


def _llamafactory_turn(message: Message) -> dict[str, str]:
    if message.role == "system":
        raise NoPlaceError("a system turn behind the first")
    if message.role != "assistant":
        return {"from": LLAMAFACTORY_ROLES[message.role], "value": message.content}
    if not message.trains:
        raise NoPlaceError("an assistant turn that is not to be trained on")
    if message.tool_calls and message.content:
        raise NoPlaceError("text beside a tool call")
    thought = THOUGHT.format(message.reasoning) if message.reasoning else ""
    if not message.tool_calls:
        return {"from": "gpt", "value": thought + message.content}
    calls = [_function(call) for call in message.tool_calls]
    value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
    return {"from": "function_call", "value": thought + value}


def trl_row(example: Example) -> Row:
    """{messages: [{role, content, reasoning_content?, tool_calls?}], tools?}, tools as JSON text.
    Raises NoPlaceError.
    """
    if any(message.role == "assistant" and not message.trains for message in example.messages):
        raise NoPlaceError("an assistant turn that is not to be trained on")
    return _with_tools({"messages": [_message(message) for message in example.messages]}, example)


def axolotl_row(example: Example) -> Row:
    """As for TRL, with arguments as JSON text, which unlike calls have in common, and `training` in
    every turn: whether it is trained on. Raises NoPlaceError.
    """
    messages = [
        _message(message, json.dumps) | {"training": message.is_answer}
        for message in example.messages
    ]
    return _with_tools({"messages": messages}, example)


def _message(message: Message, written: Callable[[Row], object] = lambda value: value) -> Row:
    """A turn as chat templates take it; `written`: how the arguments of a call are written."""
    turn: Row = {"role": message.role, "content": message.content}
    if message.reasoning:
        turn["reasoning_content"] = message.reasoning
    if message.tool_calls:
        turn["tool_calls"] = [
            {"type": "function", "function": {**function, "arguments": written(arguments)}}
            for function in map(_function, message.tool_calls)
            for arguments in [function["arguments"]]
        ]
    return turn


def _function(call: ToolCall) -> Row:
    try:
        return {"name": call.name, "arguments": json.loads(call.arguments)}
    except ValueError:
        raise NoPlaceError("arguments of a tool call that are no JSON") from None


def _with_tools(row: Row, example: Example) -> Row:
    tools = _tools(example)
    return row | ({"tools": tools} if tools else {})


def _tools(example: Example) -> str | None:
    """All tools as the JSON text of a list: as a column of objects they would have to be alike."""
    return f"[{', '.join(example.tools)}]" if example.tools else None


def _axolotl_entry(folder: ExportFolder) -> str:
    entry = {
        "path": folder.data,
        "ds_type": "json",
        "type": "chat_template",
        "field_messages": "messages",
        "message_field_training": "training",
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }
    return str(yaml.safe_dump({"datasets": [entry]}, sort_keys=False))


LLAMAFACTORY = {
    "formatting": "sharegpt",
    "columns": {"messages": "conversations", "system": "system", "tools": "tools"},
}
LLAMAFACTORY_ROLES = {"user": "human", "tool": "observation"}
SHAPES: dict[str, Callable[[Example], Row]] = {
    "llamafactory": llamafactory_row,
    "axolotl": axolotl_row,
    "trl": trl_row,
}

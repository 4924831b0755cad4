"""Which format the fields of a row fit, by rows of every kind and by real files."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from nuggets_ray.config.schema import DataConfig
from nuggets_ray.data.examples import choose_rules, file_rows, parse_rows
from nuggets_ray.data.formats import FORMATS, fit, format_of_columns
from nuggets_ray.data.inputs import list_inputs
from nuggets_ray.data.values import SkipRow

TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
PAIR = {"instruction": "q", "output": "a"}
FITTING: list[tuple[Any, list[str]]] = [
    (PAIR, ["alpaca"]),
    (PAIR | {"context": "i", "conversation": "no turns"}, ["alpaca"]),
    ({"instruction": "q", "input": "i", "response": "a"}, ["dolly"]),
    (PAIR | {"response": "a"}, ["alpaca", "dolly"]),
    ({"prompt": "q", "completion": "a"}, ["prompt_completion"]),
    ({"prompt": TURNS[:1], "completion": TURNS[1:]}, ["prompt_completion"]),
    ({"prompt": "q", "chosen": "a", "rejected": "b"}, ["preference"]),
    ({"chosen": TURNS, "rejected": TURNS}, ["preference"]),
    ({"conversations": TURNS[:1], "chosen": TURNS[1]}, ["sharegpt"]),
    ({"instruction": "q", "instances": []}, ["self_instruct"]),
    *(({name: TURNS}, ["sharegpt"]) for name in FORMATS["sharegpt"].turns),
    ({"conversations": "[]"}, ["sharegpt"]),
    ({"messages": TURNS}, ["messages"]),
    ({"messages": TURNS, "conversations": TURNS}, ["sharegpt", "messages"]),
    ({"messages": None, "conversations": TURNS}, ["sharegpt"]),
    ({"messages": TURNS, "instruction": None, "output": None}, ["messages"]),
    (TURNS, ["messages"]),
    (["q", "a"], ["messages"]),
    ({"instruction": "q", "output": None}, ["alpaca"]),
    ({"instruction": 3, "output": {}}, ["alpaca"]),
    ({"question": "q", "answer": "a"}, []),
    ({"messages": "none"}, []),
    *((nothing, []) for nothing in ("text", 3, None, [], [3])),
]


@pytest.mark.parametrize(("row", "names"), FITTING)
def test_a_row_fits_by_its_fields(row: Any, names: list[str]) -> None:
    fits = {name: fit(row, format) for name, format in FORMATS.items()}
    best = max(fits.values())
    assert [name for name, how_well in fits.items() if how_well == best > 0] == names


def test_a_field_that_holds_null_fits_less() -> None:
    assert fit(PAIR, FORMATS["alpaca"]) > fit(PAIR | {"output": None}, FORMATS["alpaca"]) > 0


def test_columns_of_yours_are_a_format() -> None:
    assert format_of_columns({"messages": "log"}).turns == ("log",)
    format = format_of_columns({"instruction": "q", "output": "a", "input": "i"})
    assert (format.question, format.answer, format.takes_input) == (("q",), ("a",), True)
    assert format_of_columns({"instruction": "q", "chosen": "a"}).answer == ("a",)


REAL_FILES = {
    "candidates/alpaca_9229.json": ("alpaca", 9229, {"empty_answer": 4}),
    "candidates/dolly_2996.json": ("alpaca", 2996, {}),
    "formats/alpaca_zh_1000.json": ("alpaca", 1000, {}),
    "formats/dolly_original_fields_12.json": ("dolly", 12, {}),
    "formats/messages_500.jsonl": ("messages", 500, {}),
    "formats/self_instruct_seed_tasks_175.jsonl": ("self_instruct", 175, {}),
    "formats/sharegpt_500.json": ("sharegpt", 500, {}),
}


@pytest.mark.parametrize("name", REAL_FILES)
def test_real_files_load_with_format_auto(test_data: Path, name: str) -> None:
    files = list_inputs(str(test_data / name))
    rules = choose_rules(DataConfig(str(test_data / name)), files)
    results = [result for _, result in parse_rows(file_rows(files), rules)]
    reasons = Counter(result.reason for result in results if isinstance(result, SkipRow))
    assert (rules.format, len(results), dict(reasons)) == REAL_FILES[name]


def test_every_real_file_is_in_the_table(test_data: Path) -> None:
    folders = ("candidates", "formats")
    found = {
        f"{folder}/{path.name}" for folder in folders for path in (test_data / folder).iterdir()
    }
    assert found == set(REAL_FILES)

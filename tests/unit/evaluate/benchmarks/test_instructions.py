"""AlpacaEval's instructions, by their text."""

import json
from pathlib import Path

from nuggets_ray.evaluate.benchmarks.instructions import instruction_numbers, num_instructions
from nuggets_ray.evaluate.prompt_file import read_alpaca_prompts


def test_each_published_instruction_has_its_number(test_data: Path) -> None:
    path = test_data / "evaluation" / "alpaca_eval_805_outputs_gpt4.json"
    texts = [row["instruction"] for row in json.loads(path.read_bytes())]
    assert num_instructions() == len(texts) == 805
    assert instruction_numbers(texts) == list(range(805))
    assert instruction_numbers(texts[::-1]) == list(range(805))[::-1]


def test_others_have_none() -> None:
    assert instruction_numbers(["What is the use of this?", ""]) == [None, None]
    assert num_instructions() == 805


def test_a_file_with_rows_missing_keeps_the_numbers_of_the_others(
    test_data: Path, tmp_path: Path
) -> None:
    published = test_data / "evaluation" / "alpaca_eval_805_outputs_gpt4.json"
    rows = json.loads(published.read_bytes())
    del rows[400], rows[100]
    part = tmp_path / "part.json"
    part.write_text(json.dumps(rows[::-1]), "utf-8")
    ids = [int(prompt.prompt_id) for prompt in read_alpaca_prompts(str(part), None)]
    assert ids == [n for n in range(804, -1, -1) if n not in (100, 400)]

"""Run by test_owners_loaders.py where alpaca_eval and FastChat are importable: reads files of ours
as their owners do, and prints what they make of them as JSON, on the last line.

python owners_loaders.py FOLDER     (as the test writes it)
"""

import json
import sys
from pathlib import Path
from typing import Any

from alpaca_eval import utils
from alpaca_eval.metrics import get_winrate
from fastchat.llm_judge.common import (
    load_model_answers,
    load_questions,
    load_single_model_judgments,
)
from fastchat.llm_judge.show_result import display_result_single

from nuggets_ray.evaluate.benchmarks.length import length_controlled_win_rate


def alpaca_eval_facts(folder: Path) -> dict[str, Any]:
    outputs = utils.load_or_convert_to_dataframe(folder / "model_outputs.json")
    annotations = utils.load_or_convert_to_dataframe(folder / "annotations.json")
    rates = {}
    for name in ("annotations.json", "reversed.json", "by_row.json"):
        rows = json.loads((folder / name).read_bytes())
        rates[name] = length_controlled_win_rate(rows, 805)
    return {
        "outputs": [len(outputs), *outputs.columns],
        "win_rate": get_winrate(annotations)["win_rate"],
        "controlled": rates,
    }


def fastchat_facts(folder: Path) -> dict[str, Any]:
    judgments = load_single_model_judgments(str(folder / "j_single.jsonl"))

    class Arguments:
        input_file, bench_name, judge_model = str(folder / "j_single.jsonl"), "mt_bench", "j"
        model_list = None

    display_result_single(Arguments)
    return {
        "questions": len(load_questions(str(folder / "question.jsonl"), None, None)),
        "answers": {m: len(a) for m, a in load_model_answers(str(folder / "model_answer")).items()},
        "judgments": {" ".join(judge): len(games) for judge, games in judgments.items()},
    }


if __name__ == "__main__":
    given = Path(sys.argv[1])
    print(json.dumps({"alpaca_eval": alpaca_eval_facts(given), "fastchat": fastchat_facts(given)}))

"""Tasks of our own for EleutherAI's harness: two of choices, in a group, and one of generated text,
which need no network.
"""

import json
from pathlib import Path

CHOICES = ["ab", "cd", "ef"]
NUM_ROWS = 12
CHOICE_TASK = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
target_delimiter: ""
metric_list:
  - metric: acc
metadata:
  version: 3.0
"""
TEXT_TASK = """
task: spelling
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs:
  until: ["."]
  max_gen_toks: 4
metric_list:
  - metric: exact_match
metadata:
  version: 1.0
"""
GROUP = """
group: places
task: [capitals, rivers]
aggregate_metric_list:
  - metric: acc
    aggregation: mean
    weight_by_size: true
metadata:
  version: 2.0
"""


def write_tasks(folder: Path) -> Path:
    """capitals and rivers (12 rows each, choices), places (the group of both) and spelling (text),
    whose answers a tiny model knows as chance has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("capitals", "rivers"):
        data = folder / f"{name}.jsonl"
        rows = [
            {"question": f"{name[0]}{i}: ", "choices": CHOICES, "answer": i % 3}
            for i in range(NUM_ROWS)
        ]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / f"{name}.yaml").write_text(CHOICE_TASK.format(name=name, data=data))
    (folder / "spelling.yaml").write_text(TEXT_TASK.format(data=folder / "capitals.jsonl"))
    (folder / "places.yaml").write_text(GROUP)
    return folder

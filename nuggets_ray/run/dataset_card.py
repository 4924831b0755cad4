"""selections/NAME/README.md: the dataset card, whose front matter makes the folder one that
`datasets.load_dataset` reads and the hub shows. It holds numbers and settings, no text of the rows.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.selections import Record

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))
"""The hub's size categories, each with the number of rows that it ends at."""
LARGER = "1M<n<10M"


def dataset_card(
    out_dir: str,
    name: str,
    record: Record,
    columns: Sequence[str],
    scored: Mapping[str, Any] | None,
    fingerprint: Mapping[str, Any],
) -> str:
    """The card of a selection. `record`: what selection.json says; `columns` of selected.parquet;
    `scored`: the configuration of the scoring, None where it is not kept.
    """
    folder = RunFolder(out_dir).selection(name)
    num_rows = int(record["num_rows"])
    front = {
        "pretty_name": name,
        "tags": ["instruction-tuning", "nuggets_ray"],
        "size_categories": [next((size for end, size in SIZES if num_rows < end), LARGER)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": PurePath(folder.parquet).name}],
            }
        ],
    }
    settings = {key: value for key, value in record["settings"].items() if value is not None}
    partial = " of those that were scored by then (the scoring was not over)"
    return "\n".join(
        [
            f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n",
            f"# {name}\n",
            f"{num_rows:,} of {record['num_scored']:,} scored instruction rows"
            f"{partial if record.get('partial') else ''}, chosen by nuggets_ray (one-shot golden "
            "scores, arXiv 2312.10302). The rows are as they were; `example_id`, `golden_score` "
            "and `rank` (1 is best) stand beside their fields.\n",
            "```python",
            "from datasets import load_dataset\n",
            f"rows = load_dataset({folder.path!r}, split='train')",
            "```\n",
            "## How they were chosen\n",
            _block(settings),
            _block({key: value for key, value in record.items() if key != "settings"}),
            *_scoring(scored, fingerprint),
            "## Fields\n",
            "".join(f"- {json.dumps(column, ensure_ascii=False)}\n" for column in columns),
            "## Terms\n",
            "The rows keep the licence and the personal data of where they come from, which this "
            "card does not know: add `license:` above before you share them.\n",
        ]
    )


def _scoring(scored: Mapping[str, Any] | None, fingerprint: Mapping[str, Any]) -> list[str]:
    if scored is None:
        return []
    told = {
        "model": scored["model"]["path"],
        "data": scored["data"]["path"],
        "anchors": {k: scored["anchors"].get(k) for k in ("method", "num", "path", "sets")},
        **dict(fingerprint),
    }
    return ["## How they were scored\n", _block(told)]


def _block(value: Mapping[str, Any]) -> str:
    return f"```json\n{json.dumps(dict(value), indent=1, ensure_ascii=False)}\n```\n"

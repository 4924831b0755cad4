"""Run folders for the report: a finished one with a selection, a training and a verdict, and rows
that attack whoever shows them.
"""

import json
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa
from shown_run import readable_run

from nuggets_ray import io
from nuggets_ray.config.report import ReportConfig
from nuggets_ray.config.schema import Config, SelectConfig
from nuggets_ray.evaluate.results import Result, Results, write_results
from nuggets_ray.io import write_json
from nuggets_ray.report.material import Material
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.select import select_candidates
from nuggets_ray.run.skipped import SKIPPED_SCHEMA

ATTEMPT = {
    **{"attempt_id": "a1", "started": "2026-01-01T10:00:00+00:00", "status": "done"},
    **{"ended": "2026-01-01T10:02:00+00:00", "num_workers": 2, "num_computed": 12},
}
HOSTILE = (
    "<script>document.title='pwned'</script>",
    '"><img src=x onerror="document.title=\'pwned\'">',
    "</style></script></title><svg onload=document.title='pwned'>",
    "{{ 7 * 7 }} {% raw %}",
    "\x1b[31mred\x1b[0m \x00 nul",
    "\u202egnp.exe\u202c \u200f right to left \u2066 isolate",
    "$\\frac{1}{0}$ & <b>bold</b>",
    "javascript:alert(1)",
)
LONE = "\ud83d"
"""Half of a pair: JSON can spell it, UTF-8 cannot."""
VERDICT: dict[str, Any] = {
    "outcome": "not told apart",
    "paragraph": "Three draws are not enough <here>.",
    "numbers": {
        **{"metric": "likelihood/mean_logprob", "golden": "golden", "num_rows": 32},
        "values": {"base": -2.7, "golden": -2.6, "random-0": -2.5, "random-1": -2.55},
        "draws": [
            {
                **{"kind": "random draws matched in rows", "arms": ["random-0", "random-1"]},
                **{"mean": -2.525, "low": -2.9, "high": -2.1},
            }
        ],
        "differences": [
            {
                **{"against": "base", "value": 0.1, "low": 0.05, "high": 0.15},
                **{"p_value": 0.001, "p_holm": 0.002},
            }
        ],
    },
    "signs": {"unstable_across_anchors": "scores are unstable"},
    "checked_signs": ["unstable_across_anchors"],
    "undecided_signs": ["explained_by_tokens"],
}


def scored(path: str, num_rows: int = 12) -> str:
    """A run whose scoring is done."""
    readable_run(path, num_rows)
    add_stage(path, "score")
    return path


def add_stage(path: str, stage: str, **attempt: Any) -> None:
    """A stage that is done, in the manifest."""
    run = RunFolder(path)
    manifest = json.loads(io.read_bytes(run.manifest))
    told = ATTEMPT | {"attempt_id": f"a-{stage}"} | attempt
    manifest["stages"][stage] = {"status": told["status"], "attempts": [told]}
    write_json(run.manifest, manifest)


def choose(path: str, k: int = 4, **settings: Any) -> str:
    """Select the best `k` rows of a run."""
    select_candidates(Config(path, select=SelectConfig(rule="top_k", k=k, **settings)))
    return path


def train(path: str, name: str) -> None:
    """A training of 3 steps, and its model."""
    run = RunFolder(path)
    add_stage(path, f"finetune-{name}", num_steps=3)
    lines = [{"step": step, "loss": 2.0 / step} for step in (1, 2, 3)]
    lines.append({"step": 3, "eval_loss": 1.5})
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 4, "lo'
    io.write_bytes(run.metrics(f"a-finetune-{name}"), text.encode())
    record = {"settings": {"finetune.method": "full"}, "summary": {"num_rows": 4}}
    write_json(run.model(name).record, record)


def evaluate(path: str, outcome: str = "not told apart") -> None:
    """Results with a verdict, and answers side by side."""
    results = Results(
        "likelihood/mean_logprob",
        tuple(
            Result(model, "likelihood", "mean_logprob", value, 32, value - 0.1, value + 0.1)
            for model, value in VERDICT["numbers"]["values"].items()
        ),
        VERDICT | {"outcome": outcome},
    )
    write_results(path, results)
    shown = [{"asked": "Why?", "own_answer": "So.", "answers": {"base": "?", "golden": "So!"}}]
    write_json(RunFolder(path).evaluation.answers_data("set"), shown)


def skip(path: str, *reasons: str, excerpt: str = "the row") -> None:
    """Rows that have no score."""
    rows = [
        {"source_path": "/data/rows.jsonl", "row_number": i, "reason": reason, "excerpt": excerpt}
        for i, reason in enumerate(reasons)
    ]
    io.write_table(RunFolder(path).skipped, pa.Table.from_pylist(rows, schema=SKIPPED_SCHEMA))


def whole_run(path: str) -> str:
    """All that a report can show: scores, a selection, a model, a verdict, rows left out."""
    choose(scored(path))
    train(path, "golden")
    evaluate(path)
    skip(path, "no_answer", "no_answer", "held_out")
    return path


def hostile_run(path: str) -> str:
    """A whole run, of which every text of a row, an anchor and a source is an attack."""
    scored(path)
    run = RunFolder(path)
    (part,) = io.list_files(run.candidates, ".parquet")
    rows = io.read_table(part).to_pylist()
    for place, row in enumerate(rows):
        text = HOSTILE[place % len(HOSTILE)]
        output = text + LONE if place == 0 else text
        fields = {"instruction": text, "output": output, "category": HOSTILE[place % 2]}
        row["row_json"] = json.dumps(fields)
        row["source_path"] = f"/data/{text}".replace("\x00", "")
    io.write_table(part, pa.Table.from_pylist(rows))
    anchors = io.read_table(run.anchors).to_pylist()
    for place, anchor in enumerate(anchors):
        anchor["text"] = HOSTILE[place]
    io.write_table(run.anchors, pa.Table.from_pylist(anchors))
    choose(path)
    evaluate(path)
    skip(path, *(f"error: {text}" for text in HOSTILE), excerpt="".join(HOSTILE))
    return path


def material(path: str, **config: Any) -> Material:
    """What the sections of the report are made of."""
    return Material(path, ReportConfig(**config))


class Tags(HTMLParser):
    """The elements of a page as a browser would see them, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a name."""
        return [attributes for tag, attributes in self.tags if tag == name]

"""Results of several runs side by side; what makes numbers of one line unlike is flagged.

A line is a benchmark, metric, subset, model and opponent, a column is a run.
"""

import json
from collections.abc import Mapping
from typing import Any

from nuggets_ray.evaluate.results import ALL, PINNED, Result, Results
from nuggets_ray.evaluate.tables import interval_text, number_text
from nuggets_ray.markdown import markdown_table

MISSING = "-"
Line = tuple[Any, ...]


def compare_runs(runs: Mapping[str, Results]) -> str:
    """A Markdown table of the results of {run folder: results}, the primary metric first, then the
    notes that its last column names, and each run's verdict.

    A line gets a note where runs differ in judge, prompt version, generation settings, hashes of
    the data or number of rows, one of the primary metric where they differ in the seed too: such
    numbers are not comparable as they stand.
    """
    labels = run_labels(list(runs))
    lines = _lines(runs)
    notes: dict[str, int] = {}
    rows = []
    for line, cells in lines.items():
        benchmark, metric, subset, model, against, *judged = line
        name = f"{benchmark}/{metric}" + "".join(f" ({text})" for text in judged if text)
        is_primary = any(runs[run].is_primary(result) for run, result in cells.items())
        texts = _differences(cells, labels, is_primary)
        numbers = [notes.setdefault(text, len(notes) + 1) for text in texts]
        rows.append(
            [
                name + (" *" if is_primary else ""),
                subset,
                model,
                against or "",
                *(_cell(cells.get(run)) for run in runs),
                " ".join(f"[{number}]" for number in numbers),
            ]
        )
    header = ["metric", "subset", "model", "against", *labels.values(), "not comparable"]
    parts = [markdown_table(header, rows)] if rows else ["No run holds a result."]
    parts += [f"[{number}] {text}" for text, number in notes.items()]
    return "\n\n".join([*parts, *_primaries(runs, labels), *_verdicts(runs, labels)])


def run_labels(folders: list[str]) -> dict[str, str]:
    """{folder: as few of its last names as tell it from the others}."""
    parts = {folder: folder.rstrip("/").split("/") for folder in folders}
    labels = {}
    for folder, names in parts.items():
        others = [other for name, other in parts.items() if name != folder]
        depth = next(
            (n for n in range(1, len(names)) if all(names[-n:] != other[-n:] for other in others)),
            len(names),
        )
        labels[folder] = "/".join(names[-depth:])
    return labels


def _lines(runs: Mapping[str, Results]) -> dict[Line, dict[str, Result]]:
    """{line: {run: its result}}, the primary metric first. The judge and the set's name are part of
    the line only where a run holds the same number by several."""
    by_line: dict[Line, dict[str, list[Result]]] = {}
    for run, results in runs.items():
        for result in results.results:
            line = (result.benchmark, result.metric, result.subset, result.model, result.against)
            by_line.setdefault(line, {}).setdefault(run, []).append(result)
    lines: dict[Line, dict[str, Result]] = {}
    for line, by_run in by_line.items():
        is_split = any(len(several) > 1 for several in by_run.values())
        for run, several in by_run.items():
            for result in several:
                judged: Line = ()
                if is_split:
                    judged = (result.name, result.judge, result.prompt_version)
                lines.setdefault((*line, *judged), {})[run] = result

    def rank(line: Line) -> tuple[bool, str, bool]:
        is_primary = any(runs[run].is_primary(result) for run, result in lines[line].items())
        return not is_primary, line[0], line[2] != ALL

    return {line: lines[line] for line in sorted(lines, key=rank)}


def _differences(
    cells: Mapping[str, Result], labels: Mapping[str, str], is_primary: bool
) -> list[str]:
    """One sentence for each thing in which the runs of a line differ."""
    sentences = []
    for name, values in (
        ("judge", {run: result.judge for run, result in cells.items()}),
        ("prompt version", {run: result.prompt_version for run, result in cells.items()}),
        ("generation settings", {run: result.generation for run, result in cells.items()}),
        ("data", {run: result.data for run, result in cells.items()}),
        ("number of rows", {run: result.n for run, result in cells.items()}),
        ("seed", {run: result.seed for run, result in cells.items() if is_primary}),
    ):
        texts = {run: _text(value) for run, value in values.items()}
        if len(set(texts.values())) > 1:
            told = "; ".join(f"{labels[run]}: {text}" for run, text in texts.items())
            sentences.append(f"different {name}: {told}")
    return sentences


def _text(value: Any) -> str:
    """Equal texts for equal values, whatever the order of their keys."""
    if isinstance(value, Mapping):
        value = dict(value) or None
    if value is None or isinstance(value, str):
        return value or "none"
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _cell(result: Result | None) -> str:
    if result is None:
        return MISSING
    return f"{number_text(result.value)} {interval_text(result)}".strip()


def _primaries(runs: Mapping[str, Results], labels: Mapping[str, str]) -> list[str]:
    named = {run: results.primary for run, results in runs.items()}
    if len(set(named.values())) == 1:
        return [
            f"* primary, named before the runs: {next(iter(named.values()))}",
            *_unlike_pins(runs, labels),
        ]
    listed = "; ".join(f"{labels[run]}: {primary}" for run, primary in named.items())
    return [f"* The runs named different primary metrics: {listed}"] if named else []


def _unlike_pins(runs: Mapping[str, Results], labels: Mapping[str, str]) -> list[str]:
    """One sentence where the runs' primary metrics rest on unlike rows, judges or seeds."""
    pins = {run: results.pins for run, results in runs.items() if results.pins is not None}
    told = []
    for name, word in PINNED.items():
        texts = {run: _text(values.get(name)) for run, values in pins.items()}
        if len(set(texts.values())) > 1:
            told.append(f"{word} ({'; '.join(f'{labels[r]}: {t}' for r, t in texts.items())})")
    return (
        [f"Not comparable, for the primary metric has another {', '.join(told)}."] if told else []
    )


def _verdicts(runs: Mapping[str, Results], labels: Mapping[str, str]) -> list[str]:
    return [
        f"Verdict of {labels[run]}: {results.verdict['outcome']}. {results.verdict['paragraph']}"
        for run, results in runs.items()
        if results.verdict
    ]

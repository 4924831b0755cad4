"""The selections: what each holds beside all rows, what they share, where their rows are from, and
what to type next.

Legend: N scored rows, V values of a source.
"""

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nuggets_ray import io
from nuggets_ray.config.keys import shell_command
from nuggets_ray.curate.quotas import Sources
from nuggets_ray.report.chart import BLUE, GRAY, Chart, draw, label
from nuggets_ray.report.material import ChosenRows, Material
from nuggets_ray.report.page import Grid, Section
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.units import num_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Selections"
NUM_SOURCES = 12
NUM_SHARED = 12
ALL = "all scored rows"


def selections(material: Material) -> Section:
    """The section; of the main selection its sources and its commands."""
    if material.joined is None or not material.selections:
        command = f"{shell_command('select')} out_dir={shlex.quote(material.out_dir)}"
        absent = f"No selection is made yet: {command} select=top_fraction select.fraction=0.05"
        return Section("selections", TITLE, absent=absent)
    main = material.main
    assert main is not None, "there are selections"
    charts = (_source_figure(material.sources, main),) if material.sources is not None else ()
    return Section(
        "selections",
        TITLE,
        {
            "table": _table(material),
            "shared": _shared(material),
            "main": main.name,
            "sources": [_source_grid(material, one, main) for one in material.all_sources],
            "notes": list(_notes(material, main)),
            "files": _files(material, main),
            "commands": next_commands(material, main),
        },
        charts,
    )


def next_commands(material: Material, main: ChosenRows) -> list[tuple[str, str]]:
    """(what for, command): read it, train on it, serve the model, score on or race again."""
    run, name = RunFolder(material.out_dir), main.name
    here = f"out_dir={shlex.quote(material.out_dir)}"
    folder = run.selection(name)
    data = material.settings.get("data", {}).get("path", "")
    model = material.settings.get("model", {}).get("path", "")
    scored = f"data.path={shlex.quote(data)} model.path={shlex.quote(model)} {here}"
    again = f"{shell_command('score')} {scored} schedule=race race.top_k={main.record['num_rows']}"
    return [
        (
            "Load it in Python",
            f"datasets.load_dataset({folder.path!r}, split='train')",
        ),
        (
            "Train the run's model on it",
            f"{shell_command('finetune')} {here} finetune.selection={name} finetune=lora",
        ),
        (
            "Serve that model, once it is trained",
            f"vllm serve {shlex.quote(run.model(name).path)} --served-model-name {name}",
        ),
        ("Compare the models of the run", f"{shell_command('evaluate')} {here}"),
        ("Score on as a race, after rows were added, for as many of the best", again),
        (
            "See more rows",
            f"{shell_command('show')} {here} show.order=bottom show.num=3",
        ),
    ]


def _files(material: Material, main: ChosenRows) -> list[tuple[str, str]]:
    """(name, address from the page) of the files of a selection that are there."""
    folder = material.folder.selection(main.name)
    files = (folder.card, folder.jsonl, folder.parquet, folder.record, folder.near_duplicates)
    paths = [uri.removeprefix(material.out_dir).lstrip("/") for uri in files if io.exists(uri)]
    return [(path.rpartition("/")[2], f"../{path}") for path in paths]


def _table(material: Material) -> Grid:
    golden_N, tokens_N = material.golden_N, material.column("num_answer_tokens")
    table = material.table
    is_copy_N = table["example_id"].to_numpy() != table["content_id"].to_numpy()
    rows: list[list[str]] = []
    everything = np.ones(len(golden_N), bool)
    views = {name: one.is_kept_N for name, one in material.selections.items()}
    for name, is_in_N in {**views, ALL: everything}.items():
        if not is_in_N.any():
            continue
        known = golden_N[is_in_N & ~np.isnan(golden_N)]
        record = material.selections[name].record if name in material.selections else {}
        rows.append(
            [
                name + (" (partial)" if record.get("partial") else ""),
                _how(record),
                f"{int(is_in_N.sum()):,}",
                f"{known.mean():.3f}" if len(known) else "",
                f"{material.column('mean_delta')[is_in_N].mean():+.3f}",
                num_text(float(tokens_N[is_in_N].sum())),
                num_text(float(np.median(tokens_N[is_in_N]))),
                f"{int(is_copy_N[is_in_N].sum()):,}",
            ]
        )
    header = (
        *("selection", "chosen by", "rows", "mean score", "mean delta", "answer tokens"),
        *("median length", "exact copies"),
    )
    return Grid(header, rows)


def _how(record: Any) -> str:
    settings = record.get("settings")
    if not settings:
        return ""
    key = {"top_fraction": "fraction", "top_k": "k", "top_tokens": "tokens"}.get(
        settings["rule"], "min_score"
    )
    return f"{settings['by']}, {settings['order']}, {settings['rule']} {settings.get(key)}"


def _shared(material: Material) -> Grid | None:
    """How many rows of each selection (a line) are in each other one (a column)."""
    chosen = list(material.selections.values())[:NUM_SHARED]
    if len(chosen) < 2:
        return None
    rows = [
        [
            one.name,
            *(
                f"{(one.is_kept_N & other.is_kept_N).sum() / max(1, one.is_kept_N.sum()):.0%}"
                for other in chosen
            ),
        ]
        for one in chosen
    ]
    caption = "The share of a selection's rows (a line) that another (a column) holds too"
    return Grid(["", *(one.name for one in chosen)], rows, caption)


def _source_counts(sources: Sources, main: ChosenRows) -> tuple[np.ndarray, np.ndarray]:
    """(kept_V, all_V) rows of each value."""
    num, is_told_N = len(sources.values), sources.value_N >= 0
    kept_V = np.bincount(sources.value_N[is_told_N & main.is_kept_N], minlength=num)
    return kept_V, np.bincount(sources.value_N[is_told_N], minlength=num)


def _source_grid(material: Material, sources: Sources, main: ChosenRows) -> Grid:
    kept_V, all_V = _source_counts(sources, main)
    golden_N, value_N = material.golden_N, sources.value_N
    order = np.lexsort((-all_V, -kept_V))[:NUM_SOURCES]
    rows = []
    for value in order:
        golden = golden_N[(value_N == value) & ~np.isnan(golden_N)]
        rows.append(
            [
                sources.values[value],
                f"{kept_V[value]:,}",
                f"{all_V[value]:,}",
                f"{kept_V[value] / max(1, all_V[value]):.1%}",
                f"{golden.mean():.3f}" if len(golden) else "",
            ]
        )
    more = len(all_V) - len(order)
    caption = f"Rows by {sources.name}" + (f" ({more:,} more are not shown)" if more > 0 else "")
    header = (sources.name, f"kept in {main.name}", "all scored", "share kept", "mean score")
    return Grid(header, rows, caption)


def _source_figure(sources: Sources, main: ChosenRows) -> Chart:
    kept_V, all_V = _source_counts(sources, main)
    order = np.lexsort((-all_V, -kept_V))[:NUM_SOURCES][::-1]
    names = [label(sources.values[value]) for value in order]
    place = np.arange(len(order))

    def plot(figure: "Figure") -> None:
        axes: Any = figure.subplots()
        kept = 100 * kept_V[order] / max(1, kept_V.sum())
        everything = 100 * all_V[order] / max(1, all_V.sum())
        axes.barh(place + 0.2, kept, 0.38, color=BLUE, label=f"of {main.name}")
        axes.barh(place - 0.2, everything, 0.38, color=GRAY, label="of all scored rows")
        axes.set_yticks(place, names)
        axes.set_xlabel("share of rows, %")
        axes.grid(axis="y", visible=False)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)

    alt = f"Where the rows of {main.name} are from, beside all scored rows."
    return draw("sources", alt, plot, height=1.2 + 0.3 * len(order))


def _notes(material: Material, main: ChosenRows) -> Iterator[str]:
    record = main.record
    if record.get("partial"):
        yield (
            f"{main.name} is partial: it was made while {record['num_scored']:,} of "
            f"{record['num_candidates']:,} candidates were scored."
        )
    if record.get("num_copies_left_out"):
        yield f"Exact copies of other rows that were left out: {record['num_copies_left_out']:,}."
    uri = material.folder.selection(main.name).profile
    near = io.read_json(uri).get("near_duplicates") if io.exists(uri) else None
    if near is not None:
        yield (
            f"{near['num_rows']:,} of its {near['num_compared']:,} best rows are nearly the same "
            f"as a better one (Jaccard of word 5-grams at least {near['min_similarity']})."
        )
    num_copies = material.table.num_rows - len(material.table["content_id"].unique())
    yield f"Exact copies of other rows among those that are scored: {num_copies:,}."

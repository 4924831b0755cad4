"""What the select job ends with: the scores with the cut, ties there, the selection's profile, and
a few rows from its top, its border and the end of the ranking.
"""

from collections.abc import Iterator

import numpy as np

from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.curate.choose import Chosen
from nuggets_ray.markdown import markdown_table
from nuggets_ray.run.joined import Scored
from nuggets_ray.run.profile_text import format_profile
from nuggets_ray.run.row_text import turns_line
from nuggets_ray.run.score_histogram import format_histogram, format_ties
from nuggets_ray.run.selection_profile import Profile
from nuggets_ray.run.shown_rows import ShownRow, read_shown, score_text
from nuggets_ray.select import Selection
from nuggets_ray.signals.by import is_blend, name_of
from nuggets_ray.units import num_text

NUM_ENDS, NUM_BORDER = 3, 2
LINE_CHARS = 70


def selection_report(
    out_dir: str, scored: Scored, chosen: Chosen, profile: Profile, config: SelectConfig
) -> str:
    """The report as text. It holds no text of the rows where select.show_text is false."""
    scores, selection = scored.scores, chosen.selection
    is_kept_N = np.zeros(len(scores.example_id), bool)
    is_kept_N[selection.row_K] = True
    measure_N = selection.ranking.measure_N if config.by != "random" else scores.golden_score
    is_offered_N = np.zeros(len(measure_N), bool)
    is_offered_N[selection.ranking.ranked_R] = True
    measure_N = np.where(is_offered_N, measure_N, np.nan)  # copies are not among what was chosen of
    parts = []
    if not np.isnan(measure_N).all():
        parts.append(format_histogram(measure_N, is_kept_N, _title(config)))
    if selection.cutoff is not None and config.by != "rds":  # which goes by turns, not by cosines
        parts.append(format_ties(measure_N, is_kept_N, selection.cutoff))
    parts += _steps(chosen, config)
    parts.append(format_profile(profile))
    parts += _few_rows(out_dir, scored, selection, config, is_kept_N)
    parts.append(
        f"{job_command('show')} out_dir={out_dir} shows more rows, and the anchors they helped."
    )
    return "\n\n".join(parts)


def _title(config: SelectConfig) -> str:
    """What the rows are ranked by; of a random order, what they are worth."""
    known = {"longest": "Answer tokens", "golden_score": "Golden scores", "random": "Golden scores"}
    name = name_of(config.by) if is_blend(config.by) else str(config.by)
    return known.get(name, f"Values of {name}")


def _steps(chosen: Chosen, config: SelectConfig) -> Iterator[str]:
    """What the steps did, a part each."""
    if num_left_out := chosen.selection.ranking.num_out_of_bounds:
        yield (
            f"{num_left_out:,} rows are not eligible by their answer's length "
            f"(select.min_answer_tokens={config.min_answer_tokens}, "
            f"select.max_answer_tokens={config.max_answer_tokens})."
        )
    if chosen.quotas:
        rows = [
            [one.value, *(f"{num:,}" for num in (one.num_eligible, one.num_wanted, one.num_kept))]
            for one in sorted(chosen.quotas, key=lambda one: -one.num_kept)
        ]
        yield markdown_table([str(config.per), "eligible", "wanted", "kept"], rows)
    if config.max_similarity is not None:
        yield (
            f"{len(chosen.near_duplicates):,} near-duplicates of better rows were passed over (J "
            f"of word 5-grams at least {config.max_similarity:g}): near_duplicates.jsonl."
        )
    if (matched := chosen.matched) is not None:
        yield (
            f"Lengths are matched to {config.match_length}: {num_text(matched.mean_kept)} answer "
            f"tokens in the mean, {num_text(matched.mean_wanted)} there."
        )
    if chosen.num_pool is not None:
        yield (
            f"{len(chosen.selection.row_K):,} rows are the most diverse by {config.diversity} of "
            f"the {chosen.num_pool:,} best."
        )


def _few_rows(
    out_dir: str,
    scored: Scored,
    selection: Selection,
    config: SelectConfig,
    is_kept_N: np.ndarray,
) -> list[str]:
    kept, ranked = selection.row_K, selection.ranking.ranked_R
    left_out = ranked[~is_kept_N[ranked]]
    groups = {"The first": kept[:NUM_ENDS]}
    if config.by != "random":
        groups["The last kept"] = kept[NUM_ENDS:][-NUM_BORDER:]
        groups["The first left out"] = left_out[:NUM_BORDER]
        groups["The last of all"] = left_out[NUM_BORDER:][-NUM_ENDS:]
    places = [int(place) for group in groups.values() for place in group]
    rows = iter(read_shown(out_dir, scored.table, places))
    parts = []
    for title, group in groups.items():
        if len(group):
            lines = [_row_lines(next(rows), config.show_text) for _ in group]
            parts.append("\n".join([f"{title}:", *lines]))
    return parts


def _row_lines(row: ShownRow, with_text: bool) -> str:
    tokens = f"{row.numbers['num_answer_tokens']} answer tokens"
    line = f"  {score_text(row)}, {tokens}, {row.example_id}"
    return f"{line}\n      {turns_line(row.turns, LINE_CHARS)}" if with_text else line

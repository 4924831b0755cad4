"""The profile of a selection as text."""

from collections.abc import Mapping

from nuggets_ray.markdown import markdown_table
from nuggets_ray.run.selection_profile import Figures, NearDuplicates, Profile, SourceCounts
from nuggets_ray.units import num_text

NUM_SOURCES = 8


def format_profile(profile: Profile) -> str:
    """The profile as tables, and a line each on what it shares and on near-duplicates."""
    columns = [_figure_texts(figures) for figures in (profile.kept, profile.all_scored)]
    rows = [[name, columns[0][name], columns[1][name]] for name in columns[0]]
    table = markdown_table(["", "kept", "all scored"], rows)
    lines = [table, _overlaps_text(profile), _near_duplicates_text(profile.near_duplicates)]
    return "\n\n".join(["\n".join(lines), *(_counts_text(one, profile) for one in profile.sources)])


def _figure_texts(figures: Figures) -> Mapping[str, str]:
    golden, tokens = figures.mean_golden_score, figures.answer_tokens
    return {
        "rows": num_text(figures.num_rows),
        "mean golden score": "-" if golden is None else f"{golden:.3f}",
        "mean delta, nats": f"{figures.mean_delta:+.3f}",
        "answer tokens": num_text(int(tokens["sum"])),
        "answer tokens, mean": num_text(tokens["mean"]),
        "answer tokens, 10% / half / 90%": " / ".join(
            num_text(tokens[name]) for name in ("p10", "p50", "p90")
        ),
        "exact copies of other rows": num_text(figures.num_exact_copies),
    }


def _overlaps_text(profile: Profile) -> str:
    num_kept = profile.kept.num_rows
    parts = [
        f"{one.num_rows:,} ({one.num_rows / num_kept:.0%}) are in as many of "
        f"{'the longest' if one.name == 'longest' else one.name}"
        for one in profile.overlaps
    ]
    by_chance = num_kept / profile.all_scored.num_rows
    return (
        f"Of the {num_kept:,} kept rows {', '.join(parts[:-1])} and {parts[-1]}; by chance it "
        f"would be {num_text(num_kept * by_chance)} ({by_chance:.0%})."
    )


def _near_duplicates_text(near: NearDuplicates | None) -> str:
    if near is None:
        return "Near-duplicates among them are not counted."
    return (
        f"Of the {near.num_compared:,} best of them {near.num_rows:,} are near-duplicates of a "
        f"better one (J of word 5-grams at least {near.min_similarity:g})."
    )


def _counts_text(counts: SourceCounts, profile: Profile) -> str:
    """A table of where the kept rows are from, the most frequent first, beside all scored ones."""
    num_kept, num_scored = profile.kept.num_rows, profile.all_scored.num_rows
    rows = [
        [
            value,
            f"{kept:,} ({kept / num_kept:.0%})",
            f"{counts.all_scored[value]:,} ({counts.all_scored[value] / num_scored:.0%})",
        ]
        for value, kept in list(counts.kept.items())[:NUM_SOURCES]
    ]
    if len(counts.kept) > NUM_SOURCES:
        rows.append([f"({len(counts.kept) - NUM_SOURCES} more)", "", ""])
    return markdown_table([counts.name, "kept", "all scored"], rows)

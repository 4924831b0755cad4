"""What the steps after the ranking take of a run folder: the values of a field, the answer lengths
of another selection, hashed texts, and how far down the ranking is known.
"""

from collections.abc import Callable

import numpy as np

from nuggets_ray.config.keys import job_command
from nuggets_ray.config.schema import SelectConfig
from nuggets_ray.curate.choose import Materials
from nuggets_ray.curate.near_duplicates import check_installed
from nuggets_ray.errors import UserError
from nuggets_ray.run.joined import Scored
from nuggets_ray.run.row_hashes import read_row_hashes
from nuggets_ray.run.selections import answer_lengths, make_record, selection_names
from nuggets_ray.run.settled import num_settled
from nuggets_ray.run.sources import read_field
from nuggets_ray.select import default_name

Embed = Callable[[np.ndarray], np.ndarray]
"""example_ids (P,) -> their vectors (P, D), by the run's model."""


def check_materials(out_dir: str, config: SelectConfig, is_matched_made: bool = False) -> None:
    """Raise UserError for what the steps take and is not there, as far as that can be told before
    anything is scored. `is_matched_made`: the selection that is matched will be made.
    """
    if config.max_similarity is not None:
        check_installed(f"select.max_similarity={config.max_similarity}")
    if config.match_length is not None:
        _check_match(out_dir, config, config.match_length, is_matched_made)


def read_materials(
    out_dir: str, config: SelectConfig, scored: Scored, embed: Embed | None
) -> Materials:
    """The materials of the steps that `config` asks for. Raises UserError for a field or a
    selection that is not there, and for diversity where nothing embeds.
    """
    scores = scored.scores
    check_materials(out_dir, config)
    if config.diversity != "none" and embed is None:
        raise UserError(
            f"select.diversity={config.diversity} takes the model's hidden states, which "
            f"{job_command('select')} and {job_command('pipeline')} compute on Ray: run one of "
            "them"
        )
    sources = None if config.per is None else read_field(out_dir, scored.table, config.per)
    lengths = None
    if config.match_length is not None:
        lengths = answer_lengths(make_record(out_dir, config.match_length))
    return Materials(
        sources=sources,
        target_lengths=lengths,
        read_hashes=lambda rows: read_row_hashes(out_dir, scores.example_id[rows]),
        embed=None if embed is None else lambda rows: embed(scores.example_id[rows]),
        num_settled=num_settled(out_dir, scores, config),
    )


def _check_match(out_dir: str, config: SelectConfig, name: str, is_made: bool) -> None:
    if name == (config.name or default_name(config)):
        raise UserError(
            f"select.match_length={name} is this selection itself: give another, such as random-0, "
            "or another select.name"
        )
    there = selection_names(out_dir)
    if name not in there and not is_made:
        made = f"there are: {', '.join(there)}" if there else "there is none yet"
        raise UserError(
            f"select.match_length={name}: out_dir={out_dir} has no such selection ({made}): make "
            f"it first, as {job_command('select')} with select.by=random does random-0"
        )

"""What to look at twice, and what to do about each: read off the tables of the run."""

import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nuggets_ray.config.keys import shell_command
from nuggets_ray.evaluate.verdict.reliability import length_effect
from nuggets_ray.report.anchors import SETTLED, helped_share
from nuggets_ray.report.material import Material
from nuggets_ray.report.page import Section
from nuggets_ray.report.skipped import read_fields
from nuggets_ray.run.skipped import EXCLUDED_REASONS, read_skipped
from nuggets_ray.run.stage_status import read_stage_status

TITLE = "Warnings, and what to do about each"
MANY_SKIPPED = 0.05
MANY_NEAR = 0.1
MANY_CUT = 0.01
FEW_ANCHORS = 50
MANY_SETTLED = 0.3
MANY_COPIES = 0.05


@dataclass(frozen=True, slots=True)
class Caution:
    """What was seen, and what to do about it."""

    seen: str
    advice: str


def advice(material: Material) -> Section:
    """The section; an absent one where nothing was seen."""
    cautions = [*_of_the_run(material), *_of_the_data(material), *_of_the_scores(material)]
    cautions += _of_the_selection(material)
    if not cautions:
        return Section("warnings", TITLE, absent="Nothing that was looked for was seen.")
    return Section("warnings", TITLE, {"cautions": cautions})


def _of_the_run(material: Material) -> Iterator[Caution]:
    status = material.status
    if material.is_partial and status is not None:
        again = status.next[0] if status.next else "the command that began it"
        yield Caution("Not every candidate is scored.", f"Wait, or go on with: {again}")
    for stage in material.manifest.get("stages", {}):
        told = read_stage_status(material.out_dir, stage)
        if told is not None and told.error is not None:
            yield Caution(
                f"{stage}: {told.error.text}", "Mend it, and give the same command again."
            )
        if told is not None and told.warning is not None:
            yield Caution(f"{stage} warned: {told.warning.text}", "Its log has what led to it.")
    engine = material.manifest.get("engine", {})
    if engine.get("engine") in ("kv_cache", "plain"):
        yield Caution(
            f"The slower engine {engine['engine']} was taken: {engine.get('why', '')}",
            "The scores are right; plan more time, or take a model that the tree engine agrees on.",
        )


def _of_the_data(material: Material) -> Iterator[Caution]:
    counts = Counter(read_skipped(material.out_dir)["reason"].to_pylist())
    num_skipped = sum(num for reason, num in counts.items() if reason not in EXCLUDED_REASONS)
    fields = read_fields(material)
    num_rows = material.manifest.get("counts", {}).get("num_rows") or fields["num_rows"]
    if num_rows and num_skipped > MANY_SKIPPED * num_rows:
        yield Caution(
            f"{num_skipped:,} of {num_rows:,} rows were skipped ({num_skipped / num_rows:.0%}).",
            "See Rows without a score: a wrong data.format or data.columns is the usual cause.",
        )
    if material.joined is None:
        return
    table = material.table
    num_copies = table.num_rows - len(table["content_id"].unique())
    if num_copies > MANY_COPIES * table.num_rows:
        yield Caution(
            f"{num_copies:,} of the scored rows are exact copies of others.",
            "select.unique=true, the default, keeps one of each; keep it.",
        )
    cut = int((material.column("num_dropped_tokens") > 0).sum())
    if cut > MANY_CUT * table.num_rows:
        yield Caution(
            f"{cut:,} rows were cut to fit prompt.max_demonstration_tokens.",
            "Raise it if the model's context allows, or data.on_too_long=skip.",
        )


def _of_the_scores(material: Material) -> Iterator[Caution]:
    if material.joined is None or np.isnan(material.golden_N).all():
        return
    num_anchors = len(material.anchors[0])
    if 0 < num_anchors < FEW_ANCHORS:
        yield Caution(
            f"{num_anchors} anchors: each score has a wide interval.",
            "More are added to this folder: a higher anchors.num of random ones, or a further set.",
        )
    near, asked = (np.nansum(material.column(n)) for n in ("num_near_ties", "num_anchors"))
    if asked and near > MANY_NEAR * asked:
        yield Caution(
            f"{near / asked:.0%} of all wins and losses are within the rounding of the dtype.",
            "score.dtype=float32 settles them; they are noise to the order of rows, not a bias.",
        )
    if material.sample is not None:
        helped_A = helped_share(material.sample)
        num_settled = int(((helped_A < SETTLED) | (helped_A > 1 - SETTLED)).sum())
        if num_settled > MANY_SETTLED * len(helped_A):
            yield Caution(
                f"{num_settled} of {len(helped_A)} anchors go one way under nearly all rows.",
                "Take anchors of the task that counts, neither trivial nor hopeless for the model.",
            )


def _of_the_selection(material: Material) -> Iterator[Caution]:
    main = None if material.joined is None else material.main
    if main is None:
        return
    here = f"out_dir={shlex.quote(material.out_dir)}"
    if main.record.get("partial"):
        yield Caution(
            f"The selection {main.name} is partial.",
            f"Make it again once all is scored: {shell_command('select')} {here}",
        )
    tokens_N = material.column("num_answer_tokens")
    effect = length_effect(tokens_N, tokens_N[main.is_kept_N], material.golden_N)
    if effect is not None and effect.explains:
        longer = "longer" if effect.auc > 0.5 else "shorter"
        yield Caution(
            f"The rows of {main.name} are {longer} than the others (AUC {effect.auc:.2f}): length "
            "may explain the choice.",
            "Compare with longest and with draws of as many answer tokens (experiment=verdict).",
        )

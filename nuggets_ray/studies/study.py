"""The study job on a scored run: studies/NAME/ out. Needs no Ray."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from nuggets_ray.config.study import StudyConfig
from nuggets_ray.studies.anchor_robustness import study_robustness
from nuggets_ray.studies.facts import run_facts
from nuggets_ray.studies.matrix import read_deltas
from nuggets_ray.studies.page import Report, write_report
from nuggets_ray.studies.robustness_report import robustness_report
from nuggets_ray.studies.run_costs import read_costs
from nuggets_ray.studies.scalability import study_scalability
from nuggets_ray.studies.scalability_report import scalability_report

logger = logging.getLogger(__name__)


def study_run(out_dir: str, config: StudyConfig, seed: int) -> dict[str, Any]:
    """Run study.name on the scored run in `out_dir`, print what it means, and write the page.

    Returns {wrote, status, study}. Raises UserError where nothing is scored, or too little.
    """
    started = time.monotonic()
    report = STUDIES[config.name](out_dir, config, seed)
    logger.info("study=%s took %.1f s", config.name, time.monotonic() - started)
    return finish_study(out_dir, config.name, report)


def finish_study(out_dir: str, name: str, report: Report) -> dict[str, Any]:
    """Write the page of a study and print what it means; the job's JSON object."""
    wrote = write_report(out_dir, name, report)
    print(f"{report.title}\n\n" + "\n\n".join(report.meaning) + f"\n\n{wrote[0]}")
    return {"wrote": wrote, "status": "done", "study": name}


def _anchor_robustness(out_dir: str, config: StudyConfig, seed: int) -> Report:
    facts = run_facts(out_dir, seed)
    matrix = read_deltas(out_dir, config.max_rows, seed)
    if matrix.is_pilot:
        logger.info(
            "the race left rows behind: the study rests on its pilot, %d random rows that met "
            "every anchor", matrix.num_rows,
        )  # fmt: skip
    return robustness_report(study_robustness(matrix, config, seed), matrix, config, facts)


def _scalability(out_dir: str, config: StudyConfig, seed: int) -> Report:
    facts = run_facts(out_dir, seed)
    matrix = read_deltas(out_dir, config.max_rows, seed)
    costs = read_costs(out_dir)
    found = study_scalability(costs, matrix, config, seed)
    return scalability_report(found, costs, config, facts)


STUDIES: Mapping[str, Callable[[str, StudyConfig, int], Report]] = {
    "anchor_robustness": _anchor_robustness,
    "scalability": _scalability,
}

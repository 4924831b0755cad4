"""The report of a run: report/index.html, one page that needs nothing else, and its pictures as
PNGs. Reads the run folder as far as it came; needs no Ray and no model.
"""

import logging
from datetime import datetime
from pathlib import PurePath
from typing import Any

from nuggets_ray import io
from nuggets_ray.config.report import ReportConfig
from nuggets_ray.report import overview as overview_of
from nuggets_ray.report.advice import advice
from nuggets_ray.report.anchors import anchors
from nuggets_ray.report.answers import answers
from nuggets_ray.report.evaluation import evaluation, large_verdict, results_of
from nuggets_ray.report.material import Material
from nuggets_ray.report.overview import overview
from nuggets_ray.report.page import Section, render
from nuggets_ray.report.rows import rows
from nuggets_ray.report.scores import lengths, scores
from nuggets_ray.report.selections import selections
from nuggets_ray.report.separation import separation
from nuggets_ray.report.signals import signals
from nuggets_ray.report.skipped import skipped
from nuggets_ray.report.studies import studies
from nuggets_ray.report.training import training

logger = logging.getLogger(__name__)

MAX_BYTES = 5_000_000
"""The page is smaller than this: the table of rows gives way."""


def write_report(out_dir: str, config: ReportConfig) -> dict[str, Any]:
    """Write the report of the run in `out_dir`, in place of the one there was; returns the job's
    JSON object. Raises UserError where no run has begun, and for a selection that is not there.
    """
    material = Material(out_dir, config)
    sections = _sections(material)
    page, num_rows = _fitting_page(material, sections)
    folder = material.folder.report
    pictures = {p.name: p.png for section in sections for p in section.pictures}
    for name, png in pictures.items():
        io.write_bytes(folder.picture(name), png)
    io.write_bytes(folder.page, page)
    wrote = [folder.page, *(folder.picture(name) for name in pictures)]
    for uri in io.list_files(folder.path, ".png"):
        if PurePath(uri).name not in {PurePath(one).name for one in wrote}:
            io.delete(uri)  # of an earlier report
    num_scored = 0 if material.joined is None else material.table.num_rows
    return {
        **{"wrote": wrote, "status": "done", "num_rows": num_rows, "num_scored": num_scored},
        "partial": material.is_partial,
    }


def _sections(material: Material) -> list[Section]:
    """All sections but that of the rows, whose size is not known yet."""
    sections = [
        overview(material),
        advice(material),
        scores(material),
        lengths(material),
        anchors(material),
        selections(material),
        signals(material),
        training(material),
        evaluation(material),
        answers(material),
        studies(material),
        separation(material),
        skipped(material),
    ]
    return [section for section in sections if section is not None]


def _fitting_page(material: Material, sections: list[Section]) -> tuple[bytes, int]:
    """The page under MAX_BYTES, with the rows behind the scores, and how many rows it shows."""
    place = next(i for i, section in enumerate(sections) if section.key == "lengths")
    num_rows = material.config.num_rows
    while True:
        table = rows(material, num_rows)
        page = render(
            _title(material), _head(material), [*sections[:place], table, *sections[place:]]
        ).encode("utf-8")
        shown = len(table.values.get("lines", ()))
        if len(page) < MAX_BYTES or shown <= 1:
            return page, shown
        num_rows = max(1, int(min(num_rows, shown) * 0.7 * MAX_BYTES / len(page)))
        logger.info(
            "the page would have %s bytes: it shows %d rows (report.num_rows, report.max_chars)",
            *(f"{len(page):,}", num_rows),
        )


def _title(material: Material) -> str:
    return PurePath(material.out_dir.rstrip("/")).name or material.out_dir


def _head(material: Material) -> dict[str, Any]:
    results = results_of(material)
    has_verdict = results is not None and results.verdict is not None
    version = material.manifest.get("versions", {}).get("nuggets_ray", "")
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return {
        "lead": overview_of.lead_text(material),
        "partial": overview_of.partial_text(material),
        "verdict": large_verdict(results.verdict) if results and results.verdict else None,
        "foot": f"Made {made} by nuggets_ray {version} from {material.out_dir}."
        + ("" if has_verdict else " There is no verdict yet on whether the selection helps."),
    }

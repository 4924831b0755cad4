"""The demo only: how well golden scores, and other measures, tell whole rows from damaged ones."""

from nuggets_ray import io
from nuggets_ray.report.material import Material
from nuggets_ray.report.page import Grid, Section


def separation(material: Material) -> Section | None:
    """The section, None for a run of other rows."""
    uri = material.folder.separation
    if not io.exists(uri):
        return None
    told = io.read_json(uri)["separation"]
    measures = list(dict.fromkeys(one["measure"] for one in told))
    kinds = list(dict.fromkeys(one["kind"] for one in told))
    values = {(one["kind"], one["measure"]): one for one in told}
    rows = [
        [
            kind,
            *(
                f"{one['auc']:.2f} [{one['auc_low']:.2f}, {one['auc_high']:.2f}]"
                if (one := values.get((kind, measure))) is not None
                else ""
                for measure in measures
            ),
        ]
        for kind in kinds
    ]
    caption = "How often a whole row scores above a damaged one (AUC; 0.5 is chance)"
    grid = Grid(("damage", *measures), rows, caption)
    return Section("separation", "Whole rows and damaged ones", {"table": grid})

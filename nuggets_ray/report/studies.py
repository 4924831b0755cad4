"""What studies of the run found: the sentences and pictures of each page under studies/."""

import base64
from typing import Any

from nuggets_ray import io
from nuggets_ray.config.keys import shell_command
from nuggets_ray.report.material import Material
from nuggets_ray.report.page import Section

TITLE = "Studies"
MAX_PICTURES_BYTES = 1_000_000
"""Pictures of studies that the page holds; further ones are linked."""


def studies(material: Material) -> Section:
    """The section: a part a study."""
    told = []
    room = MAX_PICTURES_BYTES
    for name in io.list_folders(material.folder.studies):
        folder = material.folder.study(name)
        if not io.exists(folder.numbers):
            continue
        study: dict[str, Any] = io.read_json(folder.numbers)
        pictures, linked = [], []
        for uri in io.list_files(folder.path, ".png"):
            png, file_name = io.read_bytes(uri), uri.rpartition("/")[2]
            if len(png) > room:
                linked.append(file_name)
                continue
            room -= len(png)
            pictures.append((file_name, base64.b64encode(png).decode()))
        told.append(
            {
                **{key: study.get(key, []) for key in ("meaning", "remarks")},
                **{"name": name, "title": study.get("title", name)},
                **{"pictures": pictures, "linked": linked},
            }
        )
    if not told:
        command = f"{shell_command('study')} study=anchor_robustness out_dir={material.out_dir}"
        absent = f"No study of this run was made: {command}"
        return Section("studies", TITLE, absent=absent)
    return Section("studies", TITLE, {"studies": told})

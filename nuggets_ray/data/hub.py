"""Data sets of the Hugging Face hub, read by `datasets`: hf://datasets/ORG/NAME[@REVISION][/WHAT].

WHAT is the name of a configuration, or a file or glob of the repository. `datasets` downloads, and
keeps Arrow files in its cache (HF_HOME), which are read as any others are: on several nodes it must
be a shared folder. Code of a data set is never run.
"""

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from nuggets_ray.data.file_choice import UnreadFile, kind_of, split_of
from nuggets_ray.errors import UserError

SCHEME = "hf://"
PATTERN = re.compile(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.+))?")


def is_hub(path: str) -> bool:
    """Whether this names something on the hub."""
    return path.startswith(SCHEME)


def hub_files(
    path: str, splits: Sequence[str], key: str, is_pool: bool = True
) -> tuple[list[str], list[UnreadFile]]:
    """The Arrow files of a data set's splits: those named, or else of a pool to select from the
    training splits, or else all; and the splits left out.

    Raises UserError where `datasets` is not installed or cannot load it, or has no such split.
    """
    match = PATTERN.fullmatch(path.rstrip("/"))
    if match is None:
        raise UserError(f"{key}={path}: a data set of the hub is {key}=hf://datasets/ORG/NAME")
    name, revision, what = match.groups()
    is_file = what is not None and ("*" in what or kind_of(what) is not None)
    config, data_files = (None, what) if is_file else (what, None)
    files = dict(_load(path, key, name, config, data_files, revision))
    of_training = [split for split in files if split_of(split) == "train"]
    taken = of_training if is_pool and of_training else list(files)
    why = f"stands beside training rows: data.splits=[{','.join(files)}] takes it"
    if splits:
        for split in splits:
            if split not in files:
                raise UserError(
                    f"data.splits=[{','.join(splits)}]: {key}={path} has no split {split} (there "
                    f"are: {', '.join(files)})"
                )
        taken, why = list(splits), f"is not of data.splits=[{','.join(splits)}]"
    left_out = [UnreadFile(split, why) for split in files if split not in taken]
    return [file for split in taken for file in files[split]], left_out


@lru_cache(maxsize=8)
def _load(
    path: str,
    key: str,
    name: str,
    config: str | None,
    data_files: str | None,
    revision: str | None,
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(split, its Arrow files in order) of a data set, downloaded where that is to be done."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"{key}={path}: the hub is read by `datasets`, which is not installed: "
            "pip install 'nuggets_ray[hub]'"
        ) from error
    try:
        loaded: Any = datasets.load_dataset(
            name, config, data_files=data_files, revision=revision, keep_in_memory=False
        )
    except Exception as error:  # whatever its builders, its downloads and the hub raise
        raise UserError(
            f"{key}={path}: `datasets` cannot load it: {' '.join(str(error).split())}: check the "
            f"name, and give a configuration as {SCHEME}datasets/{name}/CONFIGURATION"
        ) from error
    return tuple(
        (str(split), tuple(os.path.abspath(file["filename"]) for file in rows.cache_files))
        for split, rows in loaded.items()
    )

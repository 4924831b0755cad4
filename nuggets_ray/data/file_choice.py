"""Which of the files that a path stands for hold the rows, and why the others are left out.

Left out are files with another ending, files that describe the data beside them, the same rows once
more in another kind of file, and the test and validation rows beside training rows.
"""

import fnmatch
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyarrow import fs

from nuggets_ray.data.streams import COMPRESSIONS
from nuggets_ray.errors import UserError

KINDS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".csv": "csv",
    ".tsv": "tsv",
}
"""Kinds of files by their endings. Of the same rows in several, the first kind here is read."""
TEXT_KINDS = ("json", "jsonl", "csv", "tsv")
"""Those that may be compressed as a whole."""
SIDE_FILES = (
    *("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"),
    *("selection.json", "cache-*.arrow", "readme*", "license*"),
)
"""Files that lie beside data and hold none, such as what `datasets` and trainers write there."""
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""The words by which the split of a file is known, as `datasets` knows it."""
HELD_OUT_SPLITS = ("validation", "test")


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file that is not read, by its path below what was listed, and why. `is_quiet`: nobody would
    take it for data.
    """

    path: str
    why: str
    is_quiet: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file's name says of it: a value of KINDS, and of COMPRESSIONS or None."""

    name: str
    compression: str | None


def kind_of(path: str) -> Kind | None:
    """The kind of a file by its ending, None where that is not known."""
    stem, ending = os.path.splitext(path.lower())
    compression = COMPRESSIONS.get(ending)
    if compression is not None:
        ending = os.path.splitext(stem)[1]
    name = KINDS.get(ending)
    if name is None or (compression is not None and name not in TEXT_KINDS):
        return None
    return Kind(name, compression)


def split_of(path: str) -> str | None:
    """The split that a file's name tells, or else the nearest of its folders that does."""
    for part in reversed(path.lower().split("/")):
        words = set(re.findall(r"[a-z]+", part))
        for split, spellings in SPLITS.items():
            if words.intersection(spellings):
                return split
    return None


def choose_files(
    found: Mapping[str, fs.FileInfo], splits: Sequence[str], key: str, is_pool: bool = True
) -> tuple[dict[str, fs.FileInfo], list[UnreadFile]]:
    """Those of {path below what was listed: file} that hold the rows to read, and the others.

    `splits` is data.splits; without it, of a pool to select from the files of test and validation
    splits beside training files are left out. Raises UserError where no file is of `splits`.
    """
    files: dict[str, fs.FileInfo] = {}
    left_out: list[UnreadFile] = []
    is_alone = len(found) == 1
    for path, info in sorted(found.items()):
        if not is_alone and _is_side_file(path):
            left_out.append(UnreadFile(path, "describes the data, and holds no rows", True))
        elif kind_of(path) is None:
            left_out.append(UnreadFile(path, "has an ending that is not known"))
        else:
            files[path] = info
    of_other_splits: list[UnreadFile] = []
    if splits or is_pool:
        files, of_other_splits = _of_splits(files, splits, key)
    files, twins = _without_twins(files)
    return files, [*left_out, *of_other_splits, *twins]


def _is_side_file(path: str) -> bool:
    name = path.rpartition("/")[2].lower()
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in SIDE_FILES)


def _of_splits(
    files: dict[str, fs.FileInfo], splits: Sequence[str], key: str
) -> tuple[dict[str, fs.FileInfo], list[UnreadFile]]:
    split_by_path = {path: split_of(path) for path in files}
    there = sorted({split for split in split_by_path.values() if split})
    if splits:
        taken = {path for path in files if any(_is_of_split(path, split) for split in splits)}
        if files and not taken:
            raise UserError(
                f"data.splits={_listed(splits)}: no file of {key} has such a name (there are: "
                f"{', '.join(there) or 'no splits'}): name others, or leave data.splits out"
            )
        why = f"is not of data.splits={_listed(splits)}"
    elif "train" in there:
        taken = {path for path in files if split_by_path[path] not in HELD_OUT_SPLITS}
        why = f"stands beside training rows: data.splits={_listed(there)} takes it"
    else:
        return files, []
    kept = {path: info for path, info in files.items() if path in taken}
    return kept, [UnreadFile(path, why) for path in files if path not in taken]


def _is_of_split(path: str, split: str) -> bool:
    for name, spellings in SPLITS.items():
        if split.lower() in spellings:
            return split_of(path) == name
    pattern = rf"(^|[^a-z0-9]){re.escape(split.lower())}([^a-z0-9]|$)"
    return re.search(pattern, path.lower()) is not None


def _without_twins(
    files: dict[str, fs.FileInfo],
) -> tuple[dict[str, fs.FileInfo], list[UnreadFile]]:
    """Of files in one folder that differ in their ending only, the first kind of KINDS."""
    order = list(dict.fromkeys(KINDS.values()))
    first: dict[str, str] = {}
    for path in sorted(files, key=lambda path: _rank(path, order)):
        first.setdefault(_stem(path), path)
    twins = [
        UnreadFile(path, f"is taken for the rows of {first[_stem(path)]} in another kind of file")
        for path in files
        if first[_stem(path)] != path
    ]
    return {path: files[path] for path in files if first[_stem(path)] == path}, twins


def _rank(path: str, order: list[str]) -> tuple[int, bool, str]:
    kind = kind_of(path)
    assert kind is not None, "only such files are compared"
    return order.index(kind.name), kind.compression is not None, path


def _stem(path: str) -> str:
    stem, ending = os.path.splitext(path)
    return os.path.splitext(stem)[0] if ending.lower() in COMPRESSIONS else stem


def _listed(names: Sequence[str]) -> str:
    return f"[{','.join(names)}]"

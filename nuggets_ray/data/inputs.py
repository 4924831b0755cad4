"""The files of rows that data.path names: a listing, their hashes, their rows as a stream."""

import hashlib
import logging
import lzma
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
from pyarrow import fs

from nuggets_ray.data.file_choice import KINDS, UnreadFile, choose_files, kind_of
from nuggets_ray.data.hub import hub_files, is_hub
from nuggets_ray.data.json_files import json_texts
from nuggets_ray.data.listing import find_files, path_below
from nuggets_ray.data.rows import BadRow, decode_row
from nuggets_ray.data.streams import COMPRESSIONS, open_stream
from nuggets_ray.data.table_files import TABLES, csv_texts, table_texts
from nuggets_ray.demo.files import demo_or
from nuggets_ray.errors import UserError
from nuggets_ray.io import full_path, open_fs, sha256

logger = logging.getLogger(__name__)

FORMAT_ROWS = 100
"""How many rows a format is recognised from."""
MAX_NAMED = 5
"""How many files that are left out for one reason are named."""
DELIMITERS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of data rows. `kind` is a value of KINDS, `compression` one of COMPRESSIONS;
    `modified_ns` its time of change, 0 if unknown.
    """

    path: str
    num_bytes: int
    kind: str
    compression: str | None
    modified_ns: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """What a path stands for: the files of rows, sorted by path, and what is not read."""

    files: tuple[InputFile, ...]
    left_out: tuple[UnreadFile, ...]

    def left_out_text(self, with_quiet: bool = True) -> str:
        """What is not read and why, a clause a reason; "" where nothing is."""
        names: dict[str, list[str]] = {}
        for file in self.left_out:
            if with_quiet or not file.is_quiet:
                names.setdefault(file.why, []).append(file.path)
        clauses = []
        for why, paths in names.items():
            more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
            clauses.append(f"{', '.join(paths[:MAX_NAMED])}{more} ({why})")
        return "; ".join(clauses)


def inputs_sha256(path: str, key: str = "data.path") -> str:
    """SHA-256 of the data file that `path` stands for; of several, that of theirs in order."""
    digests = [sha256(file.path) for file in list_inputs(path, key)]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def list_inputs(path: str, key: str = "data.path", splits: Sequence[str] = ()) -> list[InputFile]:
    """The data files that a path stands for; what is left out is logged once. As `find_inputs`."""
    listing = find_inputs(path, key, splits)
    _tell(f"{key}={path}", listing)
    return list(listing.files)


def find_inputs(path: str, key: str = "data.path", splits: Sequence[str] = ()) -> Listing:
    """The data files that a file, folder (recursive), glob (`**` too) or data set of the hub stands
    for, and what is left out; for `demo` the demo's file of that key. `splits`: data.splits.

    Hidden files (. and _) of a folder are ignored. UserError, naming `key`, where nothing is found
    or nothing that is found holds rows.
    """
    path = demo_or(path, key)
    is_pool = key == "data.path"  # held-out rows and prompts may well be those of a test split
    if is_hub(path):
        paths, left_out = hub_files(path, splits, key, is_pool)
        store, files = fs.LocalFileSystem(), {file: file for file in paths}
        infos = dict(zip(files, store.get_file_info(paths), strict=True))
    else:
        infos, left_out = choose_files(_found(path, key), splits, f"{key}={path}", is_pool)
    listing = Listing(tuple(_input_file(path, info) for info in infos.values()), tuple(left_out))
    if not listing.files:
        raise UserError(
            f"{key}={path}: no file ends in {', '.join(KINDS)} (text also in "
            f"{', '.join(COMPRESSIONS)}): rename or convert them ({listing.left_out_text()})"
        )
    return listing


def _found(path: str, key: str) -> dict[str, fs.FileInfo]:
    """All files that a path stands for, by their path below it."""
    store, base = open_fs(path)
    try:
        infos = find_files(store, base)
    except OSError as error:
        raise UserError(f"{key}={path} cannot be read: {' '.join(str(error).split())}") from error
    if not infos:
        raise UserError(
            f"{key}={path}: there is no such file: check the path (a folder or a glob will do too)"
        )
    return {path_below(base, info.path): info for info in infos}


def _input_file(path: str, info: fs.FileInfo) -> InputFile:
    kind = kind_of(info.path)
    assert kind is not None, "only such files are chosen"
    place = info.path if is_hub(path) else full_path(path, info.path)
    return InputFile(place, info.size, kind.name, kind.compression, info.mtime_ns or 0)


def _tell(what: str, listing: Listing) -> None:
    """Log what is not read: a warning where it may have been meant."""
    if loud := listing.left_out_text(with_quiet=False):
        _tell_once(logging.WARNING, f"{what}: left out: {loud}")
    elif quiet := listing.left_out_text():
        _tell_once(logging.INFO, f"{what}: left out: {quiet}")


@lru_cache(maxsize=256)
def _tell_once(level: int, message: str) -> None:
    """A path is listed several times in a job."""
    logger.log(level, "%s", message)


def read_rows(file: InputFile) -> Iterator[object]:
    """The rows in file order, decoded; a BadRow where that fails. UserError: a broken file."""
    for text in read_texts(file):
        yield text if isinstance(text, BadRow) else decode_row(text)


def read_texts(file: InputFile) -> Iterator[str | BadRow]:
    """The rows in file order, each as its own JSON text on one line, as the user wrote it where the
    file is json or jsonl.

    Blank lines are no rows. A line that is not UTF-8 is a BadRow; one that is not JSON shows only
    in `decode_row`. UserError, naming the file, where the rest cannot be read: a broken array,
    table or compressed stream.
    """
    try:
        if file.kind in TABLES:
            yield from table_texts(file.path, file.kind)
        else:
            yield from _text_file_texts(file)
    except READ_ERRORS as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{file.path} cannot be read: {reason}: mend the file or leave it out"
        ) from error


def _text_file_texts(file: InputFile) -> Iterator[str | BadRow]:
    with open_stream(file.path, file.compression) as stream:
        if file.kind in DELIMITERS:
            yield from csv_texts(stream, DELIMITERS[file.kind])
        else:
            yield from json_texts(stream, is_jsonl=file.kind == "jsonl")


READ_ERRORS = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException),
    *(ValueError, RecursionError),
)
"""What a broken file raises."""

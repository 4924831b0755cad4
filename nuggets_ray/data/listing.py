"""Which files a path, folder or glob stands for, in any pyarrow file system."""

import fnmatch
import os
import re
from collections.abc import Iterator
from itertools import takewhile

from pyarrow import fs

GLOB = r"[*?\[]"


def find_files(store: fs.FileSystem, base: str) -> list[fs.FileInfo]:
    """The file `base`, all files below the folder `base`, or all that match the glob `base`.

    In a folder whatever is below a name with a leading . or _ is ignored. In a glob, * ? and []
    stay within one name and ** stands for any number of folders. In no order; [] where there is
    nothing.
    """
    info = store.get_file_info(base)
    if info.is_file:
        return [info]
    if info.type == fs.FileType.Directory:
        return _walk(store, base)
    segments = base.split("/")
    for i, segment in enumerate(segments):
        if re.search(GLOB, segment):
            return _glob(store, "/".join(segments[:i]) or "/", segments[i:], set())
    return []


def path_below(base: str, path: str) -> str:
    """The path of a file that `find_files` found, below the folder that `base` is or begins with;
    its name where `base` is the file.
    """
    if path == base:
        return path.rpartition("/")[2]
    if path.startswith(base.rstrip("/") + "/"):
        return path[len(base.rstrip("/")) + 1 :]
    segments = base.split("/")
    plain = list(takewhile(lambda segment: not re.search(GLOB, segment), segments))
    return "/".join(path.split("/")[len(plain) :])


def _walk(store: fs.FileSystem, folder: str) -> list[fs.FileInfo]:
    if isinstance(store, fs.LocalFileSystem):
        infos = store.get_file_info(list(_local_files(folder)))
    else:
        infos = store.get_file_info(fs.FileSelector(folder, recursive=True))
    below = len(folder.rstrip("/")) + 1
    return [i for i in infos if i.is_file and not re.search(r"(^|/)[._]", i.path[below:])]


def _local_files(folder: str) -> Iterator[str]:
    """Links are followed; a folder that they lead to once more, perhaps for ever, is read once."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name[0] not in "._")
        yield from (os.path.join(place, name) for name in names)


def _glob(
    store: fs.FileSystem, folder: str, segments: list[str], seen: set[tuple[str, int]]
) -> list[fs.FileInfo]:
    """`seen`: the folders that were looked at, each by how many segments were left then."""
    pattern, rest = segments[0], segments[1:]
    infos: dict[str, fs.FileInfo] = {}
    if isinstance(store, fs.LocalFileSystem):
        place = os.path.realpath(folder), len(segments)
        if place in seen:
            return []
        seen.add(place)
    if pattern == "**" and rest:
        infos = {info.path: info for info in _glob(store, folder, rest, seen)}
    for info in store.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
        if info.base_name[0] == "." and pattern[0] != ".":
            continue
        matches = pattern == "**" or fnmatch.fnmatchcase(info.base_name, pattern)
        if matches and info.is_file and not rest:
            infos[info.path] = info
        elif matches and info.type == fs.FileType.Directory:
            deeper = segments if pattern == "**" else rest
            found = _glob(store, info.path, deeper, seen) if deeper else []
            infos.update((i.path, i) for i in found)
    return list(infos.values())

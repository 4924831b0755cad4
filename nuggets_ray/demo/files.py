"""The demo's data: candidates and anchors written for this project, shipped with the package.

`data.path=demo` is every row of candidates.jsonl plus a seeded damaged copy of some (damage.py),
written once to <cache>/demo-candidates-<hash of the content>.jsonl; `anchors.path=demo` is
anchors.jsonl as it is. Imports nothing of the package but errors and damage.
"""

import hashlib
import json
import os
import uuid
from pathlib import Path

from nuggets_ray.demo.damage import add_damaged_copies
from nuggets_ray.errors import UserError

DAMAGE_SEED = 0
PACKAGE_DIR = Path(__file__).resolve().parent


def cache_dir() -> Path:
    """The folder of what the demo makes once: NUGGETS_CACHE, or ~/.cache/nuggets_ray."""
    folder = os.environ.get("NUGGETS_CACHE") or "~/.cache/nuggets_ray"
    return Path(folder).expanduser().absolute()


def anchors_path() -> str:
    """The 16 demo anchors (Alpaca fields, jsonl)."""
    return str(PACKAGE_DIR / "anchors.jsonl")


def held_out_path() -> str:
    """The demo's held-out rows (Alpaca fields, jsonl), alike to the candidates and none of them."""
    return str(PACKAGE_DIR / "held_out.jsonl")


def candidates_path() -> str:
    """Write the demo's candidates, whole rows and damaged copies, once; return the jsonl's path.

    Atomic, and the same for everyone, so several processes may call it at once. UserError if the
    cache cannot be written.
    """
    lines = (PACKAGE_DIR / "candidates.jsonl").read_text(encoding="utf-8").splitlines()
    rows = add_damaged_copies([json.loads(line) for line in lines], DAMAGE_SEED)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    content = text.encode("utf-8")
    path = cache_dir() / f"demo-candidates-{hashlib.sha256(content).hexdigest()[:16]}.jsonl"
    try:
        if not path.exists():
            _write_atomic(path, content)
    except OSError as error:
        raise UserError(
            f"NUGGETS_CACHE={cache_dir()} cannot be used ({error.strerror}): "
            "set it to a folder that you can write to."
        ) from error
    return str(path)


def demo_or(path: str, key: str) -> str:
    """`path`; where that is `demo`, the demo's file for this key of the configuration, if it has
    one.
    """
    return DEMO_FILES[key]() if path == "demo" and key in DEMO_FILES else path


def _write_atomic(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


DEMO_FILES = {
    "data.path": candidates_path,
    "anchors.path": anchors_path,
    "evaluate.held_out_path": held_out_path,
}
"""What `demo` stands for under each key that takes rows."""

"""studies/NAME/arms/: what each training of a study gave, a file each, written once it is known.

{key, result}: the key says what it rests on, so that one of other settings is computed again. Files
may be brought in from elsewhere.
"""

from collections.abc import Mapping
from typing import Any

from nuggets_ray import io
from nuggets_ray.run.layout import RunFolder


def read_arm(out_dir: str, study: str, label: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(key, result) of an arm, None where it has not been computed."""
    uri = RunFolder(out_dir).study(study).arm(label)
    if not io.exists(uri):
        return None
    kept = io.read_json(uri)
    return dict(kept["key"]), dict(kept["result"])


def write_arm(
    out_dir: str, study: str, label: str, key: Mapping[str, Any], result: Mapping[str, Any]
) -> str:
    """Keep an arm's result and return its path."""
    uri = RunFolder(out_dir).study(study).arm(label)
    io.write_json(uri, {"key": dict(key), "result": dict(result)})
    return uri

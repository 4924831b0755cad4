"""The key of a judge's endpoint: out of a file, as a mounted secret is one, or of an environment
variable. It is written nowhere, and no error shows it.
"""

import logging
import os
import stat
from dataclasses import dataclass

from nuggets_ray.config.evaluate import JudgeConfig
from nuggets_ray.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """`text` is "" where there is none. `name` is the configuration's key and value, `place` what
    that names.
    """

    text: str
    name: str
    place: str


def read_key(config: JudgeConfig) -> ApiKey:
    """The key of judge.api_key_path, else of judge.api_key_env.

    Raises UserError for a file that cannot be read, and for what cannot be a key.
    """
    if config.api_key_path is not None:
        name, place = f"judge.api_key_path={config.api_key_path}", "that file"
        text = _read(name, config.api_key_path)
    else:
        variable = config.api_key_env
        name, place = f"judge.api_key_env={variable}", f"the environment variable {variable}"
        text = os.environ.get(variable, "")
    text = text.strip()
    if not (text.isascii() and text.isprintable()):
        raise UserError(
            f"{name}: {place} holds characters that no key has: let it hold the endpoint's key "
            "alone"
        )
    return ApiKey(text, name, place)


def _read(name: str, path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(
            f"{name}: cannot be read ({reason}): give a file that holds the endpoint's key alone, "
            "on the machine of the job's driver"
        ) from error
    if mode & stat.S_IROTH:  # as Kubernetes mounts a secret, for its container alone
        logger.warning("%s: everyone on this machine may read it: chmod 600 %s", name, path)
    if not text.strip():
        raise UserError(f"{name}: is empty: let it hold the endpoint's key alone")
    return text

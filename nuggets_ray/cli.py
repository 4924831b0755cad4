"""What every script in jobs/ shares: compose the configuration, set up logging, map the end to an
exit code.

stdout carries tables and, as its last line, one JSON object; logs and bars go to stderr. Exit 0
done, 2 a user's error (one sentence), 130 interrupted, 1 anything else. `hydra.main` alone exits 1
on a typo and fails on `=`, `(` and `[` in paths, so it is called only for Hydra's own flags
(--help, --cfg, --multirun).
"""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from nuggets_ray.compose import CONF_DIR, load, register_schema, resolve
from nuggets_ray.config import Config, UserError, require
from nuggets_ray.disk_full import DiskFull, is_disk_full, sentence

logger = logging.getLogger(__name__)

INTERRUPTED = "interrupted: what is finished is kept; run the same command again to go on from it"

Job = Callable[[Config], dict[str, Any]]


def run(job: Job, requires: Sequence[str] = ("out_dir",)) -> None:
    """Run `job` with the configuration of the command line and end the process.

    `job(config)` returns the JSON object of the last line; `requires` are the keys it cannot do
    without.
    """
    argv = sys.argv[1:]
    configure_logging()
    interrupt = Interrupt()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    if any(argument.startswith("-") for argument in argv):
        _run_with_hydra(job, requires)
    else:
        sys.exit(guard(lambda: _call(job, load(argv), requires)))


def configure_logging() -> None:
    """Logs of level INFO to stderr, those of the libraries from WARNING on."""
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
    logging.getLogger("nuggets_ray").setLevel(logging.INFO)


def _call(job: Job, config: Config, requires: Sequence[str]) -> None:
    require(config, *requires)
    try:
        result = job(config)
    except UserError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise DiskFull(sentence(error, config.out_dir)) from error
        raise
    print_result(result)


def print_result(result: dict[str, Any]) -> None:
    """The last line of stdout, after whatever is on its way to stderr."""
    sys.stderr.flush()
    print(json.dumps(result), flush=True)


def guard(call: Callable[[], None]) -> int:
    """Exit code of `call`, with its error told in the way the user can use."""
    try:
        call()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt as interrupted:
        print(str(interrupted) or INTERRUPTED, file=sys.stderr, flush=True)
        return 130
    except DiskFull as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        logger.exception("failed")
        return 1
    return 0


def _run_with_hydra(job: Job, requires: Sequence[str]) -> None:
    import hydra

    register_schema()

    def main(composed: Any) -> None:
        code = guard(lambda: _call(job, resolve(composed), requires))
        if code:
            sys.exit(code)

    hydra.main(config_path=str(CONF_DIR), config_name="config", version_base="1.3")(main)()


class Interrupt:
    """Handler of Ctrl-C, and of a scheduler's SIGTERM, which is to flush and end as Ctrl-C does.

    The first signal raises KeyboardInterrupt. Later ones must not cut short what it set off: the
    second Ctrl-C is answered, the third ends the process.
    """

    def __init__(self) -> None:
        self._num_signals = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self._num_signals += 1
        if self._num_signals == 1:
            raise KeyboardInterrupt
        if signum == signal.SIGINT and self._num_signals > 2:
            os._exit(130)
        # not by print: the signal may have come in the middle of one
        os.write(2, b"ending: writing what is finished (Ctrl-C once more: end at once)\n")

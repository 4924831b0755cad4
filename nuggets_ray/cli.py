"""What every job shares: compose the configuration, set up logging, map the end to an exit code.

stdout carries tables and, as its last line, one JSON object; logs and bars go to stderr. Exit 0
done, 2 a user's error (one sentence), 130 interrupted, 1 anything else.
"""

import json
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from nuggets_ray.config.command_line import hydra_flags
from nuggets_ray.config.command_line.help import help_page
from nuggets_ray.config.compose import load, require, resolve
from nuggets_ray.config.keys import all_keys, section_of, shell_command
from nuggets_ray.config.schema import Config
from nuggets_ray.deadline import deadline
from nuggets_ray.disk_full import DiskFull, describe_disk_full, is_disk_full
from nuggets_ray.errors import UserError
from nuggets_ray.run.command import COMMAND

logger = logging.getLogger(__name__)

INTERRUPTED = "interrupted: what is finished is kept; run the same command again to go on from it"

Main = Callable[[Config], dict[str, Any]]


def out_dir_of(config: Config) -> tuple[str, str]:
    """What tells the runs of a sweep apart, for a job that writes the whole run folder."""
    return "out_dir", config.out_dir


@dataclass(frozen=True, slots=True)
class Job:
    """A job of the command line, of which `about` says in a few words what it does.

    `load()` imports what it takes, `imports` in words ("": nothing that takes seconds), and returns
    the function from the configuration to the JSON object of the last line. `uses`: the sections
    that the job reads, its own first, but for the keys that it leaves `unread`; `general`: those
    that stand under no section; `requires`: the keys that it cannot do without; `needs_only_first`:
    whether the first of them will do, and no `imports`; `examples`: {arguments: what they do};
    `folder`: what two runs of a sweep must not share, None: they may share all; `takes`: what it
    takes from the run in out_dir where the call leaves it open.
    """

    name: str
    about: str
    load: Callable[[], Main]
    uses: Sequence[str]
    examples: Mapping[str, str] = field(default_factory=dict)
    requires: Sequence[str] = ("out_dir",)
    needs_only_first: Callable[[Config], bool] = lambda config: False
    general: Sequence[str] = ("out_dir", "seed", "progress_s")
    unread: Sequence[str] = ()
    folder: hydra_flags.Folder | None = out_dir_of
    imports: str = ""
    takes: Callable[[Config], Mapping[str, Any]] | None = None

    @property
    def keys(self) -> list[str]:
        """The keys that the job reads, those of its own section first."""
        known = [key for key in all_keys() if key not in self.unread]
        own = [key for section in self.uses for key in known if section_of(key) == section]
        return [*self.general, *own]

    def check_required(self, config: Config) -> None:
        """Raise UserError for a key that is missing."""
        num = 1 if self.needs_only_first(config) else len(self.requires)
        require(config, *self.requires[:num])


def run(job: Job, argv: Sequence[str]) -> NoReturn:
    """Run `job` with the configuration of the command line and end the process."""
    before = COMMAND.set(shlex.join([*shell_command(job.name).split(), *argv]))
    configure_logging()
    interrupt = Interrupt()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        sys.exit(guard(lambda: _start(job, argv)))
    finally:
        COMMAND.reset(before)


def _start(job: Job, argv: Sequence[str]) -> int:
    command = hydra_flags.parse(argv, job.uses)
    if command.mode == "--help":
        config = hydra_flags.compose_checked(command, job.uses)
        print(help_page(job.name, job.about, job.keys, job.requires, job.examples, config))
        return 0
    if command.mode in hydra_flags.SHOW:
        code = hydra_flags.show(command, job.uses, job.name)
        if command.flags.get("--cfg") == "job" and job.takes is not None:
            config = hydra_flags.compose_checked(command, job.uses)
            print(_taken_text(config.out_dir, job.takes(config)), flush=True)
        return code
    if command.mode == "--run":
        _call(job, load(command.arguments, job.uses))
        return 0

    def check(configs: Sequence[Config], swept: Sequence[str]) -> None:
        for config in configs:
            job.check_required(config)
        if job.folder is not None:
            hydra_flags.refuse_one_folder(configs, swept, job.folder)

    def run_one(composed: Any) -> int:
        return guard(lambda: _call(job, resolve(composed)))

    return hydra_flags.sweep(command, job.uses, job.name, run_one, check)


def _taken_text(out_dir: str, taken: Mapping[str, Any]) -> str:
    """What a job takes from the run, as comments below the configuration that it was given."""
    if not taken:
        return "# Nothing of this is taken from out_dir: it is given, or no run is there."
    lines = [f"#   {key}: {json.dumps(value)}" for key, value in taken.items()]
    return "\n".join([f"# Taken from the run in out_dir={out_dir}, as it is not given:", *lines])


def configure_logging() -> None:
    """Logs of level INFO to stderr, those of the libraries from WARNING on."""
    logging.basicConfig(
        level=logging.WARNING,
        handlers=[_AboveTheBar() if sys.stderr.isatty() else logging.StreamHandler(sys.stderr)],
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
        force=True,
    )
    logging.getLogger("nuggets_ray").setLevel(logging.INFO)


class _AboveTheBar(logging.StreamHandler[Any]):
    """Lines on a terminal, where a bar may be: it stays the last line."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def _call(job: Job, config: Config) -> None:
    job.check_required(config)
    try:
        from nuggets_ray import preflight  # it reads files, for which a typo need not wait

        preflight.check(job.name, config)
        if job.imports and not job.needs_only_first(config):
            logger.info("importing %s", job.imports)
        with ended_after(config.cluster.max_hours):
            result = job.load()(config)
    except UserError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise DiskFull(describe_disk_full(error, config.out_dir)) from error
        raise
    print_result(result)


def ended_after(max_hours: float | None) -> AbstractContextManager[None]:
    """What is inside gets a Ctrl-C after so many hours (None: never)."""
    return deadline(None if max_hours is None else 3600 * max_hours, _end, max_hours)


def _end(max_hours: float) -> None:
    logger.warning("cluster.max_hours=%g are over: the job ends as at Ctrl-C", max_hours)
    os.kill(os.getpid(), signal.SIGINT)


def print_result(result: dict[str, Any]) -> None:
    """The last line of stdout, after whatever is on its way to stderr."""
    sys.stderr.flush()
    print(json.dumps(result), flush=True)


def guard(call: Callable[[], int | None]) -> int:
    """Exit code of `call`, with its error told in the way the user can use."""
    try:
        return call() or 0
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


class Interrupt:
    """Handler of Ctrl-C, and of a scheduler's SIGTERM, which is to flush and end as Ctrl-C does.

    The first signal raises KeyboardInterrupt. Later ones must not cut short what it set off: the
    second Ctrl-C is answered, the third ends the process. Each is answered at once, since what is
    set off takes a while.
    """

    def __init__(self) -> None:
        self._num_signals = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        self._num_signals += 1
        if signum == signal.SIGINT and self._num_signals > 2:
            os._exit(130)
        # not by print: the signal may have come in the middle of one
        way_out = b" (Ctrl-C once more: end at once)" if self._num_signals > 1 else b""
        os.write(2, b"ending: writing what is finished" + way_out + b"\n")
        if self._num_signals == 1:
            raise KeyboardInterrupt

"""Hydra's own flags (--cfg job, --info, --multirun, ...), with every mistake beside them told
before Hydra sees it. What --help shows is ours (help.py).

Hydra would answer a typo with a traceback and exit code 1, and take `--limit=5` for a flag of its
own. So the command line is composed here first, for each run of a sweep, and only then by
`hydra.main`.
"""

import io
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from tempfile import TemporaryDirectory
from typing import Any

from nuggets_ray.config.command_line import grammar, hints, overrides
from nuggets_ray.config.compose import check_used, compose, explain, register_schema, resolve
from nuggets_ray.config.keys import (
    CONF_DIR,
    choices_of,
    job_command,
    section_of,
    sections,
    type_of,
)
from nuggets_ray.config.schema import Config
from nuggets_ray.errors import UserError

SHOW = ("--hydra-help", "--version", "--cfg", "--info", "--shell-completion")
MODES = ("--help", *SHOW, "--run", "--multirun")
SHORT = {
    **{"-h": "--help", "-c": "--cfg", "-p": "--package", "-r": "--run", "-m": "--multirun"},
    **{"-i": "--info", "-sc": "--shell-completion", "-cd": "--config-dir"},
}
VALUES = {
    "--cfg": ("job", "hydra", "all"),
    "--package": (),
    "--config-dir": (),
}
"""What follows a flag; (): anything."""
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
FLAGS = (*MODES, *VALUES, "--resolve")


@dataclass(frozen=True, slots=True)
class Command:
    """A command line: `mode` one of MODES, its flags with their values, and what is left."""

    mode: str
    flags: dict[str, str]
    arguments: list[str]

    def given(self, *flags: str) -> list[str]:
        """Those of the flags that were given, as arguments."""
        pairs = ((flag, self.flags[flag]) for flag in flags if flag in self.flags)
        return [part for pair in pairs for part in pair if part]


def parse(argv: Sequence[str], uses: Sequence[str]) -> Command:
    """Raises UserError for a flag that Hydra does not have, naming the key that was meant."""
    flags: dict[str, str] = {}
    arguments: list[str] = []
    rest = [argument for argument in argv if argument != "--"]
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            arguments.append(argument)
            continue
        name, equals, value = argument.partition("=")
        flag = SHORT.get(name, name)
        if flag not in FLAGS:
            raise UserError(_no_such_flag(argument, rest, uses))
        if flag in VALUES and not equals:
            value = rest.pop(0) if rest else ""
        elif flag == "--info" and rest and rest[0] in INFO:
            value = rest.pop(0)
        _check_value(flag, value)
        flags[flag] = value
    modes = [flag for flag in flags if flag in MODES]
    if len(modes) > 1:
        raise UserError(f"{modes[0]} and {modes[1]}: give one of them")
    mode = modes[0] if modes else "--run"
    if "--resolve" in flags and mode != "--cfg":
        raise UserError("--resolve: goes with --cfg job")
    if "--config-dir" in flags:
        folder = os.path.abspath(os.path.expanduser(flags["--config-dir"]))
        if not os.path.isdir(folder):
            raise UserError(f"--config-dir {flags['--config-dir']}: there is no such folder")
        arguments.append(f"hydra.searchpath=[{grammar.quote(f'file://{folder}')}]")
    return Command(mode, flags, arguments)


def _check_value(flag: str, value: str) -> None:
    allowed = VALUES.get(flag, INFO if flag == "--info" and value else None)
    if allowed is None and value:
        raise UserError(f"{flag}={value}: this flag takes no value")
    if allowed and value not in allowed:
        raise UserError(
            f"{f'{flag} {value}'.strip()}: take one of "
            + ", ".join(f"{flag} {one}" for one in allowed)
        )
    if allowed == () and not value:
        raise UserError(f"{flag}: give a value after it")
    if flag == "--package" and not value.startswith("hydra") and value != "_global_":
        _check_package(value)


def _check_package(value: str) -> None:
    if value not in sections():
        try:
            type_of(value)
        except KeyError:
            raise UserError(
                f"--package {value}: take a section or a key, such as --package data"
            ) from None


def _no_such_flag(argument: str, following: Sequence[str], uses: Sequence[str]) -> str:
    """One sentence for a flag that is none: a key as other tools take it, or a typo."""
    name, equals, value = argument.partition("=")
    if close := get_close_matches(name, FLAGS, n=1, cutoff=0.8):
        return f"{argument}: there is no such flag; did you mean {close[0]}?"
    if name in ("--dry-run", "--plan"):
        return f"{argument}: there is no such flag; {job_command('plan')} says what a run would do"
    if name in ("--config-path", "-cp", "--config-name", "-cn", "--experimental-rerun"):
        folder = "--config-dir FOLDER experiment=NAME"
        return f"{argument}: is not supported; {folder} takes FOLDER/experiment/NAME.yaml"
    key = name.lstrip("-").replace("-", "_")
    if not equals:
        has_value = following and "=" not in following[0] and following[0][:1] != "-"
        value = following[0] if has_value else "..."
    try:
        kind, _ = type_of(key)
        value = "true" if kind is bool and value == "..." else value
        meant = hints.override(key, value)
        return f"{argument}: keys have no dashes before them; did you mean {meant}?"
    except KeyError:
        return f"{argument}: " + hints.no_such_key(key, value, uses).partition(": ")[2].replace(
            "no such key", "no such flag", 1
        )


def compose_checked(command: Command, uses: Sequence[str]) -> Config:
    """The configuration beside a flag that only shows. Raises UserError for a mistake in it."""
    arguments = overrides.read(command.arguments, uses)
    return _checked(compose(arguments, uses), arguments)


def show(command: Command, uses: Sequence[str], job_name: str) -> int:
    """Print what a flag of SHOW asks for. Raises UserError for a mistake beside it."""
    arguments = command.arguments
    if command.mode in ("--cfg", "--info"):
        compose_checked(command, uses)
        arguments = overrides.read(arguments, uses)
    flags = command.given(command.mode, "--package", "--resolve")
    printed = io.StringIO()
    with redirect_stdout(printed), _no_log_handlers():  # --info logs, to a handler of Hydra's own
        code = _hydra_main([*flags, *arguments], lambda composed: None, uses, job_name)
    print(printed.getvalue(), end="", flush=True)
    return code


def sweep(
    command: Command,
    uses: Sequence[str],
    job_name: str,
    run_one: Callable[[Any], int],
    check: Callable[[Sequence[Config], Sequence[str]], None],
) -> int:
    """Call `run_one` with the composed configuration of each run until one does not return 0;
    returns what it returned. `check` sees the configurations of all of them, and what each was
    given, before the first one.
    """
    arguments = overrides.read(command.arguments, uses, sweeps=True)
    runs, swept = _runs(arguments)
    configs = [_config(run, index, uses) for index, run in enumerate(runs)]
    check(configs, swept)

    def main(composed: Any) -> None:
        if code := run_one(composed):
            sys.exit(code)

    with TemporaryDirectory() as folder:  # Hydra writes down what it sweeps over
        sweep_dir = f"hydra.sweep.dir={grammar.quote(folder)}"
        return _hydra_main(["--multirun", *arguments, sweep_dir], main, uses, job_name)


def _runs(arguments: list[str]) -> tuple[list[list[str]], list[str]]:
    """The overrides of each run, and the keys that differ between them."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(arguments)
        axes, swept = [], []
        for override in parsed:
            if not override.is_sweep_override():
                axes.append([override.input_line or ""])
                continue
            key = override.get_key_element()
            if not override.is_discrete_sweep():
                raise UserError(f"{override.input_line}: give the values one by one: {key}=1,2,3")
            swept.append(key)
            axes.append([f"{key}={value}" for value in override.sweep_string_iterator()])
            if not axes[-1]:
                raise UserError(f"{override.input_line}: stands for no value: give some")
    return [list(run) for run in itertools.product(*axes)], swept


def _config(run: list[str], index: int, uses: Sequence[str]) -> Config:
    """The checked configuration of one run of a sweep; ${hydra:job.num} is its number."""
    from hydra.core.hydra_config import HydraConfig

    composed = compose([*run, f"hydra.job.num={index}", f"hydra.job.id={index}"], uses)
    HydraConfig.instance().set_config(composed)
    return _checked(composed, run)


def _checked(composed: Any, composable: Sequence[str]) -> Config:
    config = resolve(composed)
    check_used(config, composable)
    return config


def refuse_one_folder(configs: Sequence[Config], swept: Sequence[str], folder: "Folder") -> None:
    """Raise UserError where two runs of a sweep would write the same, with the way out."""
    seen: dict[tuple[str, str], int] = {}
    for index, config in enumerate(configs):
        key, name = folder(config)
        first = seen.setdefault((config.out_dir, name), index)
        if first != index:
            apart = hints.override(key, f"{name}-{_told_apart(swept)}")
            raise UserError(
                f"--multirun: runs {first + 1} and {index + 1} would both write {key}={name}: give "
                f"each its own, as in {apart}"
            )


Folder = Callable[[Config], tuple[str, str]]
"""The key that names what a run of a job writes, and its value."""


def _told_apart(swept: Sequence[str]) -> str:
    """What differs between the runs of a sweep, as Hydra puts it into a value."""
    parts = []
    for key in swept:
        if choices_of(key) and "/" not in key:
            parts.append(f"${{hydra:runtime.choices.{key}}}")
        elif section_of(key) and type_of(key)[0] in (int, float, bool) or key == "seed":
            parts.append(f"${{{key}}}")
        else:
            return "${hydra:job.num}"
    return "-".join(parts) or "${hydra:job.num}"


def _hydra_main(
    arguments: Sequence[str], main: Callable[[Any], None], uses: Sequence[str], job_name: str
) -> int:
    """Exit code of `hydra.main`. Raises UserError for what Hydra refuses."""
    import hydra
    from hydra.errors import HydraException

    register_schema()
    with _command_line([*arguments, f"hydra.job.name={job_name}"]):  # not after this module
        try:
            hydra.main(config_path=str(CONF_DIR), config_name="config", version_base="1.3")(main)()
        except HydraException as error:
            raise UserError(explain(error, uses)) from error
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@contextmanager
def _no_log_handlers() -> Iterator[None]:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        yield
    finally:
        root.handlers = before


@contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
    """`hydra.main` reads its arguments from sys.argv; its errors are to reach us, not its printer
    of tracebacks.
    """
    before, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [before[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before
        os.environ.pop("HYDRA_FULL_ERROR")
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error

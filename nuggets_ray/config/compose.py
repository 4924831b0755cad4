"""conf/ and the overrides of a command line -> a checked `Config`; Hydra's errors as one sentence.

Below `load` nobody sees a DictConfig. omegaconf and hydra are imported inside the functions only.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from nuggets_ray.config.anchor_sets import anchor_sets
from nuggets_ray.config.command_line import grammar, hints, overrides
from nuggets_ray.config.keys import CONF_DIR, sections
from nuggets_ray.config.schema import Config, check
from nuggets_ray.errors import UserError

Value = TypeVar("Value")


def load(arguments: list[str], uses: Sequence[str] | None = None) -> Config:
    """Compose conf/ with arguments such as `data.limit=200` into a checked `Config`.

    Relative paths are taken from the current folder. uses: the sections of the job, all where
    there are none given. Raises UserError for an unknown key or choice, a wrong type, or a value
    out of range.
    """
    uses = sections() if uses is None else uses
    composable = overrides.read(arguments, uses)
    config = resolve(compose(composable, uses))
    check_used(config, composable)
    return config


def compose(composable: list[str], uses: Sequence[str]) -> Any:
    """What Hydra makes of conf/ and its overrides, with its own node `hydra`. Raises UserError."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from yaml import YAMLError

    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        try:
            return compose("config", overrides=composable, return_hydra_config=True)
        except HydraException as error:
            raise UserError(explain(error, uses)) from error
        except YAMLError as error:  # in a file of --config-dir
            raise UserError(" ".join(str(error).split())) from error


@cache
def register_schema() -> None:
    """Put the dataclasses under the name `schema`, the first of the defaults of
    conf/config.yaml.
    """
    from hydra.core.config_store import ConfigStore
    from omegaconf import DictConfig, OmegaConf

    def thaw(node: DictConfig) -> None:
        # omegaconf makes the nodes of frozen dataclasses read-only, and hydra closes every
        # dictionary to new keys
        OmegaConf.set_readonly(node, None)
        for key in node:
            child = node._get_node(key)
            if isinstance(child, DictConfig):
                thaw(child)
        if node._metadata.object_type is dict:
            OmegaConf.set_struct(node, False)

    schema = OmegaConf.structured(Config)
    thaw(schema)
    ConfigStore.instance().store(name="schema", node=schema)


def resolve(composed: Any) -> Config:
    """A composed DictConfig as a checked `Config` with absolute paths. Raises UserError."""
    from omegaconf import DictConfig, OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    assert isinstance(composed, DictConfig)
    with open_dict(composed):
        composed.pop("hydra", None)
    try:
        config = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise UserError(_unresolved(error)) from error
    assert isinstance(config, Config)
    config = replace(
        config,
        data=replace(config.data, roles=_plain_names(config.data.roles)),
        anchors=replace(config.anchors, roles=_plain_names(config.anchors.roles)),
        select=replace(config.select, quotas=_plain_names(config.select.quotas)),
    )
    check(config)
    anchor_sets(config.anchors)
    return absolute(config)


def _plain_names(values: dict[str, Value]) -> dict[str, Value]:
    return {grammar.plain_name(name): value for name, value in values.items()}


INTERPOLATION = "${...} stands for another key's value, such as ${seed}; as text it is \\${"


def _unresolved(error: Any) -> str:
    """One sentence for a value that omegaconf could not make."""
    first = f"{error.full_key}: {_first_line(error)}"
    is_interpolation = "Interpolation" in type(error).__name__
    return f"{first}: {INTERPOLATION}" if is_interpolation else first


def explain(error: Exception, uses: Sequence[str]) -> str:
    """One sentence for one of Hydra's errors: the key, the value and the way out."""
    text = f"{error}\n{error.__cause__ or ''}"
    file = (
        f"{in_file[1]}.yaml: "
        if (in_file := re.search(r"In '([^'\n]+)': \w+ raised", text))
        else ""
    )
    if match := re.search(r"Could not find '([^'\n]*)/([^'/\n]*)'", text):
        allowed = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
        return hints.no_such_choice(match[1], match[2], allowed)
    if match := re.search(r"Key '([^'\n]+)' not in '(\w*)Config'", text):
        section = f"{match[2].lower()}." if match[2] else ""
        return file + hints.no_such_key(section + match[1], "...", uses)
    if match := re.search(r"Could not override '([^'\n]+)'", text):
        return file + hints.no_such_key(match[1], "...", uses)
    if match := re.search(r"Error merging override (.+)", text):
        if "${" in match[1]:
            return f"{match[1]}: {INTERPOLATION}"
        overrides.read([match[1]], uses)  # says it better, where it knows the type
        return f"{match[1]}: {_first_line(error.__cause__ or error)}"
    if file and (match := re.search(r"raised while composing config:\n(.+)", text)):
        key = re.search(r"full_key: (\S+)", text)
        return file + (f"{key[1]}: " if key else "") + match[1]
    return _first_line(error)


def absolute(config: Config) -> Config:
    """The same configuration with every local path absolute; refused in a job that Ray started
    elsewhere.
    """

    def path(key: str, value: str) -> str:
        if not value or value == "demo" or "://" in value:
            return value
        if value.startswith("~") and not os.path.exists(value):
            value = _of_home(key, value)
        if os.path.isabs(value):
            return value
        if key == "model.path" and not value.startswith(".") and not os.path.exists(value):
            return value  # a hub id
        if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
            raise UserError(
                f"{key}={value}: a submitted job runs in a throw-away copy of the folder; give an "
                "absolute path or a URI"
            )
        return os.path.abspath(value)

    evaluate = config.evaluate
    return replace(
        config,
        out_dir=path("out_dir", config.out_dir),
        model=replace(
            config.model,
            path=path("model.path", config.model.path),
            adapter_path=path("model.adapter_path", config.model.adapter_path or "") or None,
        ),
        data=replace(config.data, path=path("data.path", config.data.path)),
        anchors=replace(
            config.anchors,
            path=path("anchors.path", config.anchors.path or "") or None,
            sets={
                name: {**one, "path": path(f"anchors.sets.{name}.path", one["path"])}
                if one.get("path")
                else one
                for name, one in config.anchors.sets.items()
            },
        ),
        evaluate=replace(
            config.evaluate,
            prompts_path=path("evaluate.prompts_path", evaluate.prompts_path or "") or None,
            reference_path=path("evaluate.reference_path", evaluate.reference_path or "") or None,
            held_out_path=path("evaluate.held_out_path", evaluate.held_out_path or "") or None,
            tasks_path=path("evaluate.tasks_path", evaluate.tasks_path or "") or None,
            compare=[path("evaluate.compare", run) for run in evaluate.compare],
        ),
        select=replace(
            config.select,
            scores_path=path("select.scores_path", config.select.scores_path or "") or None,
        ),
        judge=replace(
            config.judge,
            api_key_path=path("judge.api_key_path", config.judge.api_key_path or "") or None,
        ),
        bench=replace(
            config.bench,
            out=path("bench.out", config.bench.out),
            log=path("bench.log", config.bench.log or "") or None,
        ),
    )


def _of_home(key: str, value: str) -> str:
    """~/x and ~user/x as absolute paths."""
    expanded = os.path.expanduser(value)
    if expanded == value:
        user = Path(value).parts[0]
        raise UserError(
            f"{key}={value}: there is no user {user[1:]}; did you mean "
            f"{hints.override(key, f'./{value}')}?"
        )
    return expanded


def require(config: Config, *keys: str) -> None:
    """Raise UserError for the first of `keys` (such as `data.path`) that was not given."""
    for key in keys:
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        if not value:
            raise UserError(f"{key} is missing: give {key}=..., as in {EXAMPLES[key]}")


EXAMPLES = {
    "out_dir": "out_dir=/data/runs/first",
    "data.path": "data.path=instructions.jsonl",
    "model.path": "model.path=/models/llama or model=demo",
}


def check_used(config: Config, composable: Sequence[str]) -> None:
    """Raise UserError for an anchor file that is named and would not be read."""
    given = any(override.startswith("anchors.path=") for override in composable)
    if given and config.anchors.path and config.anchors.method != "file":
        raise UserError(
            f"anchors.path={config.anchors.path} is not used by anchors={config.anchors.method}: "
            f"give {hints.override('anchors.path', config.anchors.path)}, or leave it out"
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]

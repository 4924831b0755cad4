"""conf/ and the overrides of a command line -> a checked `Config`; Hydra's errors as one sentence.

Below `load` nobody sees a DictConfig. omegaconf and hydra are imported inside the functions only.
"""

import os
import re
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nuggets_ray.config import Config, UserError, check

CONF_DIR = Path(__file__).resolve().parent.parent / "conf"


def load(overrides: list[str]) -> Config:
    """Compose conf/ with Hydra overrides such as `data.limit=200` into a checked `Config`.

    Relative paths are taken from the current folder. Raises UserError for an unknown key or choice,
    a wrong type, a value out of range, or an override that Hydra's grammar cannot read.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    register_schema()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        try:
            composed = compose("config", overrides=overrides)
        except HydraException as error:
            raise UserError(explain(error, overrides)) from error
    return resolve(composed)


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
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    assert isinstance(composed, DictConfig)
    known = {key if key.count(".") else key + "." for key in all_keys()}
    sections = {key.partition(".")[0] for key in known}
    for section in map(str, composed):
        names = list(composed[section]) if isinstance(composed[section], DictConfig) else [""]
        for key in (f"{section}.{name}" for name in names):
            if section not in sections or key not in known:
                key = key.strip(".")
                raise UserError(f"{key}: there is no such key{_suggest(key)}")
    try:
        config = OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key}: {_first_line(error)}") from error
    assert isinstance(config, Config)
    check(config)
    return absolute(config)


def explain(error: Exception, overrides: list[str]) -> str:
    """One sentence for one of Hydra's errors: the key, the value and the way out."""
    text = str(error)
    if match := re.search(r"Could not override '([^']+)'", text):
        return f"{match[1]}: there is no such key{_suggest(match[1])}"
    if match := re.search(r"Error merging override (.+)", text):
        return f"{match[1]}: {_first_line(error.__cause__ or error)}"
    if match := re.search(r"Could not find '([^']+)'", text):
        choices = sorted(path.stem for path in (CONF_DIR / match[1]).parent.glob("*.yaml"))
        group, _, choice = match[1].rpartition("/")
        return f"{group}={choice}: there is no such choice; take one of {', '.join(choices)}"
    if match := re.search(
        r"Could not override '?([^'\n]+)'?\.? ?\n?.*No match in the defaults", text
    ):
        return f"{match[1]}: there is no such group of choices{_suggest(match[1])}"
    bare = [override for override in overrides if "=" not in override]
    if bare:
        return f"{bare[0]}: an override has the form key=value, such as data.limit=200"
    if "OverrideParse" in type(error).__name__:
        value = next(
            (o for o in overrides if re.search(r"=.*[=()\[\]{},:\s]", o)), " ".join(overrides)
        )
        key, _, path = value.partition("=")
        quoted = f"'{key}=\"{path}\"'"
        return (
            f"{value}: a value with special characters needs quotes inside quotes, as in {quoted}"
        )
    return _first_line(error)


def absolute(config: Config) -> Config:
    """The same configuration with every local path absolute; refused in a job that Ray started
    elsewhere.
    """

    def path(key: str, value: str) -> str:
        if not value or value == "demo" or "://" in value or os.path.isabs(value):
            return value
        if key == "model.path" and not value.startswith(".") and not os.path.exists(value):
            return value  # a hub id
        if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
            raise UserError(
                f"{key}={value}: a submitted job runs in a throw-away copy of the folder; give an "
                "absolute path or a URI"
            )
        return os.path.abspath(os.path.expanduser(value))

    evaluate = config.evaluate
    return replace(
        config,
        out_dir=path("out_dir", config.out_dir),
        model=replace(config.model, path=path("model.path", config.model.path)),
        data=replace(config.data, path=path("data.path", config.data.path)),
        anchors=replace(
            config.anchors, path=path("anchors.path", config.anchors.path or "") or None
        ),
        evaluate=replace(
            config.evaluate,
            prompts_path=path("evaluate.prompts_path", evaluate.prompts_path or "") or None,
            reference_path=path("evaluate.reference_path", evaluate.reference_path or "") or None,
            held_out_path=path("evaluate.held_out_path", evaluate.held_out_path or "") or None,
            tasks_path=path("evaluate.tasks_path", evaluate.tasks_path or "") or None,
            compare=[path("evaluate.compare", run) for run in evaluate.compare],
        ),
        bench=replace(
            config.bench,
            out=path("bench.out", config.bench.out),
            log=config.bench.log and path("bench.log", config.bench.log),
        ),
    )


def all_keys(schema: type = Config, prefix: str = "") -> list[str]:
    """Every key of the configuration, dotted: `out_dir`, `model.path`, ..."""
    keys = []
    for item in fields(schema):
        name = prefix + item.name
        nested = item.default_factory if is_dataclass(item.default_factory) else None
        keys += all_keys(nested, name + ".") if isinstance(nested, type) else [name]
    return keys


def _suggest(key: str) -> str:
    keys = [*all_keys(), *sorted({known.partition(".")[0] for known in all_keys()})]
    close = get_close_matches(key, keys, n=1, cutoff=0.6)
    same_name = [known for known in keys if known.rpartition(".")[2] == key.rpartition(".")[2]]
    found = close or same_name
    return (
        f"; did you mean {found[0]}?"
        if found
        else f"; the keys are listed by --help and in {CONF_DIR.name}/"
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]

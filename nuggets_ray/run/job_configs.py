"""config/<job>.yaml: the resolved configuration of every job of a run folder."""

from dataclasses import asdict, fields
from typing import Any, TypeVar

import yaml

from nuggets_ray import io
from nuggets_ray.config.schema import Config, ModelConfig, PromptConfig, ScoreConfig
from nuggets_ray.errors import UserError
from nuggets_ray.run.layout import RunFolder

Section = TypeVar("Section", ModelConfig, PromptConfig, ScoreConfig)


def write_config(out_dir: str, stage: str, config: Config) -> None:
    """Write config/<stage>.yaml, the resolved configuration of a job."""
    text = yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True)
    io.write_bytes(RunFolder(out_dir).config(stage), text.encode("utf-8"))


def read_config(out_dir: str, stage: str) -> dict[str, Any] | None:
    """What write_config wrote, None where that job never ran."""
    uri = RunFolder(out_dir).config(stage)
    if not io.exists(uri):
        return None
    with io.telling_damage(uri):
        try:
            config = dict(yaml.safe_load(io.read_bytes(uri)))
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
        for section in ("model", "prompt", "data", "score"):
            dict(config[section])
        str(config["prompt"]["template"])
        return config


def scored_config(out_dir: str) -> Config | None:
    """What the run was scored with: its model, prompt and score sections; None where it was not."""
    scored = read_config(out_dir, "score")
    if scored is None:
        return None
    return Config(
        out_dir,
        model=_section(ModelConfig, scored["model"]),
        prompt=_section(PromptConfig, scored["prompt"]),
        score=_section(ScoreConfig, scored["score"]),
    )


def _section(kind: type[Section], values: dict[str, Any]) -> Section:
    known = {item.name for item in fields(kind)}  # another version may have had others
    return kind(**{key: value for key, value in values.items() if key in known})


def taken_from_run(out_dir: str, model: ModelConfig, prompt: PromptConfig) -> dict[str, Any]:
    """What a job that goes on from the scoring takes of it: {key: value}; empty where nothing is
    scored. A model that is not given is the run's, with all that was said of it; prompt.template=
    auto is the template of the run.
    """
    scored = read_config(out_dir, "score") if out_dir else None
    if scored is None:
        return {}
    taken = {}
    if not model.path:
        taken = {f"model.{name}": value for name, value in scored["model"].items()}
    if prompt.template == "auto":
        taken["prompt.template"] = scored["prompt"]["template"]
    return taken


def check_same_run(config: Config) -> None:
    """Raise UserError where a later job gives model, prompt or data another value than the scoring.

    What is not given (the default) is what the run was scored with.
    """
    scored = read_config(config.out_dir, "score")
    if scored is None:
        return
    given, default = asdict(config), asdict(Config())
    for section in ("model", "prompt", "data"):
        for key, value in given[section].items():
            before = scored[section].get(key, default[section][key])
            if value not in (default[section][key], before):
                raise UserError(
                    f"{section}.{key}={value}: the run in out_dir={config.out_dir} was scored with "
                    f"{before}; leave it out, or give another out_dir"
                )

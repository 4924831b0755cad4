"""Every configuration dataclass (the schema), and `load(argv) -> Config`, which reads conf/ and
overrides once.

conf/*.yaml holds the values; below `load` nobody sees a DictConfig. A typo, a wrong type or a value
out of range raises `UserError` before anything is loaded. omegaconf and hydra are imported inside
`load` only.
"""

import os
import re
from dataclasses import dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

CONF_DIR = Path(__file__).resolve().parent.parent / "conf"


class UserError(Exception):
    """A mistake the user can mend: one sentence that names the key, the value and the way out. Exit
    code 2.
    """


@dataclass(frozen=True)
class ModelConfig:
    path: str = ""
    """A folder or hub id in Hugging Face format, or `demo` for the small model of the package
    index.
    """
    revision: str | None = None
    """Hub revision (branch, tag or commit)."""
    trust_remote_code: bool = False
    """Run modelling code that comes with the model."""


@dataclass(frozen=True)
class DataConfig:
    path: str = ""
    """A file, folder or glob of json, jsonl (both also .gz) or parquet; an s3:// or gs:// URI; or
    `demo`.
    """
    format: str = "auto"
    """alpaca, dolly, sharegpt, messages, prompt_completion, self_instruct, columns, or auto (looks
    at 100 rows).
    """
    columns: dict[str, str] = field(default_factory=dict)
    """For anything else, our field -> your column, e.g. {instruction: question, input: context,
    output: reply, system: persona}.
    """
    limit: int | None = None
    """Read the first N rows only."""
    holdout: int = 0
    """Rows drawn by hash before anything else: never candidates, anchors or training rows."""
    on_too_long: str = "skip"
    """A demonstration over the limit: skip the row, or truncate it (counted in num_dropped_tokens).
    """
    max_skipped_fraction: float = 0.5
    """More skipped rows than this share of the data fails the job."""
    excerpt_chars: int = 80
    """How much of a skipped row is kept in skipped.parquet, in characters (0: nothing)."""


@dataclass(frozen=True)
class PromptConfig:
    template: str = "auto"
    """official, alpaca, chat, or auto: chat if the tokenizer has a template, else alpaca."""
    max_demonstration_tokens: int = 2048
    """The longest demonstration, in tokens."""
    max_anchor_tokens: int | None = None
    """Anchors are cut to this many tokens (counted); null: never cut."""


@dataclass(frozen=True)
class AnchorsConfig:
    method: str = "random"
    """random, kmeans (both drawn from the candidates) or file."""
    num: int | None = 100
    """Number of anchors; with a file, its first N rows (null: all)."""
    path: str | None = None
    """The anchor file, in any format data.path takes, or `demo`."""
    format: str = "auto"
    """As data.format, for the anchor file."""
    columns: dict[str, str] = field(default_factory=dict)
    """As data.columns, for the anchor file."""
    exclude_from_candidates: bool = False
    """Do not score the rows that are anchors (reason is_anchor); otherwise only the self-pair is
    left out.
    """


@dataclass(frozen=True)
class ScoreConfig:
    dtype: str = "auto"
    """bfloat16, float32, or auto: bfloat16 where the hardware has it (float32 under
    prompt=official).
    """
    engine: str = "auto"
    """tree, kv_cache, plain, or auto: the first of them that agrees with the reference at start."""
    max_pack_tokens: int | None = None
    """Most tokens in one forward; null: 4,096 on a CPU, 16,384 on a GPU. Halved when memory runs
    out.
    """
    block_rows: int | None = None
    """Most candidates in a block, the unit that is written and resumed; null: about block_s of
    work.
    """
    block_s: float = 60.0
    """Seconds of work in a block."""


@dataclass(frozen=True)
class ScheduleConfig:
    name: str = "full"
    """full: every candidate meets every anchor."""


@dataclass(frozen=True)
class SelectConfig:
    rule: str = "top_fraction"
    """top_fraction, top_k or threshold."""
    fraction: float | None = None
    """top_fraction: share of the scored rows that is kept, in (0, 1]."""
    k: int | None = None
    """top_k: number of rows that is kept."""
    min_score: float | None = None
    """threshold: rows whose score is above this are kept (below it under order=bottom)."""
    by: str = "golden_score"
    """golden_score, random (seeded) or longest (answer tokens)."""
    order: str = "top"
    """top or bottom."""
    draw: int = 0
    """by=random: which draw; each is named random-<draw>."""
    name: str | None = None
    """Folder under selections/; null: golden, bottom, longest, shortest or random-<draw>."""
    prefix: str = ""
    """Put before our columns (example_id, golden_score, rank) in the selected files, when yours
    have those names.
    """


@dataclass(frozen=True)
class ClusterConfig:
    address: str = "auto"
    """local: start a Ray of our own; auto: the cluster RAY_ADDRESS names, else local; or a
    cluster's address.
    """
    num_workers: int | None = None
    """Model replicas; null: one a GPU, or one a CPU core where there is no GPU."""
    gpus_per_worker: float | None = None
    """GPUs of a replica; null: 1 where the cluster has GPUs, else 0."""
    cpus_per_worker: int = 1
    """CPU cores of a replica, and its threads."""
    wait_s: float = 600.0
    """With an address: how long to wait for the autoscaler before starting with what there is, in
    seconds.
    """
    object_store_gib: float = 0.5
    """Object store of a local Ray, in GiB."""


@dataclass(frozen=True)
class Config:
    out_dir: str = ""
    """The run folder: everything a run writes is under it."""
    seed: int = 0
    """Seed of every draw: hold-out, random anchors, k-means, random selections."""
    progress_s: float = 10.0
    """Seconds between progress lines where there is no terminal, and between lines of metrics."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    anchors: AnchorsConfig = field(default_factory=AnchorsConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)


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


def check(config: Config) -> None:
    """Raise UserError for a value out of its range or outside its choices."""
    choices = {
        "data.on_too_long": (config.data.on_too_long, ("skip", "truncate")),
        "prompt.template": (config.prompt.template, ("auto", "chat", "alpaca", "official")),
        "anchors.method": (config.anchors.method, ("random", "kmeans", "file")),
        "score.dtype": (config.score.dtype, ("auto", "bfloat16", "float32")),
        "score.engine": (config.score.engine, ("auto", "tree", "kv_cache", "plain")),
        "schedule.name": (config.schedule.name, ("full",)),
        "select.rule": (config.select.rule, ("top_fraction", "top_k", "threshold")),
        "select.by": (config.select.by, ("golden_score", "random", "longest")),
        "select.order": (config.select.order, ("top", "bottom")),
    }
    for key, (value, allowed) in choices.items():
        if value not in allowed:
            raise UserError(f"{key}={value}: take one of {', '.join(allowed)}")
    at_least: dict[str, tuple[float | None, float]] = {
        "data.limit": (config.data.limit, 1),
        "data.holdout": (config.data.holdout, 0),
        "data.excerpt_chars": (config.data.excerpt_chars, 0),
        "prompt.max_demonstration_tokens": (config.prompt.max_demonstration_tokens, 1),
        "prompt.max_anchor_tokens": (config.prompt.max_anchor_tokens, 1),
        "anchors.num": (config.anchors.num, 1),
        "score.max_pack_tokens": (config.score.max_pack_tokens, 1),
        "score.block_rows": (config.score.block_rows, 1),
        "score.block_s": (config.score.block_s, 0.001),
        "cluster.num_workers": (config.cluster.num_workers, 1),
        "cluster.gpus_per_worker": (config.cluster.gpus_per_worker, 0),
        "cluster.cpus_per_worker": (config.cluster.cpus_per_worker, 1),
        "cluster.wait_s": (config.cluster.wait_s, 0),
        "cluster.object_store_gib": (config.cluster.object_store_gib, 0.08),
        "progress_s": (config.progress_s, 0.1),
    }
    for key, (number, lowest) in at_least.items():
        if number is not None and number < lowest:
            raise UserError(f"{key}={number}: must be at least {lowest}")
    if not 0 <= config.data.max_skipped_fraction <= 1:
        raise UserError(
            f"data.max_skipped_fraction={config.data.max_skipped_fraction}: must be between 0 and 1"
        )


def require(config: Config, *keys: str) -> None:
    """Raise UserError for the first of `keys` (such as `data.path`) that was not given."""
    for key in keys:
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        if not value:
            raise UserError(f"{key} is missing: give {key}=..., as in {EXAMPLES[key]}")


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

    return replace(
        config,
        out_dir=path("out_dir", config.out_dir),
        model=replace(config.model, path=path("model.path", config.model.path)),
        data=replace(config.data, path=path("data.path", config.data.path)),
        anchors=replace(
            config.anchors, path=path("anchors.path", config.anchors.path or "") or None
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
    keys = all_keys()
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


EXAMPLES = {
    "out_dir": "out_dir=/data/runs/first",
    "data.path": "data.path=instructions.jsonl",
    "model.path": "model.path=/models/llama or model=demo",
}

"""Every configuration dataclass (the schema), with the range or the choices of each key.

conf/*.yaml holds the values; compose.py puts them and the command line into these dataclasses. The
keys of finetune.*, evaluate.* (with generate.* and judge.*), show.*, report.*, study.* and bench.*
have files of their own.
"""

from dataclasses import dataclass, field
from typing import Any

from nuggets_ray.config.bench import BenchConfig
from nuggets_ray.config.evaluate import EvaluateConfig, GenerateConfig, JudgeConfig
from nuggets_ray.config.finetune import FinetuneConfig
from nuggets_ray.config.limits import check_limits, choice, choices, number, share, some, usual
from nuggets_ray.config.report import ReportConfig
from nuggets_ray.config.show import ShowConfig
from nuggets_ray.config.status import StatusConfig
from nuggets_ray.config.study import StudyConfig, check_study
from nuggets_ray.config.track import TrackConfig
from nuggets_ray.errors import UserError

COLUMN_FIELDS = (
    *("instruction", "input", "output", "system", "messages", "turns", "role", "content"),
    *("tools", "history", "chosen", "weight"),
)
"""The keys of data.columns; `messages` and `turns` are one."""


@dataclass(frozen=True)
class ModelConfig:
    """The language model, and how it is read."""

    path: str = ""
    """A folder or hub id in Hugging Face format, or `demo` for the small model of the package
    index.
    """
    revision: str | None = None
    """Hub revision (branch, tag or commit)."""
    trust_remote_code: bool = False
    """Run modelling code that comes with the model."""
    adapter_path: str | None = None
    """Folder of a peft adapter (LoRA) to put over path; one given as path brings its base along."""
    ignore_keys: list[str] = field(default_factory=list, hash=False)
    """Regular expressions: weights that may be missing, of another size, or not used."""
    tokenizer: str = choice("auto", "file", "transformers")
    """Whose token ids: file (tokenizer.json's own), transformers (those of its class), or auto: the
    file's where the class misreads it.
    """


@dataclass(frozen=True)
class DataConfig:
    """The rows, and which of them count."""

    path: str = ""
    """A file, folder or glob of jsonl, json, csv, tsv (also compressed), parquet or Arrow; an s3://
    or gs:// URI; hf://datasets/ORG/NAME; `demo`.
    """
    format: str = "auto"
    """alpaca, dolly, sharegpt, messages, prompt_completion, preference, self_instruct, several
    joined by +, columns, or auto (looks at 100 rows).
    """
    columns: dict[str, str] = field(default_factory=dict)
    """Our field -> your column, e.g. {instruction: question, input: context, output: reply}, or
    {turns: dialog, role: speaker, content: utterance}; also system, tools, history, chosen, weight.
    """
    roles: dict[str, str] = field(default_factory=dict)
    """Your name of a role -> system, user, assistant or tool, e.g. {clerk: assistant}."""
    splits: list[str] = field(default_factory=list)
    """Splits to read, by the names of files, folders or the hub; none: all but test and validation
    beside train.
    """
    limit: int | None = number(None, at_least=1)
    """Read the first N rows only."""
    holdout: int = number(0, at_least=0)
    """Rows drawn by hash before anything else: never candidates, anchors or training rows."""
    on_too_long: str = choice("skip", "truncate")
    """A demonstration over the limit: skip the row, or truncate it (counted in num_dropped_tokens).
    """
    max_skipped_fraction: float = share(0.5)
    """More skipped rows than this share of the data fails the job."""
    excerpt_chars: int = number(80, at_least=0)
    """How much of a skipped row is kept in skipped.parquet, in characters (0: nothing)."""
    retry: list[str] = choices("killed_worker", "error")
    """Rows left without a score that the next attempt tries once more: killed_worker, error."""


@dataclass(frozen=True)
class PromptConfig:
    """How a row becomes text, and how long it may be."""

    template: str = choice("auto", "chat", "alpaca", "official")
    """official, alpaca, chat, or auto: chat if the tokenizer has a template, else alpaca."""
    max_demonstration_tokens: int = number(2048, at_least=1)
    """The longest demonstration, in tokens."""
    max_anchor_tokens: int | None = number(None, at_least=1)
    """Anchors are cut to this many tokens (counted); null: never cut."""


@dataclass(frozen=True)
class AnchorsConfig:
    """The task set that every candidate is held against."""

    method: str = choice("random", "kmeans", "stratified", "file")
    """random, kmeans, stratified (drawn from the candidates) or file."""
    num: int | None = number(None, at_least=1)
    """Number of anchors; null: 100, or 1,000 under schedule=race and explore with at least 10,000
    distinct candidates (in a new folder), and all rows of a file; with a file, its first N rows.
    """
    path: str | None = None
    """The anchor file, in any format data.path takes, or `demo`."""
    format: str = "auto"
    """As data.format, for the anchor file."""
    columns: dict[str, str] = field(default_factory=dict)
    """As data.columns, for the anchor file."""
    roles: dict[str, str] = field(default_factory=dict)
    """As data.roles, for the anchor file."""
    per: str | None = None
    """stratified: the field of the rows whose values are the strata (source_path: their file);
    null: k-means clusters of the model's mean hidden states.
    """
    divide: str = choice("proportional", "equal")
    """stratified: how many anchors a stratum gives: proportional (to its rows) or equal."""
    clusters: int = number(10, at_least=2)
    """stratified without `per`: number of k-means clusters."""
    sets: dict[str, Any] = field(default_factory=dict)
    """Several anchor sets in one pass, name -> the keys of a set (method, num, path, ...), as in
    {maths: {path: m.jsonl}, writing: {path: w.jsonl, num: 50}, mixed: {method: kmeans}}.
    """
    exclude_from_candidates: bool = False
    """Do not score the rows that are anchors (reason is_anchor); otherwise only the self-pair is
    left out.
    """


@dataclass(frozen=True)
class ScoreConfig:
    """How scores are computed."""

    dtype: str = choice("auto", "bfloat16", "float32")
    """bfloat16, float32, or auto: bfloat16 where the hardware has it (float32 under
    prompt=official).
    """
    backend: str = choice("transformers", "vllm")
    """transformers, or vllm: for tensor parallelism, quantised weights, or an architecture that
    transformers cannot hold.
    """
    vllm: dict[str, Any] = field(default_factory=dict)
    """backend=vllm: arguments of vLLM's `LLM`, under its names, e.g. {quantization: fp8,
    max_model_len: 4096}.
    """
    engine: str = choice("auto", "tree", "kv_cache", "plain")
    """tree, kv_cache, plain, or auto: the first of them that agrees with the reference at start."""
    max_pack_tokens: int | None = number(None, at_least=1)
    """Most tokens in one forward; null: 4,096 on a CPU, on a GPU 16,384 to 65,536 by its memory
    (backend=vllm: 16,384). Halved when memory runs out, and in time doubled again.
    """
    gpu_attention: str = choice("auto", "merge", "gather", "flex")
    """engine=tree on a GPU: merge, gather, flex, or auto: the faster one of merge and gather, timed
    at start.
    """
    compile_layers: bool = False
    """engine=tree: compile each decoder layer around its attention, once a worker (a minute; needs
    a C++ compiler on a CPU, Triton on a GPU); rounding changes, and no GPU has timed it yet.
    """
    compile_head: bool = False
    """engine=tree: compile the log-softmax over the vocabulary into one pass, likewise."""
    fuse_products: bool = False
    """engine=tree: queries, keys and values as one matrix product, gate and up as another; not with
    compile_layers.
    """
    block_rows: int | None = number(None, at_least=1)
    """Most candidates in a block, the unit that is written and resumed; null: about block_s of
    work. A block's log-probs are 64 MiB at most, whatever is asked.
    """
    block_s: float = number(60.0, at_least=0.001)
    """Seconds of work in a block."""
    batch_timeout_s: float | None = number(None, at_least=0.1)
    """Seconds that one call of the engine may take before its worker is ended and replaced, as one
    whose device hangs; null: 30 times what the calibration lets expect, at least 600.
    """


@dataclass(frozen=True)
class ScheduleConfig:
    """Which candidate meets which anchor."""

    name: str = choice("full", "race", "explore")
    """full: every candidate meets every anchor; race: only those that may be among the best do;
    explore: every one meets a few, and is ranked by its posterior score, without golden scores.
    """


@dataclass(frozen=True)
class RaceConfig:
    """schedule=race: how many rows it is for, and what may be lost."""

    top_k: int | None = number(None, at_least=1)
    """Rows that are wanted; null: top_fraction, or what select.* asks for."""
    top_fraction: float | None = number(None, at_least=0, at_most=1)
    """Share of the distinct rows that is wanted."""
    min_score: float | None = number(None, at_least=0, at_most=1)
    """Rows whose golden score is above this are wanted; null: top_k or top_fraction, or what
    select.* asks for.
    """
    max_loss: float = number(0.01, at_least=0, at_most=0.5)
    """Share of the wanted rows that may be lost, expected; 0: none that could still win."""
    pilot: int | None = number(None, at_least=16)
    """Rows that meet every anchor first; null: 48 below 1,000 rows, 96 below 5,000, 128 below
    20,000, else 256; at least 100 under schedule=explore.
    """
    rounds: int = number(8, at_least=3, at_most=20)
    """Rounds at most, a barrier each: the pilot, the first block, others as it goes, the rest."""


@dataclass(frozen=True)
class ExploreConfig:
    """schedule=explore: how many anchors every candidate meets."""

    num_anchors: int = number(30, at_least=5)
    """Anchors that every candidate meets, those that tell most: 20 to 40 rank as 100 in full do."""


@dataclass(frozen=True)
class PlanConfig:
    """What jobs/plan.py tells."""

    only: str = choice("all", "data")
    """data: only what the first rows are read as, within seconds; needs no weights and no out_dir.
    """
    price_per_hour: float | None = number(None, at_least=0)
    """Price of an hour of one GPU, of one CPU core where there is no GPU, in any currency; null:
    the plan tells no money.
    """


@dataclass(frozen=True)
class SelectConfig:
    """Which scored rows are kept, and where."""

    rule: str = choice("top_fraction", "top_k", "top_tokens", "threshold")
    """top_fraction, top_k, top_tokens or threshold."""
    fraction: float | None = None
    """top_fraction: share of the scored rows that is kept, in (0, 1]."""
    k: int | None = None
    """top_k: number of rows that is kept."""
    tokens: int | None = None
    """top_tokens: rows are kept until they hold about this many answer tokens."""
    min_score: float | None = None
    """threshold: rows whose score is above this are kept (below it under order=bottom)."""
    by: Any = usual(
        *("golden_score", "posterior_score", "standardised_delta", "loss_ratio", "perplexity"),
        *("ifd", "ifd_perplexity", "rds", "longest", "random"),
    )
    """golden_score, posterior_score (expected win share over any number of such anchors; every row
    has it), standardised_delta, loss_ratio, perplexity, ifd, ifd_perplexity, rds, longest (answer
    tokens), random (seeded), a column of scores_path, or a blend of ranks: {golden_score: 1, ifd:
    0.5}.
    """
    scores_path: str | None = None
    """Scores of another tool or run, by a column's name in `by`: a file of rows with example_id,
    content_id, id or row_number, or a run folder.
    """
    order: str = choice("top", "bottom")
    """top or bottom."""
    draw: int = 0
    """by=random: which draw; each is named random-<draw>."""
    set: str | None = None
    """by=golden_score: the anchor set whose golden score it is; null: that over all anchors."""
    sets: dict[str, float] = field(default_factory=dict)
    """by=golden_score: a mixture, the share of the rows that each anchor set gives, summing to 1,
    as in {maths: 0.5, writing: 0.5}.
    """
    name: str | None = None
    """Folder under selections/; null: golden, bottom, longest, shortest, random-<draw>[-tokens]."""
    prefix: str = ""
    """Put before our columns (example_id, golden_score, rank) in the selected files, when yours
    have those names.
    """
    unique: bool = True
    """Of exact duplicates keep the first, whatever `by` is; fractions are of distinct contents."""
    min_answer_tokens: int | None = number(None, at_least=0)
    """Rows with shorter answers are not eligible; fractions are of eligible rows."""
    max_answer_tokens: int | None = number(None, at_least=1)
    """Rows with longer answers are not eligible."""
    per: str | None = None
    """A field of the rows, or source_path: each of its values gets a number of rows of its own."""
    divide: str = choice("proportional", "equal")
    """select.per: as many rows of a value as its share of the eligible rows (proportional), or as
    many of each (equal).
    """
    quotas: dict[str, float] = field(default_factory=dict)
    """select.per: the rows of each value instead, as numbers or as shares that sum to 1, e.g.
    {maths: 200, writing: 100}.
    """
    max_similarity: float | None = number(None, at_least=0.5, at_most=1)
    """A row as like a better one as this or more (Jaccard index of their word 5-grams) is left
    out.
    """
    diversity: str = choice("none", "k_center", "facility_location")
    """none, or the rows that differ most (k_center) or stand best for all (facility_location) among
    the best, by the model's mean hidden states.
    """
    pool: float = number(3.0, at_least=1)
    """diversity: how many of the best rows it chooses from, in selections."""
    match_length: str | None = None
    """A selection, such as random-0, whose answer lengths the rows are to have."""
    export: list[str] = some("llamafactory", "axolotl", "trl")
    """Write the selection in the shapes of these trainers too: llamafactory, axolotl, trl."""
    replace: bool = False
    """Let other rows take the place of those that a model was trained on."""
    show_text: bool = True
    """Show a few rows at the end with their texts; false: with ids and numbers alone."""


@dataclass(frozen=True)
class ClusterConfig:
    """How many workers, and where they run."""

    address: str = "auto"
    """local: start a Ray of our own; auto: the cluster RAY_ADDRESS names, else local; or a
    cluster's address.
    """
    num_workers: int | None = number(None, at_least=1)
    """Model replicas; null: one a GPU, or one a CPU core where there is no GPU."""
    max_workers: int | None = number(None, at_least=1)
    """Model replicas that scoring may grow to while nodes join; null: num_workers."""
    gpus_per_worker: float | None = number(None, at_least=0)
    """GPUs of a replica; null: 1 where the cluster has GPUs, or may scale to some, else 0. Over
    more than 1 the model is spread by score.backend=vllm.
    """
    cpus_per_worker: int = number(1, at_least=1)
    """CPU cores of a replica, and its threads."""
    wait_s: float = number(600.0, at_least=0)
    """With an address: seconds to wait for the autoscaler, then start with what there is."""
    max_hours: float | None = number(None, at_least=0)
    """Hours after which the job ends as at Ctrl-C, to go on with the same command; null: none."""
    object_store_gib: float = number(0.5, at_least=0.08)
    """Object store of a local Ray, in GiB."""


@dataclass(frozen=True)
class Config:
    out_dir: str = ""
    """The run folder: everything a run writes is under it."""
    seed: int = number(0, at_least=0, at_most=2**32 - 1)
    """Seed of every draw: hold-out, random anchors, k-means, random selections, order of training
    rows, dropout.
    """
    signals: list[str] = field(
        default_factory=lambda: ["auto"],
        metadata={"each_of": ("auto", "perplexity", "ifd", "rds")},
    )
    """What scoring takes down of each row beside its score: perplexity, ifd (with ifd_perplexity),
    rds; auto: perplexity, which costs nothing (backend=transformers), of rows scored from now on.
    Named ones are computed of rows that have a score already, too.
    """
    progress_s: float = number(10.0, at_least=0.1)
    """Seconds between progress lines where there is no terminal, and between lines of metrics."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    anchors: AnchorsConfig = field(default_factory=AnchorsConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    race: RaceConfig = field(default_factory=RaceConfig)
    explore: ExploreConfig = field(default_factory=ExploreConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    show: ShowConfig = field(default_factory=ShowConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    status: StatusConfig = field(default_factory=StatusConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    bench: BenchConfig = field(default_factory=BenchConfig)


OF_THE_TREE = ("gpu_attention", "compile_layers", "compile_head", "fuse_products")
"""Keys of score that only engine=tree reads."""


def check(config: Config) -> None:
    """Raise UserError for a value out of its range or outside its choices, and for values that do
    not go together.
    """
    check_limits(config)
    check_study(config.study)
    if config.model.tokenizer != "auto" and not config.model.path:
        raise UserError(f"model.tokenizer={config.model.tokenizer}: give model.path too")
    _check_backend(config)
    _check_workers(config.cluster)
    _check_speed(config.score)


def _check_workers(cluster: ClusterConfig) -> None:
    most, wanted = cluster.max_workers, cluster.num_workers
    if most is not None and wanted is not None and most < wanted:
        raise UserError(
            f"cluster.max_workers={most}: fewer than cluster.num_workers={wanted}, which scoring "
            "is to grow from: raise it, or leave it out"
        )


def _check_speed(score: ScoreConfig) -> None:
    asked = [key for key in OF_THE_TREE if getattr(score, key) not in ("auto", False)]
    way = f"score.backend={score.backend}" if score.backend == "vllm" else ""
    way = way or (f"score.engine={score.engine}" if score.engine in ("kv_cache", "plain") else "")
    if asked and way:
        raise UserError(
            f"score.{asked[0]}={getattr(score, asked[0])} is for score.engine=tree: leave it out, "
            f"or take that instead of {way}"
        )
    if score.compile_layers and score.fuse_products:
        raise UserError(
            "score.fuse_products=True: layers that are compiled cannot have it (each would need "
            "graphs of its own): leave out that or score.compile_layers"
        )


def _check_backend(config: Config) -> None:
    score, gpus = config.score, config.cluster.gpus_per_worker
    if score.backend == "vllm" and score.engine != "auto":
        raise UserError(
            f"score.engine={score.engine} is one of score.backend=transformers: leave it out, or "
            "take that backend"
        )
    if score.vllm and score.backend != "vllm":
        raise UserError(f"score.vllm={score.vllm}: set score.backend=vllm too, or leave it out")
    for key in score.vllm:
        if key in VLLM_KEYS_TAKEN:
            raise UserError(f"score.vllm.{key}: {VLLM_KEYS_TAKEN[key]}")
    for key in ("max_model_len", "tensor_parallel_size", "pipeline_parallel_size"):
        value = score.vllm.get(key, 1)
        if not isinstance(value, int) or value < 1:
            raise UserError(f"score.vllm.{key}={value}: must be a whole number, at least 1")
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise UserError(f"cluster.gpus_per_worker={gpus}: above 1 it must be a whole number")


VLLM_KEYS_TAKEN = {
    "model": "give model.path",
    "tokenizer": "the model's own is used; leave it out",
    "revision": "give model.revision",
    "trust_remote_code": "give model.trust_remote_code",
    "dtype": "give score.dtype",
    "logprobs_mode": "a score is made of log-probs; leave it out",
    "kv_sharing_fast_prefill": "prompt log-probs are wrong with it; leave it out",
}
"""Arguments of vLLM's `LLM` that other keys decide, or that scores do not bear; each with the way
out.
"""

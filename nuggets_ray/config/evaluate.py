"""The keys of evaluate.*, generate.* and judge.*: which models are compared on what, how they
answer, and who judges the answers.

A part of the schema in schema.py.
"""

from dataclasses import dataclass, field
from typing import Any

from nuggets_ray.config.limits import choice, number, share


@dataclass(frozen=True)
class EvaluateConfig:
    """Which models are compared, and on what."""

    method: str = choice("likelihood", "alpaca_eval", "mt_bench", "lm_eval")
    """likelihood (of the held-out rows, no judge), alpaca_eval, mt_bench or lm_eval."""
    models: list[str] = field(default_factory=list)
    """base, names under models/ of the run, or model folders; []: base and every model of the
    run.
    """
    name: str | None = None
    """What this set of prompts or held-out rows is called beside others of its benchmark; null: its
    file's name, with evaluate.limit where that is given. One name is one set, limit, seed and
    way to answer.
    """
    compare: list[str] = field(default_factory=list)
    """Other run folders whose results.json is shown beside this run's."""
    primary: str = "likelihood/mean_logprob"
    """The metric that decides, BENCHMARK/METRIC, named before the run and kept in results.json:
    likelihood/mean_logprob or likelihood/win_rate (against base), alpaca_eval/win_rate,
    mt_bench/grade or mt_bench/grade_turn_1. Its rows, judge and seed are those of its first
    evaluation.
    """
    held_out_path: str | None = None
    """likelihood: rows of your own, in any format data.path takes (data.format, data.columns), or
    `demo`; null: the run's data.holdout rows.
    """
    show_answers: int = number(0, at_least=0)
    """likelihood: show what every model answers to this many held-out prompts, side by side."""
    limit: int | None = number(None, at_least=1)
    """The first N held-out rows or prompts only."""
    prompts_path: str | None = None
    """alpaca_eval, mt_bench: the file of prompts."""
    reference_path: str | None = None
    """alpaca_eval: the answers that a judge compares with; mt_bench: reference answers for maths,
    reasoning and coding.
    """
    turns: int = number(2, at_least=1, at_most=2)
    """mt_bench: 2, or 1 for the first turn alone (the paper's setting)."""
    tasks: list[str] = field(default_factory=list)
    """lm_eval: names of the harness's tasks."""
    tasks_path: str | None = None
    """lm_eval: a folder with task files of your own."""
    num_fewshot: int | None = number(None, at_least=0)
    """lm_eval: examples in front of each question; null: as the task says."""
    chat_template: bool = False
    """lm_eval: put tasks to the models in their chat templates; a base without one in that of its
    prompt.
    """
    fewshot_as_multiturn: bool = True
    """lm_eval, with evaluate.chat_template: the examples as turns of the conversation, not as one
    text.
    """
    system_instruction: str | None = None
    """lm_eval: a text in front of every prompt, with evaluate.chat_template as the system turn."""
    gen_kwargs: dict[str, Any] = field(default_factory=dict)
    """lm_eval: how answers are generated where a task has some, over the task's own settings, e.g.
    {max_gen_toks: 512, temperature: 0.7, do_sample: true}.
    """
    batch_size: int | None = number(None, at_least=1)
    """lm_eval: requests of a forward pass; null: 1 on a CPU, on a GPU as many as fit, up to 64.
    """


@dataclass(frozen=True)
class GenerateConfig:
    """How models answer prompts."""

    backend: str = choice("vllm", "transformers")
    """vllm, or transformers (slow; for what vLLM cannot load)."""
    max_tokens: int = number(1024, at_least=1)
    """The longest answer, in tokens; answers cut there are counted."""
    temperature: float | None = number(None, at_least=0)
    """0: greedy; above it answers are sampled, with `seed`; null: greedy, but for mt_bench, which
    is answered at FastChat's temperature of the category.
    """
    top_p: float = share(1.0, at_least=0.001)
    """Sample from the likeliest tokens that hold this share of the probability."""
    stop: list[str] = field(default_factory=list)
    """An answer ends before any of these texts, and at the model's own end of turn."""
    vllm: dict[str, Any] = field(default_factory=dict)
    """backend=vllm: arguments of vLLM's `LLM`, under its names, e.g. {max_model_len: 4096}."""


@dataclass(frozen=True)
class JudgeConfig:
    """Who judges the answers, and within which limits."""

    model: str | None = None
    """The judge: the endpoint's name of it, or without judge.url a model folder, judged by vLLM;
    null: no judge.
    """
    url: str | None = None
    """An OpenAI-compatible endpoint, such as http://host:8000/v1."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the endpoint's key; the key itself is never written."""
    api_key_path: str | None = None
    """A file that holds the key instead, where the job's driver runs, such as a mounted secret:
    others see a submitted job's command and the environment it was given, not a file.
    """
    concurrency: int = number(8, at_least=1)
    """Requests under way at once."""
    requests_per_minute: int | None = number(None, at_least=1)
    """At most this many requests a minute; null: no limit."""
    timeout_s: float = number(60.0, at_least=0.001)
    """How long to wait for an answer, in seconds, before trying again."""
    max_retries: int = number(6, at_least=0)
    """How often a request is tried again after 429, 5xx, a time-out or a cut connection, waiting
    twice as long each time.
    """
    max_tokens: int = number(1024, at_least=1)
    """The longest verdict, in tokens."""
    body: dict[str, Any] = field(default_factory=dict)
    """With judge.url: more fields of a request's body, or others than ours; null leaves one out,
    e.g. {max_tokens: null, max_completion_tokens: 4096, temperature: null}.
    """
    budget_requests: int | None = number(None, at_least=0)
    """At most this many paid requests, over all runs in this out_dir; null: no limit."""
    budget_tokens: int | None = number(None, at_least=0)
    """At most this many tokens, of prompts and verdicts, over all runs in this out_dir; null: no
    limit.
    """

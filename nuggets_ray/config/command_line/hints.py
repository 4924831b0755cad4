"""What a mistyped override probably meant, in the form that a shell takes.

A key is looked for among those of the job at hand first; the field's usual names (lr, batch_size,
model_name_or_path, ...) are known.
"""

import math
import re
import shlex
from collections.abc import Sequence
from difflib import get_close_matches

from nuggets_ray.config.keys import (
    all_keys,
    choices_of,
    is_key,
    is_list,
    is_mapping,
    job_command,
    key_choices,
    key_types,
    section_of,
    sections,
)

SYNONYMS = {
    # the run
    "out_dir": "output_dir output out outdir save_dir run_dir output_path",
    "seed": "random_seed rng_seed",
    # the model and the rows
    "model.path": "model_name_or_path model_name model.name model.id model model_path model_id "
    "base_model checkpoint",
    "model.adapter_path": "adapter adapter_path adapter_name_or_path lora_path peft_path",
    "data.path": "dataset data.name data.dataset dataset_path dataset_name data_path data_file "
    "data_files train_file train_data input input_file file",
    "data.limit": "max_rows num_rows rows max_samples num_samples max_examples subset n",
    "data.holdout": "held_out test_size eval_size val_size num_holdout",
    "data.columns": "column_mapping field_mapping fields",
    "prompt.template": "chat_template prompt_template",
    "prompt.max_demonstration_tokens": "max_length max_seq_length max_seq_len seq_len cutoff_len "
    "model_max_length",
    # scoring
    "anchors.num": "anchors.n anchors.count num_anchors n_anchors anchor_count num_tasks",
    "anchors.path": "anchor_file anchor_path anchors_file tasks_file file",
    "score.dtype": "precision torch_dtype data_type bf16",
    "score.block_rows": "block_size chunk_size",
    "cluster.num_workers": "workers n_workers num_proc replicas num_replicas num_processes",
    "cluster.gpus_per_worker": "num_gpus gpus n_gpus gpu ngpus",
    "cluster.cpus_per_worker": "num_cpus cpus cpu num_threads",
    "cluster.address": "ray_address",
    "score.vllm.tensor_parallel_size": "tensor_parallel tp",
    # selecting
    "select.k": "topk top_k num_selected",
    "select.fraction": "top_fraction ratio percent share",
    "select.tokens": "top_tokens",
    "select.min_score": "threshold cutoff",
    # training
    "finetune.learning_rate": "lr",
    "finetune.epochs": "num_train_epochs num_epochs epoch n_epochs",
    "finetune.batch_rows": "batch_size bs train_batch_size per_device_train_batch_size "
    "global_batch_size gradient_accumulation_steps",
    "finetune.micro_batch_tokens": "micro_batch_size",
    "finetune.max_row_tokens": "max_length max_seq_length max_seq_len seq_len cutoff_len",
    "finetune.warmup_fraction": "warmup_ratio warmup warmup_steps",
    "finetune.lr_schedule": "lr_scheduler_type scheduler lr_scheduler",
    "finetune.clip_norm": "max_grad_norm grad_clip clip gradient_clipping",
    "finetune.weight_decay": "wd",
    "finetune.dtype": "precision torch_dtype bf16",
    "finetune.lora_rank": "lora_r rank r",
    "finetune.lora_alpha": "alpha",
    "finetune.lora_target_modules": "target_modules",
    "finetune.checkpoint_steps": "save_steps",
    "finetune.deepspeed": "deepspeed_config ds_config",
    "finetune.deepspeed.zero_optimization.stage": "zero_stage zero",
    "score.max_pack_tokens": "batch_tokens max_batch_tokens max_num_batched_tokens batch_size",
    # evaluating
    "evaluate.method": "benchmark benchmarks",
    "evaluate.num_fewshot": "shots num_shots fewshot",
    "evaluate.chat_template": "apply_chat_template",
    "evaluate.gen_kwargs": "generation_kwargs",
    "evaluate.held_out_path": "test_file eval_file test_path",
    "generate.max_tokens": "max_new_tokens",
    "judge.model": "judge_model",
    "judge.url": "base_url api_base endpoint",
    "judge.api_key_env": "api_key openai_api_key",
}
"""{key: what other tools call it}"""

JOB_OF = {
    **dict.fromkeys(("model", "data", "prompt", "anchors", "score", "schedule"), "score"),
    **{
        name: name
        for name in ("plan", "select", "show", "finetune", "report", "study", "bench", "status")
    },
    **{"cluster": "score", "track": "finetune"},
    **dict.fromkeys(("evaluate", "generate", "judge"), "evaluate"),
}
"""The job that a section is for, first of all."""

RULE_OF = {
    "select.k": "select=top_k ",
    "select.fraction": "select=top_fraction ",
    "select.tokens": "select=top_tokens ",
    "select.min_score": "select=threshold ",
    "anchors.path": "anchors=file ",
    "evaluate.chat_template": "evaluate=lm_eval ",
    "evaluate.gen_kwargs": "evaluate=lm_eval ",
}
"""What a key does nothing without."""

OTHER_UNIT = {
    *("gradient_accumulation_steps", "per_device_train_batch_size", "micro_batch_size"),
    *("warmup_steps", "percent", "bf16", "api_key", "openai_api_key"),
}
"""Names whose value is not that of the key: in another unit, or a secret."""

ADVICE = {
    **dict.fromkeys(
        ("resume", "resume_from_checkpoint"), "the same command goes on where it stopped"
    ),
    **dict.fromkeys(("overwrite", "force"), "give another out_dir, or remove the folder"),
    **dict.fromkeys(
        ("device", "cuda", "use_gpu"), "GPUs are used where there are any (cluster.gpus_per_worker)"
    ),
}
"""What to do instead of giving a key of this name."""

NUMBER_OF = {
    "data": "data.limit",
    "anchors": "anchors.num",
    "finetune": "finetune.epochs",
    "evaluate": "evaluate.limit",
    "generate": "generate.max_tokens",
    "cluster": "cluster.num_workers",
    "bench": "bench.repeats",
}
"""The key that a number given to a whole section is for."""


def override(key: str, value: str) -> str:
    """`key=value` as it is typed in a shell, with the choice in front that the key needs."""
    if is_list(key_types().get(key)) and not value.startswith("["):
        value = f"[{value}]"
    return RULE_OF.get(key, "") + shlex.quote(f"{key}={value}")


def no_such_key(key: str, value: str, uses: Sequence[str]) -> str:
    """One sentence for a key that does not exist, given to a job that uses these sections."""
    near, far = _candidates(key, uses)
    shown = re.sub(r"\s+", " ", key)
    name = _plain(key).rpartition(".")[2]
    if name in ADVICE:
        return f"{shown}: there is no such key; {ADVICE[name]}"
    if near:
        is_other = name in OTHER_UNIT or near[0] == "score.max_pack_tokens"
        value = "..." if is_other else value
        return f"{shown}: there is no such key; did you mean {override(near[0], value)}?"
    if far:
        job = JOB_OF[section_of(far[0])]
        return f"{shown}: this job has no such key ({far[0]} is one of {job_command(job)})"
    section = section_of(_plain(key))
    if members := [known for known in all_keys() if section and section_of(known) == section]:
        names = ", ".join(member.partition(".")[2] for member in members)
        return f"{shown}: there is no such key; those of {section} are {names}"
    where = "--help lists the keys, nuggets_ray/config/schema.py says what each means"
    return f"{shown}: there is no such key; {where}"


def _candidates(key: str, uses: Sequence[str]) -> tuple[list[str], list[str]]:
    """The keys that `key` may stand for, likeliest first: of the job's sections, and of others."""
    plain = _plain(key)
    section, name = section_of(plain), plain.rpartition(".")[2]
    known = all_keys()
    exact = [one for one in known if one.replace(".", "_") == plain.replace(".", "_")]
    exact += _below_mapping(plain)
    named = [one for one, names in SYNONYMS.items() if {plain, name} & set(names.split())]
    named += [one for one in known if one.rpartition(".")[2] == name]
    nearest = get_close_matches(section, sections(), n=1, cutoff=0.7) if section else []
    if nearest:  # what stands there is the surer half of the key
        members = [one for one in known if section_of(one) == nearest[0]]
        inside = [one for one in named if section_of(one) == nearest[0]]
        elsewhere = [one for one in named if name != "name"]
        near_keys = [*exact, *inside, *_close_names(name, members)] or elsewhere
        uses = (*uses, nearest[0])
    else:
        keys = [one for one in known if section_of(one) in ("", *uses)] + ["experiment"]
        close = get_close_matches(plain, keys, n=3, cutoff=0.75)
        near_keys = [*exact, *named] or [*close, *_close_names(name, keys)]
    near_keys = [one for one in dict.fromkeys(near_keys) if is_key(one)]
    near = [one for one in near_keys if section_of(one) in ("", *uses)]
    return near, [one for one in near_keys if one not in near]


def _below_mapping(plain: str) -> list[str]:
    """data.columns.output for data.colums.output, and for columns.output."""
    mappings = [one for one, kind in key_types().items() if is_mapping(kind)]
    for mapping in mappings:
        known, _, last = mapping.rpartition(".")
        if plain.startswith(f"{last}.") and known:
            return [mapping.replace(last, plain)]
    section, _, rest = plain.partition(".")
    parent, _, entry = rest.partition(".")
    close = get_close_matches(f"{section}.{parent}", mappings, n=1, cutoff=0.8) if entry else []
    return [f"{one}.{entry}" for one in close]


def _plain(key: str) -> str:
    return key.lower().replace("-", "_").replace("/", ".").strip(".")


def _close_names(name: str, keys: Sequence[str]) -> list[str]:
    names = {key.rpartition(".")[2]: key for key in reversed(keys)}
    return [names[close] for close in get_close_matches(name, names, n=3, cutoff=0.75)]


def no_such_choice(section: str, value: str, allowed: Sequence[str] = ()) -> str:
    """One sentence for `section=value` where that is none of the section's choices; allowed: those
    that there are, where there are others than in conf/.
    """
    allowed = allowed or choices_of(section)
    meant = meant_by(section, value) or next(
        (f"{section}={close}" for close in get_close_matches(value.lower(), allowed, n=1)), None
    )
    what = f"there is no such choice; take one of {', '.join(allowed)}"
    if not allowed:
        members = [key for key in all_keys() if section_of(key) == section]
        what = f"{section} is a section: its keys are {', '.join(members)}"
        if meant:
            what = f"{section} is a section, not a key"
    return f"{section}={value}: {what}" + (f"; did you mean {meant}?" if meant else "")


def meant_by(section: str, value: str) -> str | None:
    """The key of a section that `section=value` was probably meant for, with the value, ready to
    paste; None where nothing is likely.
    """
    for key, allowed in key_choices().items():
        if section_of(key) == section and value in allowed:
            return override(key, value)
    number = _number(value)
    if number is not None:
        return _meant_number(section, number, is_share=bool(re.search(r"[.%]", value)))
    is_near = get_close_matches(value.lower(), choices_of(section), n=1, cutoff=0.6)
    if is_near or not value or re.fullmatch(r"[\[{].*|null|none", value, re.IGNORECASE):
        return None
    return _meant_text(section, value)


def _meant_number(section: str, number: float, is_share: bool) -> str | None:
    shown = f"{number:.12g}"
    if section == "select":
        if number >= 1 and number == int(number) and not (is_share and number == 1):
            return override("select.k", shown)
        return override("select.fraction", shown) if 0 < number <= 1 else None
    if section not in NUMBER_OF or number <= 0:
        return None
    is_whole = number == int(number)
    return override(NUMBER_OF[section], shown) if is_whole or section == "finetune" else None


def _meant_text(section: str, value: str) -> str | None:
    looks_like_path = bool(re.search(r"[/~]|\.(json|jsonl|parquet)(\.gz)?$", value))
    is_name = bool(re.fullmatch(r"[\w.-]+", value))
    if section == "judge":
        return override("judge.url" if "://" in value else "judge.model", value)
    if section == "cluster":
        is_address = value in ("auto", "local") or ":" in value
        return override("cluster.address", value) if is_address else None
    if section in ("data", "model"):
        return override(f"{section}.path", value)
    if section == "evaluate":
        return override("evaluate.models", f"[{value}]") if is_name else None
    if section == "finetune":
        return override("finetune.selection", value) if is_name else None
    if section == "anchors" and looks_like_path:
        return override("anchors.path", value)
    return None


def _number(text: str) -> float | None:
    """5 for "5", 0.05 for "5%"."""
    try:
        number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None

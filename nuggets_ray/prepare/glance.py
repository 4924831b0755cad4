"""plan.only=data: what the first rows of the data are read as, in seconds, without Ray or weights.

Prints which files and fields are read and which are not, what is skipped and why, and three rows as
the model would see them, their answers between « and »: in the model's own template where
model.path is given, of which only the tokenizer is read, else turn by turn. Nothing is written.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Any

from nuggets_ray.config.schema import DataConfig, ModelConfig, PromptConfig
from nuggets_ray.data.counts import FieldCounts, listed, warnings
from nuggets_ray.data.examples import SourceRow, choose_rules, file_rows, parse_rows
from nuggets_ray.data.inputs import InputFile, Listing, find_inputs
from nuggets_ray.data.values import SkipRow
from nuggets_ray.model.load import load_tokenizer
from nuggets_ray.prompts.prompt import make_prompt
from nuggets_ray.records import Encoding, Example
from nuggets_ray.run.row_text import cut, printable
from nuggets_ray.units import size_text

MAX_ROWS = 2000
MAX_FILES = 10
MAX_S = 5.0
"""Seconds of reading, after which the rows so far must do."""
MAX_CHARS = 2000
"""Of a row that is shown."""
MAX_REASONS = 10

ReadRow = tuple[SourceRow, Example]


def glance(data: DataConfig, model: ModelConfig, prompt: PromptConfig) -> dict[str, Any]:
    """Read the first rows, print what they are, and return the job's JSON object. Raises UserError
    where the data or the tokenizer cannot be read, or the format cannot be recognised.
    """
    listing = find_inputs(data.path, splits=data.splits)
    rules = choose_rules(data, listing.files)
    rows, is_whole = _first_rows(data, listing.files)
    counts = FieldCounts()
    read: list[ReadRow] = []
    skipped: list[tuple[SourceRow, str]] = []
    for row, result in parse_rows(rows, rules, counts):
        if isinstance(result, SkipRow):
            skipped.append((row, result.reason))
        else:
            read.append((row, result))
    lines = _file_lines(listing, rules.format)
    lines += _row_lines(rows, is_whole, read, skipped, counts)
    lines += [f"  warning: {text}" for text in _warnings(counts, data)]
    lines += _rendered(data, model, prompt, read)
    print("\n".join(lines))
    num_rows = {"num_rows": len(rows), "num_examples": len(read), "num_skipped": len(skipped)}
    return {"wrote": [], "status": "done", **num_rows, "is_whole": is_whole}


def _first_rows(config: DataConfig, files: Sequence[InputFile]) -> tuple[list[SourceRow], bool]:
    """The first rows of files spread over the list, and whether there are no more."""
    limit = min(MAX_ROWS, config.limit or MAX_ROWS)
    chosen = files if config.limit else files[:: -(-len(files) // MAX_FILES)]
    share = limit if config.limit else max(1, limit // len(chosen))
    end_s = time.monotonic() + MAX_S
    rows: list[SourceRow] = []
    is_whole = len(chosen) == len(files)
    for file in chosen:
        stream = file_rows([file])
        for row in islice(stream, min(share, limit - len(rows))):
            rows.append(row)
            if time.monotonic() > end_s:
                return rows, False
        is_whole = is_whole and next(stream, None) is None
    return rows, is_whole or len(rows) == config.limit


def _file_lines(listing: Listing, format: str) -> list[str]:
    size = size_text(sum(file.num_bytes for file in listing.files))
    left_out = listing.left_out_text() or "nothing"
    pairs = {
        "files": f"{len(listing.files):,} ({size})",
        "left out": left_out,
        "format": format,
    }
    return ["", "files", *_pairs(pairs)]


def _row_lines(
    rows: Sequence[SourceRow],
    is_whole: bool,
    read: Sequence[ReadRow],
    skipped: Sequence[tuple[SourceRow, str]],
    counts: FieldCounts,
) -> list[str]:
    num_copies = len(read) - len({example.content_id for _, example in read})
    pairs = {
        "looked at": f"{len(rows):,}" + (" (all)" if is_whole else ", the first; there are more"),
        "examples": f"{len(read):,}",
        "exact copies among them": f"{num_copies:,}",
        "read": listed(counts.read),
        "not read": listed(counts.left),
    }
    if counts.num_greetings:
        pairs["the assistant opens"] = f"{counts.num_greetings:,}, which is context"
    for reason, num in Counter(reason for _, reason in skipped).most_common(MAX_REASONS):
        first = next(row for row, why in skipped if why == reason)
        pairs[f"skipped: {reason}"] = f"{num:,}, such as {first.place}"
    return ["", "rows", *_pairs(pairs)]


def _pairs(pairs: dict[str, str]) -> Iterator[str]:
    return (f"  {label:<28}{text}" for label, text in pairs.items())


def _warnings(counts: FieldCounts, data: DataConfig) -> list[str]:
    return warnings(counts.read, counts.left, data.columns)


def _rendered(
    data: DataConfig, model: ModelConfig, config: PromptConfig, read: Sequence[ReadRow]
) -> list[str]:
    """Rows from the start, the middle and the end of those read, and how many are too long."""
    shown = sorted({0, len(read) // 2, len(read) - 1}) if read else []
    if not model.path:
        texts = [_turns(read[place][1]) for place in shown]
        lines = ["", "prompt", *_pairs({"template": "none: give model.path for its own"})]
    else:
        tokenizer = load_tokenizer(model)
        prompt = make_prompt(tokenizer, config)
        encodings = [prompt.demonstration(example) for _, example in read]
        num_long = sum(encoding.num_dropped_tokens > 0 for encoding in encodings)
        limit = config.max_demonstration_tokens
        pairs = {
            "template": f"{prompt.name} (prompt.template={config.template})",
            "tokens": f"{sum(e.num_tokens for e in encodings) / max(1, len(read)):,.0f} a row",
            f"longer than {limit:,} tokens": f"{num_long:,} (data.on_too_long={data.on_too_long})",
        }
        lines = ["", "prompt", *_pairs(pairs)]
        texts = [_marked(encodings[place], tokenizer) for place in shown]
    for place, text in zip(shown, texts, strict=True):
        where = read[place][0].place
        lines += ["", f"{where}, answers between « and »:", cut(printable(text), MAX_CHARS)]
    return lines


def _turns(example: Example) -> str:
    lines = []
    for message in example.messages:
        calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
        text = "\n".join(part for part in (message.reasoning, message.content, *calls) if part)
        lines.append(f"{message.role}: " + (f"«{text}»" if message.is_answer else text))
    return "\n".join(lines)


def _marked(encoding: Encoding, tokenizer: Any) -> str:
    """The text of the tokens, answers marked."""
    parts = []
    pairs = zip(encoding.token_ids.tolist(), encoding.answer_mask.tolist(), strict=True)
    for is_answer, tokens in groupby(pairs, key=lambda pair: pair[1]):
        text = tokenizer.decode([token for token, _ in tokens], skip_special_tokens=False)
        parts.append(f"«{text}»" if is_answer else text)
    return "".join(parts)

"""Every verdict of a run's judges, kept the moment it arrives: evaluation/judge/part-*.jsonl.

A line is {request_id, key, text, num_requests, num_tokens, judge, about}; `key` is the SHA-256 of
model, prompt and settings, `about` the question, the models and their order of whom it was asked
first. A request that was paid for and brought nothing has the key null. A verdict is first a part
of its own, written atomically; `compact` puts the small parts into one and then removes them, so a
kill in between leaves lines twice, which are read once.
"""

import hashlib
import json
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nuggets_ray import io
from nuggets_ray.evaluate.judge.judge import About
from nuggets_ray.evaluate.judge.prompts import Conversation
from nuggets_ray.run.layout import RunFolder


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A line. `num_tokens` None: the endpoint did not say; `judge` and `about` None: it was written
    before they were.
    """

    request_id: str
    key: str | None
    text: str | None
    num_requests: int
    num_tokens: int | None
    judge: str | None = None
    about: Mapping[str, Any] | None = None


def verdict_key(model: str, conversation: Conversation, settings: Mapping[str, Any]) -> str:
    """What a verdict is found by: the same judge, prompt and settings give the same."""
    turns = [[message.role, message.text] for message in conversation]
    text = json.dumps([model, turns, dict(settings)], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


class KeptVerdicts:
    """The verdicts kept under an out_dir, and what they cost. Safe to call from several threads."""

    def __init__(self, out_dir: str) -> None:
        self.folder = RunFolder(out_dir).evaluation.judge
        self._lock = threading.Lock()
        self._texts: dict[str, str] = {}
        self._records: dict[str, KeptRecord] = {}
        self._small_parts: dict[str, list[KeptRecord]] = {}
        for part in io.list_files(self.folder, ".jsonl"):
            lines = io.read_bytes(part).decode("utf-8").splitlines()
            records = [KeptRecord(**json.loads(line)) for line in lines]
            for record in records:
                self._add(record)
            if len(records) == 1:
                self._small_parts[part] = records

    @property
    def num_verdicts(self) -> int:
        """How many are kept."""
        return len(self._texts)

    @property
    def num_requests(self) -> int:
        """Requests paid for, over all runs."""
        with self._lock:
            return sum(record.num_requests for record in self._records.values())

    @property
    def num_tokens(self) -> int:
        """Tokens paid for, as far as they are known, over all runs."""
        with self._lock:
            return sum(record.num_tokens or 0 for record in self._records.values())

    def find(self, key: str) -> str | None:
        """The text that is kept under the key."""
        return self._texts.get(key)

    def keep(
        self, key: str | None, text: str | None, num_tokens: int | None, judge: str, about: About
    ) -> None:
        """Write down at once a request that was paid for; key and text None: it brought nothing."""
        self._write([KeptRecord(uuid.uuid4().hex, key, text, 1, num_tokens, judge, asdict(about))])

    def keep_free(self, texts: Mapping[str, str], judge: str, about: Mapping[str, About]) -> None:
        """Write down those verdicts {key: text} that are new and cost nothing, as one part."""
        new = [key for key in texts if key not in self._texts]
        records = [
            KeptRecord(uuid.uuid4().hex, key, texts[key], 0, 0, judge, asdict(about[key]))
            for key in new
        ]
        if records:
            self._write(records)

    def compact(self) -> None:
        """Put the parts of one verdict each into one part."""
        with self._lock:
            if len(self._small_parts) < 2:
                return
            small, self._small_parts = self._small_parts, {}
        self._write([record for records in small.values() for record in records])
        for part in small:
            io.delete(part)

    def _write(self, records: Sequence[KeptRecord]) -> None:
        part = io.join(self.folder, f"part-{uuid.uuid4().hex}.jsonl")
        lines = [json.dumps(asdict(record), ensure_ascii=True) + "\n" for record in records]
        io.write_bytes(part, "".join(lines).encode("utf-8"))
        with self._lock:
            for record in records:
                self._add(record)
            if len(records) == 1:
                self._small_parts[part] = list(records)

    def _add(self, record: KeptRecord) -> None:
        self._records[record.request_id] = record
        if record.key is not None and record.text is not None:
            self._texts[record.key] = record.text


def found_text(kept: KeptVerdicts, key: str) -> str:
    """The text that must be kept by now. Raises KeyError where it is not."""
    text = kept.find(key)
    if text is None:
        raise KeyError(key)
    return text

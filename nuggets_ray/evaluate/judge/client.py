"""One request to an OpenAI-compatible endpoint, and what became of it.

An answer is a `Completion`. `RefusedError` (429, 5xx, no connection) and `LostError` (a time-out, a
cut connection, a body that is no completion) are worth another try; a lost request may have been
paid for, a refused one was not. Whatever else is wrong is a UserError. The key is read from the
environment or a file and stands in no message, nor in what an endpoint says that repeats it.
"""

import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from nuggets_ray.config.evaluate import JudgeConfig
from nuggets_ray.errors import UserError
from nuggets_ray.evaluate.judge.key import read_key
from nuggets_ray.evaluate.judge.prompts import Conversation

MESSAGE_CHARS = 300
MAX_REPLY_BYTES = 1 << 26
"""Far more than any judge says: an endpoint that never stops would fill the memory."""
MIN_KEY_CHARS = 8
"""A shorter one, such as EMPTY, is a placeholder, and may well be a word of an answer."""
MAX_RETRY_AFTER_S = 3600.0
RETRIED_STATUSES = (408, 409, 425, 429)
"""Beside 5xx."""
BAD_JSON = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What a reply raises that is no JSON, or holds something else than it should."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The endpoint's text, and the tokens of request and text as it counts them (None: it does not
    say).
    """

    text: str
    num_tokens: int | None


class RefusedError(Exception):
    """The endpoint did not take the request. `retry_after_s`: when it wants to be asked again."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class LostError(Exception):
    """The endpoint may have answered, but the answer did not arrive whole."""


class Endpoint:
    """judge.url, with its connections. Safe to call from several threads."""

    def __init__(self, config: JudgeConfig) -> None:
        self._config = config
        self._url = _completions_url(config.url or "")
        self._api_key = read_key(config)
        self._key = self._api_key.text
        self._has_answered = False
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx.Client(
            headers=headers,
            timeout=config.timeout_s,
            limits=httpx.Limits(max_connections=config.concurrency),
        )

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def complete(self, conversation: Conversation) -> Completion:
        """Ask once. Raises RefusedError, LostError or UserError."""
        messages = [{"role": turn.role, "content": turn.text} for turn in conversation]
        body = {**request_settings(self._config), "model": self._config.model, "messages": messages}
        try:
            status, headers, content = self._post(body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if self._has_answered:
                raise RefusedError(f"cannot be reached: {error}") from error
            raise UserError(
                f"judge.url={self._config.url} cannot be reached ({error or 'time-out'}): check "
                "the address, and that the endpoint is running"
            ) from error
        except httpx.TimeoutException as error:
            raise LostError(f"no answer within judge.timeout_s={self._config.timeout_s}") from error
        except httpx.RequestError as error:
            raise LostError(f"the connection was cut: {error}") from error
        self._has_answered = True
        if status in RETRIED_STATUSES or status >= 500:
            reason = f"answers {status}: {self._message(content)}"
            raise RefusedError(reason, retry_after_s(headers))
        if status in (401, 403):
            raise UserError(self._refused_key(status))
        if status != 200:
            raise UserError(
                f"judge.url={self._config.url} answers {status} to judge.model="
                f"{self._config.model}: {self._message(content)}: check both, and judge.body"
            )
        try:
            return _completion(self._without_key(content))
        except BAD_JSON as error:
            raise LostError(f"the answer is no completion: {self._message(content)}") from error

    def _post(self, body: Mapping[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        # httpx's time-out is one between two bytes: an answer that drips would never end
        deadline = time.monotonic() + self._config.timeout_s
        chunks, num_bytes = [], 0
        with self._client.stream("POST", self._url, json=body) as response:
            for chunk in response.iter_bytes():
                chunks.append(chunk)
                num_bytes += len(chunk)
                if num_bytes > MAX_REPLY_BYTES:
                    raise httpx.ReadError(f"the answer is longer than {MAX_REPLY_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer drips")
        return response.status_code, response.headers, b"".join(chunks)

    def _refused_key(self, status: int) -> str:
        # the endpoint's own message is left out: some quote parts of the key
        name, place = self._api_key.name, self._api_key.place
        if not self._key:
            return (
                f"{name}: judge.url={self._config.url} answers {status} and {place} is not set: "
                "set it to the endpoint's key, name another variable, or give a file with "
                "judge.api_key_path"
            )
        return (
            f"{name}: judge.url={self._config.url} answers {status} to the key in {place}: set it "
            f"to a key that may use judge.model={self._config.model}"
        )

    def _message(self, content: bytes) -> str:
        return " ".join(_error_message(self._without_key(content)).split())[:MESSAGE_CHARS]

    def _without_key(self, content: bytes) -> bytes:
        is_secret = len(self._key) >= MIN_KEY_CHARS
        return content.replace(self._key.encode(), b"***") if is_secret else content


def request_settings(config: JudgeConfig) -> dict[str, Any]:
    """What a request says beside model and messages: always the likeliest verdict, but judge.body
    has the last word.
    """
    settings = {"temperature": 0, "max_tokens": config.max_tokens, **config.body}
    return {key: value for key, value in settings.items() if value is not None}


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The header Retry-After, in seconds from now: a number or a date, and an hour at
    the most; None without it."""
    value = headers.get("retry-after", "").strip()
    try:
        return min(MAX_RETRY_AFTER_S, max(0.0, float(value)))
    except ValueError:
        pass
    try:
        seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None
    return min(MAX_RETRY_AFTER_S, max(0.0, seconds))


def _completions_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.userinfo:
        raise UserError(
            "judge.url holds a user's name or password: leave it out, and give a key by the "
            "environment variable that judge.api_key_env names, or the file of judge.api_key_path"
        )
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UserError(f"judge.url={url}: give an address such as http://host:8000/v1")
    return f"{url.rstrip('/').removesuffix('/chat/completions')}/chat/completions"


def _completion(content: bytes) -> Completion:
    reply = json.loads(content)
    text = reply["choices"][0]["message"]["content"]
    # null: a model that spent all its tokens on thinking has answered, and said nothing
    if not isinstance(text, str | None):
        raise TypeError("the content is no text")
    num_tokens = (reply.get("usage") or {}).get("total_tokens")
    text = (text or "").encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair
    return Completion(text, num_tokens if isinstance(num_tokens, int) else None)


def _error_message(content: bytes) -> str:
    try:
        reply = json.loads(content)
        error = reply.get("error", reply)
        return str(error["message"])
    except BAD_JSON:
        return content.decode("utf-8", "replace")

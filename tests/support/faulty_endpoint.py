"""An OpenAI-compatible endpoint on 127.0.0.1 that fails as it is told, then answers."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """`is_cut`: the connection ends in the middle of the body. `is_held`: nothing is sent until the
    server ends. `drips`: the body comes a byte at a time and never ends.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    is_cut: bool = False
    is_held: bool = False
    drips: bool = False


def completion(text: str | None, num_tokens: int | None = 10) -> Reply:
    message = {"role": "assistant", "content": text}
    body: dict[str, Any] = {"choices": [{"index": 0, "message": message}]}
    if num_tokens is not None:
        body["usage"] = {"total_tokens": num_tokens}
    return Reply(body=json.dumps(body).encode())


def error(status: int, message: str, **headers: str) -> Reply:
    return Reply(status, json.dumps({"error": {"message": message}}).encode(), headers)


CUT = Reply(body=b'{"choices": [{"index"', is_cut=True)
HELD = Reply(is_held=True)
DRIPS = Reply(drips=True)
RUBBISH = Reply(body=b"<html>\xff not JSON")
TOO_MANY = error(429, "slow down", **{"Retry-After": "0"})
BROKEN = error(500, "out of order")


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


Answer = Callable[[Request], Reply]


def echo(request: Request) -> Reply:
    """The last message, back."""
    return completion(f"re: {request.body['messages'][-1]['content']}")


class FaultyEndpoint:
    """The first requests get the `faults`, one each; later ones what `answer` makes of them."""

    def __init__(self, faults: list[Reply] | None = None, answer: Answer = echo) -> None:
        self.faults = list(faults or [])
        self.answer = answer
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> "FaultyEndpoint":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def reply_to(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            fault = self.faults.pop(0) if self.faults else None
        return fault or self.answer(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(length))
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = endpoint.reply_to(Request(self.path, headers, body))
                self.close_connection = True
                if reply.is_held:
                    endpoint.ended.wait()
                    return
                try:
                    self.send(reply)
                except OSError:
                    # the client has hung up
                    return

            def send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                missing = 100 if reply.is_cut or reply.drips else 0
                self.send_header("Content-Length", str(len(reply.body) + missing))
                self.end_headers()
                self.wfile.write(reply.body)
                while reply.drips and not endpoint.ended.wait(0.05):
                    self.wfile.write(b" ")

            def log_message(self, *_: object) -> None:
                pass

        return Handler

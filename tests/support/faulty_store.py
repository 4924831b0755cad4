"""An S3 server of this machine that refuses what it is asked while a file says so.

`python faulty_store.py PORT FILE`: as long as FILE is there, each answer is the status that it
holds, such as 503.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pyarrow import fs

REASONS = {500: "InternalError", 503: "SlowDown"}


class Faulty:
    """A WSGI application before another, which gets nothing while it refuses."""

    def __init__(self, application: Any, refuses: Path) -> None:
        self._application, self._refuses = application, refuses

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        try:
            status = int(self._refuses.read_text())
        except (OSError, ValueError):
            answer: Iterable[bytes] = self._application(environ, start)
            return answer
        reason = REASONS[status]
        # the whole request is read, so that the connection can be used again
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(f"{status} {reason}", [("Content-Type", "application/xml")])
        return [f"<Error><Code>{reason}</Code></Error>".encode()]


@contextlib.contextmanager
def serving(port: int, refuses: Path, bucket: str) -> Iterator[None]:
    """Such a server in a process of its own, with an empty bucket."""
    command = [sys.executable, __file__, str(port), str(refuses)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            store = fs.S3FileSystem(
                endpoint_override=f"127.0.0.1:{port}", scheme="http", allow_bucket_creation=True
            )
            for _ in range(60):
                with contextlib.suppress(OSError):
                    store.create_dir(bucket)
                    break
                time.sleep(1)
            yield
        finally:
            server.kill()


def serve(port: int, refuses: Path) -> None:
    """Until the process is ended."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = Faulty(DomainDispatcherApplication(create_backend_app), refuses)
    make_server("127.0.0.1", port, application, threaded=True).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))

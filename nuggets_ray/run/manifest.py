"""The run folder's books: manifest.json, the fingerprint, the attempts and what they tell.

`Run` is an open run folder. A second live driver is refused by lease.json. Every file is one atomic
write, so a kill at any moment leaves the old or the new one.
"""

import errno
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from nuggets_ray import io
from nuggets_ray.errors import UserError
from nuggets_ray.io import write_json
from nuggets_ray.run.command import COMMAND
from nuggets_ray.run.layout import RunFolder
from nuggets_ray.run.lease import HEARTBEAT_S, read_lease, take_lease, write_lease
from nuggets_ray.run.stage_status import Said, Telling
from nuggets_ray.run.versions import versions

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
SLOW_S = 10.0
"""A sign of life that takes longer is told: an object store is out of order, and asked again."""
ROOM_BYTES = 1 << 20
"""A file that keeps room for the manifest on a disk that fills up during the run."""


def check_out_dir(out_dir: str) -> None:
    """Raise UserError for a local folder that cannot be written or made, as far as names and
    permissions tell; writes nothing.
    """
    if io.is_remote(out_dir):
        return
    there = out_dir
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise _cannot_be_written(out_dir, os.strerror(errno.ENOTDIR))
    if not os.access(there, os.W_OK | os.X_OK):
        is_read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        reason = os.strerror(errno.EROFS if is_read_only else errno.EACCES)
        raise _cannot_be_written(out_dir, reason)


def _cannot_be_written(out_dir: str, reason: object) -> UserError:
    return UserError(f"out_dir={out_dir}: cannot be written ({reason}); give a folder that can")


class Run:
    """An open run folder of one attempt of one stage; use as a context manager.

    Raises UserError when the folder cannot be written, another live driver holds it, or the attempt
    fails because the folder is lost: it has vanished, or another has taken it over. Leaving the
    context records how the attempt ended: done, interrupted (KeyboardInterrupt), failed, or
    refused: a UserError before there was anything to do, which leaves a stage what it was.
    """

    def __init__(self, out_dir: str, stage: str) -> None:
        self.out_dir = out_dir
        self.stage = stage
        self.attempt_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
        self.attempt: dict[str, Any] = {
            "attempt_id": self.attempt_id,
            "started": _now(),
            "ended": None,
        }
        self.manifest: dict[str, Any] = {}
        self.lost = threading.Event()
        self._why_lost = ""
        self.interrupted = threading.Event()
        self._handlers: dict[int, Any] = {}
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._telling = Telling(out_dir, stage, self.attempt_id, COMMAND.get())
        self._status_before: str | None = None

    def __enter__(self) -> "Run":
        self._take_lease()
        self._catch_signals()
        self.manifest = read_manifest(self.out_dir) or {
            "schema_version": SCHEMA_VERSION,
            "stages": {},
        }
        self.manifest["versions"] = versions()
        stage = self.manifest["stages"].setdefault(
            self.stage, {"status": "running", "attempts": []}
        )
        if stage["attempts"]:
            self._status_before = stage["status"]
        for earlier in stage["attempts"]:
            if earlier["ended"] is None:
                earlier["status"] = "killed"
                self._status_before = "interrupted"
        stage["status"] = "running"
        self.attempt["status"] = "running"
        stage["attempts"].append(self.attempt)
        self.save()
        self._write_status()
        logging.getLogger("nuggets_ray").addHandler(self._telling)
        self._heart = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._stop.set()
        self._heart.join()
        logging.getLogger("nuggets_ray").removeHandler(self._telling)
        status = self._end_of(error)
        # ending in a hurry can fail in its own ways, which are not why the run ended
        was_cut_short = status == "failed" and self.interrupted.is_set()
        if was_cut_short:
            status = "interrupted"
            logger.warning("while it was interrupted: %s: %s", type(error).__name__, error)
        if not self._is_ours():
            if error is None or isinstance(error, Exception):
                raise UserError(f"out_dir={self.out_dir} {self._why_lost}") from error
            return
        if error is not None and status in ("failed", "refused"):
            self._telling.tell(error=Said(_sentence(error), time.time()))
        self._close_books(status)
        if was_cut_short:
            raise KeyboardInterrupt from error

    def _end_of(self, error: BaseException | None) -> str:
        """How an attempt ended that ends with this."""
        if error is None:
            return "done"
        if isinstance(error, KeyboardInterrupt):
            return "interrupted"
        is_refused = isinstance(error, UserError) and not self._telling.has_begun
        return "refused" if is_refused and self._status_before is not None else "failed"

    def _close_books(self, status: str) -> None:
        """Write how the attempt ended, into the room that was kept for it."""
        io.delete(RunFolder(self.out_dir).room)
        stage_status = self._status_before if status == "refused" else status
        self.manifest["stages"][self.stage]["status"] = stage_status
        self._telling.tell(phase=status, work=self._telling.status.work)
        try:
            self.update(status=status, ended=_now())
        except OSError as error:
            if status == "done":
                raise
            logger.error("manifest.json still says running: it cannot be written (%s)", error)
        self._telling.write()
        io.delete(RunFolder(self.out_dir).lease)

    def tell(self, phase: str | None = None, **values: Any) -> None:
        """Tell who asks from elsewhere what the attempt does: see StageStatus. A new phase is
        logged, and not begun where the folder is lost: FileNotFoundError.
        """
        if phase is not None and phase != self._telling.status.phase:
            if not self._is_ours():
                raise FileNotFoundError(self.out_dir)
            logger.info("%s", phase)
        if self._telling.tell(**values, **({} if phase is None else {"phase": phase})):
            self._write_status()

    def _write_status(self) -> None:
        with self._lock:
            if self._is_ours():
                self._telling.write()

    def update(self, **values: Any) -> None:
        """Set fields of this attempt (num_workers, worker_pids, num_computed, ...) and write the
        manifest.
        """
        with self._lock:
            self.attempt.update(values)
            self.save()

    def save(self) -> None:
        """Write manifest.json, unless the folder is lost: then `lost` is set."""
        with self._lock:
            if self._is_ours():
                write_json(RunFolder(self.out_dir).manifest, self.manifest)

    def set_fingerprint(self, fingerprint: Mapping[str, Any]) -> None:
        """Record what can change a candidate's numbers; UserError when this folder holds scores of
        another.
        """
        recorded = self.manifest.setdefault("fingerprint", {})
        keys = [key for key, value in fingerprint.items() if recorded.get(key, value) != value]
        if keys:
            changes = ", ".join(f"{k} (was {recorded[k]}, now {fingerprint[k]})" for k in keys)
            raise UserError(
                f"out_dir={self.out_dir} holds scores made with another {changes}: "
                "give another out_dir, or the settings it was started with"
            )
        recorded.update(fingerprint)
        self.save()

    def _catch_signals(self) -> None:
        """Ctrl-C and a scheduler's SIGTERM raise KeyboardInterrupt, and set `interrupted` too.

        The exception alone can get lost: Python drops one that is raised within a destructor.
        """

        def interrupt(signum: int, frame: FrameType | None) -> None:
            self.interrupted.set()
            handler = self._handlers[signum]
            if callable(handler):
                handler(signum, frame)
            else:
                raise KeyboardInterrupt

        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.getsignal(number)
                signal.signal(number, interrupt)

    def _take_lease(self) -> None:
        try:
            take_lease(self.out_dir, self.attempt_id, self.stage)
            if not io.is_remote(self.out_dir):
                # random, as a file system that compresses would keep no room for zeros
                io.write_bytes(RunFolder(self.out_dir).room, os.urandom(ROOM_BYTES))
        except OSError as error:
            raise _cannot_be_written(self.out_dir, error.strerror or error) from error

    def _is_ours(self) -> bool:
        if not self.lost.is_set():
            try:
                lease = read_lease(self.out_dir)
            except UserError:  # damaged, which the next sign of life mends
                return True
            # it is there from the start to the end, so without it the folder has been removed
            if lease is None:
                self._why_lost = "has vanished while the run was going: restore it, or give another"
                self.lost.set()
            elif lease.attempt_id != self.attempt_id:
                self._why_lost = (
                    "was taken over while the run was going, by process "
                    f"{lease.pid} on {lease.host}, which goes on: wait for it"
                )
                self.lost.set()
        return not self.lost.is_set()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            began = time.monotonic()
            try:
                with self._lock:
                    if self._is_ours():
                        write_lease(self.out_dir, self.attempt_id, self.stage)
                        self._telling.write()
                took_s = time.monotonic() - began
                if took_s > SLOW_S:
                    logger.warning(
                        "out_dir=%s is slow: a few bytes took %.0f s", self.out_dir, took_s
                    )
            except OSError as error:
                logger.warning(
                    "out_dir=%s: the lease could not be renewed (%s)", self.out_dir, error
                )


def read_manifest(out_dir: str) -> dict[str, Any] | None:
    """The manifest of a run folder, or None where there is none; UserError for one of another
    schema version.
    """
    path = RunFolder(out_dir).manifest
    if not io.exists(path):
        return None
    manifest: dict[str, Any] = io.read_json(path)
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"out_dir={out_dir}: its manifest has schema_version {manifest.get('schema_version')}, "
            "this program writes "
            f"{SCHEMA_VERSION}: use the program that made it, or another out_dir"
        )
    with io.telling_damage(path):
        stages = manifest.setdefault("stages", {})
        for stage in stages.values():
            for attempt in stage["attempts"]:
                str(attempt["attempt_id"]), str(attempt["status"])
    return manifest


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _sentence(error: BaseException) -> str:
    """An error in a line: the user's as it is told, others with their type."""
    if isinstance(error, UserError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__

"""The numbers of a training as TensorBoard's event files."""

import os
import tempfile
import time
from typing import Any

from nuggets_ray import io
from nuggets_ray.finetune.checkpoints import Record

SHOWN = ("loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_s")
"""What is shown of a record, in TensorBoard, a tracker and the status."""


class Events:
    """TensorBoard's event files at a path or URI; those of a store go there at each flush."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._temporary = tempfile.TemporaryDirectory() if io.is_remote(uri) else None
        self._folder = self._temporary.name if self._temporary else io.open_fs(uri)[1]
        self._writer: Any = None

    def start(self, step: int, history: list[Record]) -> None:
        """Begin a file that replaces what earlier ones say of the steps after `step`."""
        # SummaryWriter writes from a thread: when the disk is full that dies, and its queue blocks
        # the driver for ever
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self.close()
        os.makedirs(self._folder, exist_ok=True)
        self._writer = EventsWriter(os.path.join(self._folder, "events"))
        if step:
            log = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(wall_time=time.time(), step=step + 1, session_log=log))
        if self._temporary:
            for record in history:
                self.add(record)

    def add(self, record: Record) -> None:
        """The numbers of one record as scalars."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for key in SHOWN:
            if key in record and self._writer is not None:
                event = Event(
                    wall_time=time.time(), step=record["step"], summary=scalar(key, record[key])
                )
                self._writer.write_event(event)

    def flush(self) -> None:
        """Write what is there."""
        if self._writer is None:
            return
        self._writer.flush()
        if self._temporary:
            for name in os.listdir(self._folder):
                with open(os.path.join(self._folder, name), "rb") as file:
                    io.write_bytes(io.join(self._uri, name), file.read())

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self.flush()
            self._writer.close()
            self._writer = None

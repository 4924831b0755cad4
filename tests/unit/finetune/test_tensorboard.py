"""TensorBoard's event files, and a training whose disk is full; without Ray."""

import errno
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter

from nuggets_ray.finetune.tensorboard import Events


def read_events(folder: Path) -> list[Event]:
    events = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            events.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return events


def test_every_number_is_a_scalar_of_its_step(tmp_path: Path) -> None:
    events = Events(str(tmp_path))
    events.add({"step": 1, "loss": 9.0})  # before the start there is no file
    events.start(4, [])
    events.add({"step": 5, "loss": 0.5, "learning_rate": 0.25, "seconds": 3})
    events.add({"step": 5, "eval_loss": 2.0})
    events.close()
    version, purge, *scalars = read_events(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert (purge.step, purge.session_log.status) == (5, 1)
    found = [(e.step, v.tag, v.simple_value) for e in scalars for v in e.summary.value]
    assert found == [(5, "loss", 0.5), (5, "learning_rate", 0.25), (5, "eval_loss", 2.0)]


def test_a_full_disk_is_an_error_and_blocks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(self: RecordWriter, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    events = Events(str(tmp_path))
    events.start(0, [])
    monkeypatch.setattr(RecordWriter, "write", no_room)
    for step in range(100):  # more than a queue would hold
        with pytest.raises(OSError, match="No space left"):
            events.add({"step": step, "loss": 1.0})
    events.close()

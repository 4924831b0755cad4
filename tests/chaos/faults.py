"""What may happen to a run (chaos.py): each returns whether it struck."""

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos import Chaos

MAX_WAIT_S = 900.0
"""A run that has not ended by then hangs."""


def kill_worker(chaos: "Chaos") -> bool:
    return chaos.signal_a_worker(signal.SIGKILL)


def freeze_worker(chaos: "Chaos") -> bool:
    """Something else has the machine for a few seconds."""
    struck = chaos.signal_a_worker(signal.SIGSTOP)
    time.sleep(3)
    chaos.signal_workers(signal.SIGCONT)
    return struck


def kill_node(chaos: "Chaos") -> bool:
    """A node is lost with all that runs there, and another comes in its place."""
    assert chaos.cluster is not None
    nodes = list(chaos.cluster.worker_nodes)
    chaos.cluster.remove_node(chaos.random.choice(nodes), allow_graceful=False)
    chaos.add_node()
    return True


def kill_head(chaos: "Chaos") -> bool:
    """The cluster is gone, and the driver with it; a new one is started."""
    assert chaos.driver is not None and chaos.cluster is not None
    chaos.cluster.head_node.kill_gcs_server(check_alive=False)
    chaos.cluster.head_node.kill_raylet(check_alive=False)
    chaos.driver.kill()
    chaos.driver.wait()
    chaos.end()
    return True


def kill_driver(chaos: "Chaos") -> bool:
    assert chaos.driver is not None
    chaos.driver.kill()
    return True


def terminate_driver(chaos: "Chaos") -> bool:
    assert chaos.driver is not None
    chaos.driver.terminate()
    chaos.driver.wait(MAX_WAIT_S)
    return True


def interrupt_driver(chaos: "Chaos") -> bool:
    assert chaos.driver is not None
    chaos.driver.send_signal(signal.SIGINT)
    chaos.driver.wait(MAX_WAIT_S)
    return True


def second_driver(chaos: "Chaos") -> bool:
    """The same command once more while the first goes on: one of the two is refused."""
    assert chaos.driver is not None
    other = chaos.start_driver()
    pair = [chaos.driver, other]
    until = time.monotonic() + MAX_WAIT_S
    while time.monotonic() < until and all(one.poll() is None for one in pair):
        time.sleep(0.1)
    going = [one for one in pair if one.poll() is None]
    assert len(going) <= 1, "two drivers on one folder"
    chaos.driver = going[0] if going else other
    return True


def vanish(chaos: "Chaos") -> bool:
    """out_dir is gone for two seconds."""
    if chaos.case.is_in_store or not chaos.out_dir.is_dir():
        return False
    away = chaos.out_dir.with_name("away")
    chaos.out_dir.rename(away)
    time.sleep(2)
    if chaos.out_dir.exists():  # made anew meanwhile: what was there before is kept
        shutil.copytree(chaos.out_dir, away, dirs_exist_ok=True)
        shutil.rmtree(chaos.out_dir)
    away.rename(chaos.out_dir)
    return True


def fill_disk(chaos: "Chaos") -> bool:
    """Nothing can be written for three seconds."""
    if not chaos.has_disk:
        return False
    filling = chaos.out_dir.parent / "filling"
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"0" * 4096)
    time.sleep(3)
    filling.unlink()
    return True


def read_only(chaos: "Chaos") -> bool:
    """The disk refuses to be written to for three seconds."""
    if not chaos.has_disk:
        return False
    for how in ("ro", "rw"):
        remount = ["mount", "-o", f"remount,{how}", str(chaos.out_dir.parent)]
        if subprocess.run(remount, capture_output=True).returncode:
            return False  # a file is open for writing just now
        time.sleep(3 if how == "ro" else 0)
    return True


def refuse(chaos: "Chaos") -> bool:
    """The object store answers 503 or 500 for four seconds."""
    if not chaos.case.is_in_store:
        return False
    chaos.refuses.write_text(chaos.random.choice(["503", "500"]))
    time.sleep(4)
    chaos.refuses.unlink()
    return True


def no_memory(chaos: "Chaos") -> bool:
    """The next call of the stand-in finds no memory."""
    if chaos.case.pause_s is None:
        return False
    asked = chaos.trace.with_name("memory")
    asked.touch()
    until = time.monotonic() + 15
    while asked.exists() and time.monotonic() < until:
        time.sleep(0.05)
    is_taken = not asked.exists()
    asked.unlink(missing_ok=True)
    return is_taken


def short_node(chaos: "Chaos") -> bool:
    """A node is replaced by one whose memory is always full, so that Ray ends what starts there; it
    is replaced in turn after ten seconds."""
    assert chaos.cluster is not None
    chaos.cluster.remove_node(
        chaos.random.choice(list(chaos.cluster.worker_nodes)), allow_graceful=False
    )
    before = set(chaos.cluster.worker_nodes)
    chaos.add_node({"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"})
    time.sleep(10)
    [short] = set(chaos.cluster.worker_nodes) - before
    chaos.cluster.remove_node(short, allow_graceful=False)
    chaos.add_node()
    return True


def jump(chaos: "Chaos") -> bool:
    """The driver's clock goes an hour forward or back, and stays there."""
    if chaos.case.pause_s is None:
        return False
    chaos.trace.with_name("clock").write_text(chaos.random.choice(["3600", "-3600"]))
    return True


FAULTS: dict[str, Callable[["Chaos"], bool]] = {
    "a worker is killed": kill_worker,
    "a worker stands still": freeze_worker,
    "a node is lost": kill_node,
    "the head is lost": kill_head,
    "the driver is killed": kill_driver,
    "SIGTERM": terminate_driver,
    "SIGINT": interrupt_driver,
    "a second driver": second_driver,
    "out_dir vanishes": vanish,
    "the disk is full": fill_disk,
    "the disk is read-only": read_only,
    "the store answers 503 or 500": refuse,
    "a worker has no memory": no_memory,
    "a node has no memory": short_node,
    "the clock jumps": jump,
}
OF_WORKERS = ("a worker is killed", "a worker stands still")
"""Those that need a worker to strike."""

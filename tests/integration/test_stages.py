"""What Ray's processes are to the driver that starts them."""

import os

import psutil


def test_a_signal_to_the_driver_s_group_spares_ray(shared_ray: None) -> None:
    started = psutil.Process().children()
    names = {process.name() for process in started}
    assert {"gcs_server", "raylet"} <= names
    of_ray = [process.pid for process in started if process.name() in ("gcs_server", "raylet")]
    assert all(os.getpgid(pid) != os.getpgid(0) for pid in of_ray)

"""The network interface that one job's processes talk on: loopback where a node holds them all."""

import os

import psutil

LOOPBACK = "127.0.0.1"

INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Left alone, gloo takes the interface of the machine's name, nccl the first that it finds."""


def on_interface_of(address: str) -> None:
    """Let gloo and nccl of this process listen on the interface of `address` alone, unless the
    user has named one.
    """
    name = interface_of(address)
    if name is not None:
        for variable in INTERFACE_VARIABLES:
            os.environ.setdefault(variable, name)


def interface_of(address: str) -> str | None:
    """The name of this machine's interface with that address; None where it has none (NAT)."""
    for name, places in psutil.net_if_addrs().items():
        if any(place.address == address for place in places):
            return str(name)
    return None

"""A Ray of our own, started on this machine for one run, that nobody else can reach or command, and
that tells nobody of itself.

It listens on loopback only, and asks for a token that is drawn for the run: its dashboard agent
runs the commands of whoever reaches it, and other users of the machine reach loopback too.
"""

import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants, services
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

from nuggets_ray.errors import UserError
from nuggets_ray.loopback import LOOPBACK
from nuggets_ray.stages.cluster.address import is_on_loopback_only

logger = logging.getLogger(__name__)

AUTH_MODE = "RAY_AUTH_MODE"
"""disabled, set by the user, is respected: Ray itself asks for a token from 2.59 on."""
USAGE_STATS = "RAY_USAGE_STATS_ENABLED"
"""By default on: Ray would report its usage to its makers."""
ON_LOOPBACK: dict[str, object] = {"_node_ip_address": LOOPBACK}
"""For ray.init, within `closed_doors`."""


@contextmanager
def closed_doors(address: str) -> Iterator[None]:
    """For the time of the context, a Ray that is started here (`address` is local) is closed to
    others and sends no statistics, and a cluster that is closed so, such as that of `make ray-up`,
    is found.

    Ray replaces 127.0.0.1 by the machine's own address where it takes clusters to be possible;
    it reads that, and its way to authenticate, when it is imported.
    """
    given = {}
    if address == "local" and USAGE_STATS not in os.environ:
        given[USAGE_STATS] = "0"
    if address == "local" or is_on_loopback_only(address):
        given[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    if address == "local" and AUTH_MODE not in os.environ:
        given |= {AUTH_MODE: "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    before = {name: os.environ.get(name) for name in given}
    clusters = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = clusters and not given
    _apply(given)
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = clusters
        _apply(before)


@contextmanager
def in_a_session_of_its_own() -> Iterator[None]:
    """Ray's processes that are started within the context get no signal that is meant for the
    driver: `timeout`, a terminal and some schedulers send theirs to the whole process group, and
    Ray shields its processes from SIGINT alone.
    """
    popen = services.ConsolePopen

    class OwnSession(popen):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options, start_new_session=True)

    services.ConsolePopen = OwnSession  # type: ignore[misc]
    try:
        yield
    finally:
        services.ConsolePopen = popen  # type: ignore[misc]


@contextmanager
def told_where_too_busy() -> Iterator[None]:
    """UserError where Ray did not start in the seconds that it gives itself, which only its message
    tells."""
    try:
        yield
    except Exception as error:
        if "timed out during startup" not in str(error):
            raise
        raise UserError(
            "cluster.address=local: Ray did not start here within its 30 s; the load is "
            f"{os.getloadavg()[0]:.0f} on {os.cpu_count()} cores: run the same command again when "
            "the machine is less busy, or name a cluster"
        ) from error


def _apply(variables: Mapping[str, str | None]) -> None:
    """Set them (None: unset), also for the part of Ray that has read them already."""
    if not variables:
        return
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    AuthenticationTokenLoader.instance().reset_cache()
    Config.initialize("")


def warn_if_open() -> None:
    """Say so where Ray has taken another address after all."""
    address = ray.util.get_node_ip_address()
    if address != LOOPBACK:
        logger.warning("Ray listens on %s, which other machines may reach", address)

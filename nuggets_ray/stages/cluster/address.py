"""The address of a cluster: what answers there, told before Ray tries it for minutes."""

import http.client
import socket

import ray

from nuggets_ray.errors import UserError
from nuggets_ray.loopback import LOOPBACK

KNOCK_S = 10.0


def check_address(key: str, address: str) -> None:
    """Raise UserError unless something that may be Ray's own server listens at `address`.

    `key` is cluster.address as given; "auto" stands for the cluster that runs on this machine,
    which Ray finds by itself.
    """
    if address == "auto":
        return
    scheme, _, place = address.rpartition("://")
    host, _, port = place.rstrip("/").rpartition(":")
    if scheme in ("http", "https"):
        raise _dashboard(key, address)
    if not host or not port.isdecimal():
        raise UserError(
            f"{_named(key, address)}: is no address of a cluster: give host:port (6379 is the port "
            "by default), auto or local"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_S).close()
    except (OSError, OverflowError) as error:
        raise unreachable(key, address, error) from error
    if _speaks_http(host.strip("[]"), int(port)):
        raise _dashboard(key, address)


def is_on_loopback_only(address: str) -> bool:
    """Whether a cluster answers at 127.0.0.1 and not at this machine's address, by which Ray would
    replace it.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host not in (LOOPBACK, "localhost"):
        return False
    try:
        socket.create_connection((ray.util.get_node_ip_address(), int(port)), KNOCK_S).close()
    except (OSError, ValueError):
        return True
    return False


def unreachable(key: str, address: str, error: Exception) -> UserError:
    """What to say of an error that came of connecting to `address`."""
    if _lacks_token(error):
        return UserError(
            f"{_named(key, address)}: the cluster asks for a token: set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH to the file that holds it"
        )
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(
        f"{_named(key, address)}: no cluster answers there ({reason}); start one, or take "
        "cluster.address=local"
    )


def _lacks_token(error: BaseException | None) -> bool:
    """Ray tells it by the text of the error that led to the one that it raises."""
    while error is not None:
        if "AuthenticationError" in f"{type(error).__name__}: {error}":
            return True
        error = error.__cause__ or error.__context__
    return False


def _dashboard(key: str, address: str) -> UserError:
    return UserError(
        f"{_named(key, address)}: a dashboard answers there, and a job connects to the port that "
        "`ray start` was given as --port (6379 by default): give host:port of that, or send the "
        "job to the dashboard by `ray job submit`"
    )


def _named(key: str, address: str) -> str:
    return f"RAY_ADDRESS={address}" if key == "auto" else f"cluster.address={address}"


def _speaks_http(host: str, port: int) -> bool:
    """Whether a web server answers, as a dashboard's port does and that of a cluster does not."""
    connection = http.client.HTTPConnection(host, port, timeout=KNOCK_S)
    try:
        connection.request("GET", "/api/version")
        connection.getresponse()
    except (http.client.HTTPException, OSError):
        return False
    finally:
        connection.close()
    return True

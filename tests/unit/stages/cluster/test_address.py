"""What is told of an address before Ray tries it, and of what it raises; no Ray is started."""

import http.server
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from nuggets_ray.config.schema import ClusterConfig
from nuggets_ray.errors import UserError
from nuggets_ray.loopback import LOOPBACK
from nuggets_ray.stages.cluster import address as module
from nuggets_ray.stages.cluster.address import check_address, is_on_loopback_only, unreachable
from nuggets_ray.stages.cluster.own_ray import AUTH_MODE, USAGE_STATS, closed_doors
from nuggets_ray.stages.cluster.workers import connected


@pytest.fixture
def dashboard() -> Iterator[str]:
    """host:port of a web server."""
    server = http.server.HTTPServer((LOOPBACK, 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"{LOOPBACK}:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def grpc() -> Iterator[str]:
    """host:port of a server that speaks HTTP/2, as Ray's own does, and no HTTP/1."""
    listener = socket.create_server((LOOPBACK, 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"\0\0\x18\x04\0\0\0\0\0\0\x04\0@\0\0\0\x05\0@\0\0")

    threading.Thread(target=serve, daemon=True).start()
    yield f"{LOOPBACK}:{listener.getsockname()[1]}"
    listener.close()


def test_a_dashboard_s_port_is_told(dashboard: str) -> None:
    for given in (dashboard, f"http://{dashboard}", f"http://{dashboard}/"):
        with pytest.raises(UserError, match=f"^cluster.address={given}: a dashboard answers there"):
            check_address(given, given)
    with pytest.raises(UserError, match=f"^RAY_ADDRESS={dashboard}: a dashboard answers there"):
        check_address("auto", dashboard)


def test_a_cluster_s_port_is_let_through(grpc: str) -> None:
    check_address(grpc, grpc)
    check_address("auto", "auto")
    with pytest.raises(UserError):  # by http, it is a dashboard's address all the same
        check_address(f"http://{grpc}", f"http://{grpc}")


def test_nothing_listens() -> None:
    given = "127.0.0.1:1"
    with pytest.raises(UserError, match=f"^cluster.address={given}: no cluster answers there"):
        check_address(given, given)


@pytest.mark.parametrize("given", ["somewhere", "127.0.0.1", "127.0.0.1:port", "ray://head"])
def test_what_is_no_address_is_told_its_form(given: str) -> None:
    with pytest.raises(UserError, match=f"^cluster.address={given}: is no address .*host:port"):
        check_address(given, given)


def test_the_environment_s_dashboard_reaches_the_user(
    dashboard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"http://{dashboard}")
    with (
        pytest.raises(UserError, match="^RAY_ADDRESS=http://.* a dashboard answers"),
        connected(ClusterConfig(address="auto")),
    ):
        pass


def test_auto_in_the_environment_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def init(**options: object) -> None:
        asked.append(options["address"])
        raise ConnectionError("Could not find any running Ray instance.\nMore lines.")

    monkeypatch.setattr(module.ray, "init", init)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    told = r"^RAY_ADDRESS=auto: no cluster answers there \(Could not find any .* instance.\); start"
    with pytest.raises(UserError, match=told), connected(ClusterConfig(address="auto")):
        pass
    assert asked == ["auto"]


def test_a_missing_token_is_told() -> None:
    try:
        try:
            raise RuntimeError("... ray.exceptions.AuthenticationError: token is missing")
        except RuntimeError as cause:
            raise ConnectionError("Failed to connect to Ray cluster") from cause
    except ConnectionError as error:
        told = str(unreachable("a:1", "a:1", error))
    assert told.startswith("cluster.address=a:1: the cluster asks for a token")
    other = unreachable("a:1", "a:1", ConnectionError("refused\nmore"))
    assert "no cluster answers there (refused);" in str(other)


def test_a_cluster_on_loopback_only_is_known(grpc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.ray.util, "get_node_ip_address", lambda: "127.0.0.2")
    assert is_on_loopback_only(grpc)
    assert is_on_loopback_only(grpc.replace(LOOPBACK, "localhost"))
    assert not is_on_loopback_only("10.0.0.1:6379")
    monkeypatch.setattr(module.ray.util, "get_node_ip_address", lambda: LOOPBACK)
    assert not is_on_loopback_only(grpc)


def test_doors_are_as_they_were_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import ray_constants
    from ray._raylet import AuthenticationMode, get_authentication_mode

    monkeypatch.delenv(AUTH_MODE, raising=False)
    before, tokens = dict(os.environ), []
    for _ in range(2):
        with closed_doors("local"):
            assert not ray_constants.ENABLE_RAY_CLUSTER
            assert get_authentication_mode() == AuthenticationMode.TOKEN
            tokens.append(os.environ["RAY_AUTH_TOKEN"])
        assert dict(os.environ) == before and ray_constants.ENABLE_RAY_CLUSTER
        assert get_authentication_mode() == AuthenticationMode.DISABLED
    assert len(set(tokens)) == 2 and len(tokens[0]) == 64
    monkeypatch.setenv(AUTH_MODE, "disabled")
    with closed_doors("local"):
        assert get_authentication_mode() == AuthenticationMode.DISABLED
        assert not ray_constants.ENABLE_RAY_CLUSTER
    with closed_doors("10.0.0.1:6379"):
        assert ray_constants.ENABLE_RAY_CLUSTER


def test_a_ray_of_our_own_tells_nobody_of_its_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._common.usage.usage_lib import usage_stats_enabled

    monkeypatch.delenv(USAGE_STATS, raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_CONFIG_PATH", "/nowhere")
    assert usage_stats_enabled()
    with closed_doors("local"):
        assert not usage_stats_enabled()
    with closed_doors("10.0.0.1:6379"):  # whoever started it has decided
        assert usage_stats_enabled()
    monkeypatch.setenv(USAGE_STATS, "1")
    with closed_doors("local"):
        assert usage_stats_enabled()

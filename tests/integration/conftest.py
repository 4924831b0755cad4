"""The one Ray that the jobs of the integration tests run on, as the stages of a pipeline run on the
pipeline's; the address of the object store that they may use; a model that vLLM takes.
"""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nuggets_ray.config.schema import ClusterConfig
from nuggets_ray.stages.cluster.workers import connected


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """The port at which all S3 clients look for a server, those in Ray's workers too."""
    port = _free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield port


@pytest.fixture
def free_port() -> int:
    """One that nobody listens to."""
    return _free_port()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="session", autouse=True)
def shared_ray(s3_port: int) -> Iterator[None]:
    """A local Ray, started as a job starts it; the workers have the environment of this moment."""
    with connected(ClusterConfig(address="local", num_workers=1, object_store_gib=0.3)):
        yield


@pytest.fixture
def vllm_model(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model, with heads that vLLM's attention takes on a CPU."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(tiny_model, tmp_path / "model")
    config = LlamaConfig.from_pretrained(tiny_model, head_dim=32)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"

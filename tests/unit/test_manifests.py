"""docker/*.yaml: fields that KubeRay knows, jobs that there are, pods without privileges."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nuggets_ray.config.compose import load

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"

KUBERAY: dict[str, set[str]] = {
    "RayJob": {
        *("activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy"),
        *("entrypoint", "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "jobId"),
        *("managedBy", "metadata", "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes"),
        *("submissionMode", "submitterConfig", "submitterPodTemplate", "suspend"),
        "ttlSecondsAfterFinished",
    },
    "RayCluster": {
        *("authOptions", "autoscalerOptions", "enableInTreeAutoscaling"),
        *("gcsFaultToleranceOptions", "headGroupSpec", "headServiceAnnotations", "managedBy"),
        *("rayVersion", "suspend", "workerGroupSpecs"),
    },
    "authOptions": {"mode"},
    "autoscalerOptions": {
        *("env", "envFrom", "idleTimeoutSeconds", "image", "imagePullPolicy", "resources"),
        *("securityContext", "upscalingMode", "version", "volumeMounts"),
    },
    "headGroupSpec": {
        *("enableIngress", "headService", "rayStartParams", "serviceType", "template"),
    },
    "workerGroupSpec": {
        *("groupName", "idleTimeoutSeconds", "maxReplicas", "minReplicas", "numOfHosts"),
        *("rayStartParams", "replicas", "scaleStrategy", "suspend", "template"),
    },
}
"""The fields of ray.io/v1, as of KubeRay 1.5.1. An API server drops what it does not know."""


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DOCKER / name).read_text(encoding="utf-8"))
    return document


RAY_JOB, RAY_CLUSTER, COMPOSE = read("rayjob.yaml"), read("raycluster.yaml"), read("compose.yaml")
CLUSTER = RAY_CLUSTER["spec"]
SPOT, ON_DEMAND = ({"karpenter.sh/capacity-type": kind} for kind in ("spot", "on-demand"))


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, template) of head, workers and submitter."""
    yield "submitter", RAY_JOB["spec"]["submitterPodTemplate"]
    yield "head", CLUSTER["headGroupSpec"]["template"]
    for group in CLUSTER["workerGroupSpecs"]:
        yield group["groupName"], group["template"]


def test_every_field_is_one_that_kuberay_knows() -> None:
    assert (RAY_JOB["apiVersion"], RAY_JOB["kind"]) == ("ray.io/v1", "RayJob")
    assert (RAY_CLUSTER["apiVersion"], RAY_CLUSTER["kind"]) == ("ray.io/v1", "RayCluster")
    for kind, given in (
        ("RayJob", RAY_JOB["spec"]),
        ("RayCluster", CLUSTER),
        ("authOptions", CLUSTER["authOptions"]),
        ("autoscalerOptions", CLUSTER["autoscalerOptions"]),
        ("headGroupSpec", CLUSTER["headGroupSpec"]),
        *(("workerGroupSpec", group) for group in CLUSTER["workerGroupSpecs"]),
    ):
        assert given.keys() <= KUBERAY[kind], kind


def test_job_and_cluster_are_the_same_cluster() -> None:
    assert RAY_JOB["spec"]["rayClusterSpec"] == CLUSTER


def test_a_lost_job_goes_on_and_every_request_needs_a_token() -> None:
    assert RAY_JOB["spec"]["backoffLimit"] > 0
    assert CLUSTER["authOptions"] == {"mode": "token"}


def test_the_version_is_the_locked_one() -> None:
    lock = (DOCKER / "requirements-gpu.lock").read_text(encoding="utf-8")
    assert f"\nray=={CLUSTER['rayVersion']} " in lock


def test_the_cluster_scales_on_spot_nodes_and_the_head_is_on_none() -> None:
    assert CLUSTER["enableInTreeAutoscaling"]
    groups = {group["groupName"]: group for group in CLUSTER["workerGroupSpecs"]}
    assert groups["on-demand"]["minReplicas"] >= 1 and groups["spot"]["minReplicas"] == 0
    for group in groups.values():
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    nodes = {name: pod["spec"].get("nodeSelector") for name, pod in pods()}
    assert (nodes["head"], nodes["spot"], nodes["on-demand"]) == (ON_DEMAND, SPOT, ON_DEMAND)


def test_the_entrypoint_is_a_job_with_keys_that_there_are() -> None:
    python, job, *arguments = shlex.split(RAY_JOB["spec"]["entrypoint"])
    place = re.search(r"^WORKDIR (.*)$", (DOCKER / "Dockerfile").read_text("utf-8"), re.M)
    assert python == "python" and place and job.startswith(f"{place[1]}/jobs/")
    assert (ROOT / "jobs" / Path(job).name).is_file()
    config = load(arguments)
    assert config.data.path.startswith("s3://") and config.out_dir.startswith("s3://")
    # null would be decided by the nodes that are there before any GPU is
    assert config.cluster.gpus_per_worker == 1
    groups = CLUSTER["workerGroupSpecs"]
    assert config.cluster.num_workers <= sum(group["maxReplicas"] for group in groups)


@pytest.mark.parametrize("name, pod", list(pods()), ids=lambda value: str(value)[:9])
def test_a_pod_has_no_privilege(name: str, pod: dict[str, Any]) -> None:
    assert pod["metadata"]["labels"] == {"app": "nuggets"}
    user = pod["spec"]["securityContext"]
    image = re.search(r"^USER (\d+):", (DOCKER / "Dockerfile").read_text("utf-8"), re.M)
    assert image and user["runAsUser"] == user["runAsGroup"] == int(image[1])
    assert user["runAsNonRoot"] and user["seccompProfile"] == {"type": "RuntimeDefault"}
    assert name == "head" or pod["spec"]["automountServiceAccountToken"] is False
    for container in pod["spec"]["containers"]:
        confined = container["securityContext"]
        assert confined["allowPrivilegeEscalation"] is False
        assert confined["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
    if name != "submitter":
        assert user["fsGroup"] == user["runAsGroup"]
        writable = {"/home/ray", "/tmp"}
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            mounts = container["volumeMounts"]
            assert {mount["mountPath"] for mount in mounts if not mount.get("readOnly")} == writable
            named = {volume["name"] for volume in pod["spec"]["volumes"]}
            assert {mount["name"] for mount in mounts} <= named


def test_secrets_are_named_and_never_written() -> None:
    (judge,) = (
        volume
        for volume in CLUSTER["headGroupSpec"]["template"]["spec"]["volumes"]
        if volume["name"] == "judge"
    )
    # read by the group that fsGroup gives, and by no other user
    assert judge["secret"]["defaultMode"] == 0o440
    for name in ("rayjob.yaml", "raycluster.yaml", "compose.yaml", "networkpolicy.yaml"):
        text = (DOCKER / name).read_text(encoding="utf-8")
        assert not re.search(r"(KEY|TOKEN|PASSWORD|SECRET)\w*, value:|stringData", text), name


def test_the_pods_reach_each_other_and_the_operator_the_dashboard() -> None:
    policy = read("networkpolicy.yaml")["spec"]
    assert policy["podSelector"] == {"matchLabels": {"app": "nuggets"}}
    pods_alone, operator = policy["ingress"]
    assert pods_alone == {"from": [{"podSelector": policy["podSelector"]}]}
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]


def test_containers_have_no_privilege_and_one_way_in() -> None:
    for service in COMPOSE["services"].values():
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        token = service["environment"]["RAY_AUTH_TOKEN_PATH"]
        assert token == f"/run/secrets/{service['secrets'][0]}"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert COMPOSE["secrets"]["ray_token"].keys() == {"file"}


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_containers_start_ray_with_options_that_it_has(name: str) -> None:
    from ray.scripts.scripts import start

    command = COMPOSE["services"][name]["command"].replace("${NUGGETS_CPUS:-2}", "2")
    ray, verb, *arguments = shlex.split(command)
    assert (ray, verb) == ("ray", "start")
    assert start.make_context("start", arguments).params["block"]


def test_compose_reads_its_file() -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    compose = ["docker", "compose"]
    if subprocess.run([*compose, "version"], capture_output=True).returncode:
        pytest.skip("docker has no compose")
    command = [*compose, "-f", str(DOCKER / "compose.yaml"), "config", "--quiet"]
    ended = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin", "NUGGETS_TOKEN": "x"}, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")

"""`deploy/kubernetes.yaml`: valid by the schemas of Kubernetes, and in step with the gateway's settings."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway import __version__
from gateway.config.proxies import TrustedProxies
from tests.deploy.defaults import LONGEST_STOP, PORT, ROOT, SECRETS, SPARE, USER, default

TEXT = (ROOT / "deploy/kubernetes.yaml").read_text()
OBJECTS: dict[str, Any] = {each["kind"]: each for each in yaml.safe_load_all(TEXT)}
POD = OBJECTS["Deployment"]["spec"]["template"]["spec"]
[GATEWAY] = POD["containers"]
OLDEST = "1.27"


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("version", [OLDEST, "1.32", kubernetes_validate.latest_version()])
def test_kubernetes_takes_it(kind: str, version: str) -> None:
    kubernetes_validate.validate(OBJECTS[kind], version, strict=True)


def test_the_schemas_find_a_mistake() -> None:
    wrong = OBJECTS["Deployment"] | {"spec": {"replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, OLDEST, strict=True)


def test_it_has_all_parts() -> None:
    assert set(OBJECTS) == {
        *("ServiceAccount", "ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "Ingress")
    }
    assert f"Kubernetes {OLDEST} or newer" in TEXT


def test_probes_ask_what_they_are_for() -> None:
    paths = {name: GATEWAY[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    # A pod that is not ready gets no clients. One that does not live starts anew, which mends no store and no bus.
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_the_drain_fits_the_grace_period() -> None:
    [pause] = [float(word) for word in GATEWAY["lifecycle"]["preStop"]["exec"]["command"][1:]]
    assert GATEWAY["lifecycle"]["preStop"]["exec"]["command"][0] == "sleep"
    assert POD["terminationGracePeriodSeconds"] >= pause + LONGEST_STOP + SPARE


def test_its_settings_are_settings_and_the_default_ones() -> None:
    data = OBJECTS["ConfigMap"]["data"]
    assert float(data["GATEWAY_DRAIN_SECONDS"]) == default("GATEWAY_DRAIN_SECONDS")
    assert TrustedProxies(data["GATEWAY_TRUSTED_PROXIES"]).trusts("10.244.3.4")
    for variable in data:
        default(variable)
        assert variable not in SECRETS


def test_secrets_are_references() -> None:
    assert {each for source in GATEWAY["envFrom"] for each in source} == {"configMapRef", "secretRef"}
    assert "Secret" not in OBJECTS
    for variable in SECRETS:
        assert f"--from-literal={variable}=" in TEXT


def test_the_pod_has_no_rights() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["runAsUser"] == POD["securityContext"]["fsGroup"] == USER
    assert POD["automountServiceAccountToken"] is False
    assert GATEWAY["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in GATEWAY["volumeMounts"]] == ["/data"]


def test_all_parts_mean_the_same_pods_port_and_image() -> None:
    labels = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert OBJECTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert OBJECTS["Service"]["spec"]["selector"] == labels
    assert OBJECTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert OBJECTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    [port] = GATEWAY["ports"]
    assert port == {"name": "http", "containerPort": PORT}
    assert OBJECTS["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert GATEWAY["image"] == f"json-gateway:{__version__}"


def test_one_node_leaves_at_a_time() -> None:
    spec = OBJECTS["Deployment"]["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert OBJECTS["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_a_proxy_does_not_cut_a_quiet_connection() -> None:
    annotations = OBJECTS["Ingress"]["metadata"]["annotations"]
    quiet = float(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"])
    assert quiet >= 2 * default("GATEWAY_HEARTBEAT_SECONDS")

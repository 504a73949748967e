"""The programs of the control plane and of the node: how each is started, and how it shows that it
is well.
"""

import json
from dataclasses import dataclass

from tests.cluster import credentials, network, programs, runtime
from tests.cluster.credentials import NODE
from tests.cluster.network import NODE_ADDRESS
from tests.cluster.state import NAME, STATE, write

_ETCD = "http://127.0.0.1:2379"
_KUBELET = STATE / "kubelet.json"
_COREFILE = STATE / "Corefile"


@dataclass(frozen=True)
class Component:
    """A program, and the address that answers once it is ready."""

    name: str
    argv: list[str]
    health: str


def stages() -> list[list[Component]]:
    """Return all components; those of a stage start together, when those of the stages before are
    ready.
    """
    return [
        [_containerd(), _etcd()],
        [_api_server()],
        [_controller_manager(), _scheduler(), _kubelet(), _kube_proxy(), _coredns()],
    ]


def configure() -> None:
    """Write the configuration files of those that are not content with arguments."""
    write(_KUBELET, json.dumps(_KUBELET_CONFIGURATION, indent=2))
    write(_COREFILE, _CORE)


def _component(name: str, health: str, *arguments: str) -> Component:
    return Component(name, [str(programs.folder() / "cluster"), name, *arguments], health)


def _containerd() -> Component:
    return Component(
        "containerd", ["containerd", f"--config={runtime.CONFIG}"], str(runtime.SOCKET)
    )


def _etcd() -> Component:
    return _component(
        "etcd",
        f"{_ETCD}/health",
        f"--data-dir={STATE}/etcd",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--log-level=warn",
        # Nobody needs these data after the machine has crashed.
        "--unsafe-no-fsync",
    )


def _api_server() -> Component:
    return _component(
        "kube-apiserver",
        f"{credentials.SERVER}/readyz",
        f"--advertise-address={NODE_ADDRESS}",
        "--allow-privileged",
        "--authorization-mode=Node,RBAC",
        f"--cert-dir={credentials.SERVER_CERTS}",
        "--enable-admission-plugins=NodeRestriction",
        f"--etcd-servers={_ETCD}",
        f"--kubelet-client-certificate={credentials.KUBELET_CLIENT_CERT}",
        f"--kubelet-client-key={credentials.KUBELET_CLIENT_KEY}",
        "--kubelet-preferred-address-types=InternalIP",
        "--secure-port=6443",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={credentials.SERVICE_ACCOUNT_KEY}",
        f"--service-account-signing-key-file={credentials.SERVICE_ACCOUNT_KEY}",
        f"--service-cluster-ip-range={network.SERVICES}",
        f"--token-auth-file={credentials.TOKENS}",
    )


def _controller_manager() -> Component:
    return _component(
        "kube-controller-manager",
        "https://127.0.0.1:10257/healthz",
        "--bind-address=127.0.0.1",
        # By default 20 requests a second, which are four Jobs: clusters in which many run have
        # more.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        f"--kubeconfig={credentials.kubeconfig('kube-controller-manager')}",
        "--leader-elect=false",
        f"--root-ca-file={credentials.SERVER_CERT}",
        f"--service-account-private-key-file={credentials.SERVICE_ACCOUNT_KEY}",
        "--use-service-account-credentials",
    )


def _scheduler() -> Component:
    return _component(
        "kube-scheduler",
        "https://127.0.0.1:10259/healthz",
        "--bind-address=127.0.0.1",
        f"--kubeconfig={credentials.kubeconfig('kube-scheduler')}",
        "--leader-elect=false",
    )


def _kubelet() -> Component:
    return _component(
        "kubelet",
        "http://127.0.0.1:10248/healthz",
        f"--cert-dir={STATE}/kubelet-certificates",
        f"--config={_KUBELET}",
        f"--hostname-override={NODE}",
        f"--kubeconfig={credentials.kubeconfig('kubelet')}",
        f"--node-ip={NODE_ADDRESS}",
        f"--root-dir={STATE}/kubelet",
    )


def _kube_proxy() -> Component:
    return _component(
        "kube-proxy",
        "http://127.0.0.1:10256/healthz",
        f"--cluster-cidr={network.PODS}",
        # It may not write these settings inside a network namespace; 0 leaves them alone.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-close-wait=0s",
        "--conntrack-tcp-timeout-established=0s",
        "--healthz-bind-address=127.0.0.1:10256",
        f"--hostname-override={NODE}",
        f"--kubeconfig={credentials.kubeconfig('kube-proxy')}",
        "--oom-score-adj=0",
        "--proxy-mode=iptables",
    )


def _coredns() -> Component:
    return _component("coredns", "http://127.0.0.1:8181/ready", f"-conf={_COREFILE}")


_KUBELET_CONFIGURATION = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "address": NODE_ADDRESS,
    "authentication": {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": str(credentials.KUBELET_CLIENT_CA)},
    },
    "authorization": {"mode": "Webhook"},
    "cgroupDriver": "cgroupfs",
    "cgroupRoot": f"/{NAME}",
    "clusterDNS": [NODE_ADDRESS],
    "clusterDomain": "cluster.local",
    "containerRuntimeEndpoint": f"unix://{runtime.SOCKET}",
    # A disk that others have filled is no reason to evict a test's pods, nor to throw images away
    # that nobody can pull.
    "evictionHard": {
        "memory.available": "100Mi",
        "nodefs.available": "1%",
        "imagefs.available": "1%",
    },
    "imageGCHighThresholdPercent": 100,
    "failCgroupV1": False,
    "failSwapOn": False,
    "oomScoreAdj": 0,
    "podLogsDir": str(STATE / "pods"),
    # Pods find the cluster's names only: there is no network beyond.
    "resolvConf": "",
    "serializeImagePulls": False,
    "volumePluginDir": str(STATE / "volume-plugins"),
}

_CORE = f"""\
.:53 {{
    errors
    health 127.0.0.1:8080
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {credentials.kubeconfig("coredns")}
    }}
    cache 30 {{
        disable success cluster.local
        disable denial cluster.local
    }}
}}
"""

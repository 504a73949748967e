"""Who may talk to whom: a token for each component and the administrator, keys, and the files that
hold them.

The API server signs its own certificate, and that file also serves as the authority that clients
and pods trust.
"""

import json
import secrets
from pathlib import Path

from tests.cluster.network import NODE_ADDRESS
from tests.cluster.progress import run
from tests.cluster.state import KUBECONFIG, STATE, new_folder, write

NODE = "node"
SERVER = f"https://{NODE_ADDRESS}:6443"

FOLDER = STATE / "credentials"
TOKENS = FOLDER / "tokens.csv"
SERVICE_ACCOUNT_KEY = FOLDER / "service-accounts.key"
# The kubelet knows the API server by this authority and certificate: that is what `kubectl logs`
# and `exec` need.
KUBELET_CLIENT_CA = FOLDER / "kubelet-clients.crt"
KUBELET_CLIENT_CERT = FOLDER / "kubelet-client.crt"
KUBELET_CLIENT_KEY = FOLDER / "kubelet-client.key"
SERVER_CERTS = STATE / "kube-apiserver"
SERVER_CERT = SERVER_CERTS / "apiserver.crt"

# User and groups: the names that Kubernetes' own roles are bound to.
_USERS = {
    "admin": ("admin", "system:masters"),
    "coredns": ("system:coredns", ""),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NODE}", "system:nodes"),
}


def ensure() -> None:
    """Make keys, tokens and kubeconfigs, once a cluster."""
    if not FOLDER.exists():
        with new_folder(FOLDER) as new:
            new.chmod(0o700)
            _make_keys(new)
            tokens = {name: secrets.token_hex(16) for name in _USERS}
            _write_tokens(new, tokens)
            for name, token in tokens.items():
                write(new / f"{name}.kubeconfig", _kubeconfig(name, token), 0o600)
    write(KUBECONFIG, kubeconfig("admin").read_text(), 0o600)


def kubeconfig(name: str) -> Path:
    """Return a component's kubeconfig."""
    return FOLDER / f"{name}.kubeconfig"


def token(name: str) -> str:
    """Return a component's token."""
    return str(json.loads(kubeconfig(name).read_text())["users"][0]["user"]["token"])


def _make_keys(folder: Path) -> None:
    ca, ca_key = folder / KUBELET_CLIENT_CA.name, folder / "kubelet-clients.key"
    cert, key = folder / KUBELET_CLIENT_CERT.name, folder / KUBELET_CLIENT_KEY.name
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    new += ["-noenc", "-days", "3650"]
    run([*new, "-subj", "/CN=kubelet-clients", "-keyout", ca_key, "-out", ca])
    may = [
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-addext",
        "extendedKeyUsage=clientAuth",
    ]
    signed = [
        *new,
        "-subj",
        "/O=system:masters/CN=kube-apiserver",
        "-CA",
        str(ca),
        "-CAkey",
        str(ca_key),
        *may,
    ]
    run([*signed, "-keyout", key, "-out", cert])
    account = folder / SERVICE_ACCOUNT_KEY.name
    run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", account])


def _write_tokens(folder: Path, tokens: dict[str, str]) -> None:
    lines = [
        f'{value},{_USERS[name][0]},{name},"{_USERS[name][1]}"\n' for name, value in tokens.items()
    ]
    write(folder / TOKENS.name, "".join(lines), 0o600)


def _kubeconfig(user: str, value: str) -> str:
    name = "dbt-operator"
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": name,
                    "cluster": {"server": SERVER, "certificate-authority": str(SERVER_CERT)},
                }
            ],
            "users": [{"name": user, "user": {"token": value}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "current-context": name,
        },
        indent=2,
    )

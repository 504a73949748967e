"""Fresh certificates and keys for the servers of tests, made by openssl and ssh-keygen."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.kube import command

_DAYS = "2"


@dataclass(frozen=True)
class Tls:
    """PEM texts."""

    ca: str
    certificate: str  # signed by it
    key: str


@dataclass(frozen=True)
class SshKey:
    private: str
    public: str


def tls(*hosts: str) -> Tls:
    """A certificate for host names or IP addresses, and the CA that it is from."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ",".join(f"IP:{host}" if host[0].isdigit() else f"DNS:{host}" for host in hosts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ca = ["-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt"]
        command("openssl", "req", "-x509", *curve, "-days", _DAYS, "-subj", "/CN=tests", *ca)
        request = ["-keyout", f"{folder}/key", "-out", f"{folder}/request"]
        command("openssl", "req", "-new", *curve, "-subj", f"/CN={hosts[0]}", *request)
        (folder / "extensions").write_text(f"subjectAltName={names}\n")
        command(
            "openssl", "x509", "-req", "-days", _DAYS,
            "-in", f"{folder}/request", "-out", f"{folder}/crt",
            "-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key", "-CAcreateserial",
            "-extfile", f"{folder}/extensions",
        )  # fmt: skip
        return Tls(
            (folder / "ca.crt").read_text(),
            (folder / "crt").read_text(),
            (folder / "key").read_text(),
        )


def ssh_key() -> SshKey:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key"
        command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", str(path))
        return SshKey(path.read_text(), path.with_suffix(".pub").read_text())

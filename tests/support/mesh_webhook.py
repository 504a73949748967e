"""Answers AdmissionReviews of pods: adds a container that lives until SIGTERM.

Runs in a pod, by the standard library alone; its argument is the folder with the certificate.
"""

from __future__ import annotations

import base64
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_SLEEP = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
    "[signal.pause() for _ in iter(int, 1)]"
)


class Webhook(BaseHTTPRequestHandler):
    """Injects the container, in the image of the pod's first one."""

    def do_POST(self) -> None:
        """Answer a review."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        container = {
            "name": "mesh-proxy",
            "image": request["object"]["spec"]["containers"][0]["image"],
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", _SLEEP],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
        patch = json.dumps([{"op": "add", "path": "/spec/containers/-", "value": container}])
        answer = {
            "uid": request["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(patch.encode()).decode(),
        }
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        body = json.dumps(review | {"response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(folder: Path) -> None:
    """Serve until killed."""
    server = ThreadingHTTPServer(("0.0.0.0", 8443), Webhook)  # noqa: S104 -- in a pod
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""A stand-in for a Kubernetes cluster: its API on loopback, as far as Snakemake's executor uses it, and one node that
runs each job's container as a process.

What a real cluster refuses is refused: a mount without its volume, a GPU without a limit, a secret that is not there,
the log of a previous container where none was restarted. Each pod has its own empty work folder in place of the
volume `workdir`; a persistent volume is the folder of the same path on this machine.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Document = dict[str, Any]
TOKEN = "token-of-the-test"


@dataclass
class Refused(Exception):
    """What the API server answers instead: an HTTP status and a message."""

    status: int
    message: str


@dataclass
class Pod:
    job: Document
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def name(self) -> str:
        return f"{self.job['metadata']['name']}-x7k2p"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def exit_code(self) -> int | None:
        """None while it runs; 128 + n after signal n, as a container runtime reports it."""
        code = self.process.poll()
        return code if code is None or code >= 0 else 128 - code

    def kill(self) -> None:
        """As the node kills a container that takes too much memory."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Cluster:
    """namespace: the only one there is; environment: of the image, in which each container starts."""

    namespace: str
    environment: dict[str, str]
    folder: Path
    submitted: list[Document] = field(default_factory=list)
    secrets: dict[str, Document] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)  # by name of the job
    deleted: list[str] = field(default_factory=list)
    calls: set[tuple[str, str]] = field(default_factory=set)  # resource, verb
    lock: threading.Lock = field(default_factory=threading.Lock)

    # ---- verbs -------------------------------------------------------------------------------------------------------
    def create_secret(self, body: Document) -> Document:
        for value in (body.get("data") or {}).values():
            base64.b64decode(value, validate=True)
        self.secrets[body["metadata"]["name"]] = body
        return body

    def delete_secret(self, name: str) -> Document:
        if self.secrets.pop(name, None) is None:
            raise Refused(404, f'secrets "{name}" not found')
        return {"kind": "Status", "status": "Success"}

    def create_job(self, body: Document) -> Document:
        name = body["metadata"]["name"]
        if name in self.pods:
            raise Refused(409, f'jobs.batch "{name}" already exists')
        container = self._valid_container(body)
        folder = Path(tempfile.mkdtemp(prefix="pod-", dir=self.folder))
        work = folder / "workdir"
        work.mkdir()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*container["command"], *container["args"]],
                cwd=work,
                env=self.environment | self._variables(container),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.submitted.append(body)
        self.pods[name] = Pod(body, folder, process)
        return body

    def job_status(self, name: str) -> Document:
        pod = self._pod(name)
        code = pod.exit_code()
        counts = {"active": 1} if code is None else {"succeeded": 1} if code == 0 else {"failed": 1}
        return pod.job | {"status": counts}

    def list_jobs(self, selector: str) -> Document:
        key, value = selector.split("=")
        chosen = [pod.job for pod in self.pods.values() if pod.job["metadata"]["labels"].get(key) == value]
        return {"kind": "JobList", "apiVersion": "batch/v1", "items": chosen}

    def delete_jobs(self, query: dict[str, list[str]]) -> Document:
        for job in self.list_jobs(query["labelSelector"][0])["items"]:
            self.delete_job(job["metadata"]["name"])
        return {"kind": "Status", "status": "Success"}

    def list_pods(self, selector: str) -> Document:
        name = selector.removeprefix("job-name=")
        items = [self._pod_document(self.pods[name])] if name in self.pods else []
        return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}

    def pod_log(self, name: str, container: str, previous: bool) -> str:
        pod = next((pod for pod in self.pods.values() if pod.name == name), None)
        if pod is None:
            raise Refused(404, f'pods "{name}" not found')
        if previous:  # the kubelet's words; restartPolicy is Never, so there is no previous container
            raise Refused(400, f'previous terminated container "{container}" in pod "{name}" not found')
        return pod.log

    def delete_job(self, name: str) -> Document:
        with self.lock:
            pod = self._pod(name)
            pod.kill()
            shutil.rmtree(pod.folder)  # and with it the volume `workdir`
            del self.pods[name]
        self.deleted.append(name)
        return {"kind": "Status", "status": "Success"}

    # ---- for tests ---------------------------------------------------------------------------------------------------
    def evict(self, name: str) -> None:
        """As a node that goes away: the pod disappears, its job counts as failed."""
        pod = self._pod(name)
        pod.job["evicted"] = True  # first: the plugin may ask in between
        pod.kill()
        shutil.rmtree(pod.folder / "workdir")

    def container_of(self, rule: str) -> list[Document]:
        """The containers of a rule's jobs, in the order in which they were submitted."""
        containers = [job["spec"]["template"]["spec"]["containers"][0] for job in self.submitted]
        return [entry for entry in containers if re.search(rf"--allowed-rules '?{rule}\b", entry["args"][1])]

    # ---- how -----------------------------------------------------------------------------------------------------
    def _pod(self, job: str) -> Pod:
        if job not in self.pods:
            raise Refused(404, f'jobs.batch "{job}" not found')
        return self.pods[job]

    def _pod_document(self, pod: Pod) -> Document:
        code = pod.exit_code()
        state = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
        status = {"name": "snakemake", "image": "", "imageID": "", "ready": True, "restartCount": 0, "state": state}
        statuses = None if pod.job.get("evicted") else [status]
        return {"metadata": {"name": pod.name}, "status": {"containerStatuses": statuses}}

    def _variables(self, container: Document) -> dict[str, str]:
        """The container's environment variables, from their secrets."""
        variables = {}
        for entry in container.get("env") or []:
            reference = entry["valueFrom"]["secretKeyRef"]
            secret = self.secrets.get(reference["name"], {}).get("data") or {}
            if reference["key"] not in secret:
                raise Refused(422, f"secret {reference['name']}: no key {reference['key']}")
            variables[entry["name"]] = base64.b64decode(secret[reference["key"]]).decode()
        return variables

    def _valid_container(self, job: Document) -> Document:
        """The only container of a job; Refused as an API server refuses a manifest."""
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        if pod["restartPolicy"] not in ("Never", "OnFailure"):
            raise Refused(422, "spec.template.spec.restartPolicy: Required value: OnFailure or Never")
        if not container.get("image"):
            raise Refused(422, "spec.template.spec.containers[0].image: Required value")
        volumes = [volume["name"] for volume in pod["volumes"]]
        if len(set(volumes)) < len(volumes):
            raise Refused(422, "spec.template.spec.volumes: Duplicate value")
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                raise Refused(422, f"spec.template.spec.containers[0].volumeMounts: Not found: {mount['name']}")
        limits, requests = (container["resources"].get(name) or {} for name in ("limits", "requests"))
        for name, value in requests.items():
            if "/" in name and limits.get(name) != value:
                raise Refused(422, f"resources.requests: {name}: Limit must be set for non overcommitable resources")
        return container


@contextmanager
def serve(cluster: Cluster) -> Iterator[Path]:
    """The API on loopback; gives the kubeconfig that leads to it. At the end what still runs is killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kubeconfig = cluster.folder / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "test", "user": {"token": TOKEN}}],
            }
        )
    )
    try:
        yield kubeconfig
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for pod in cluster.pods.values():
            pod.kill()


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    core, batch = f"/api/v1/namespaces/{cluster.namespace}", f"/apis/batch/v1/namespaces/{cluster.namespace}"
    one = "/(?P<name>[^/]+)"
    routes: list[tuple[str, str, tuple[str, str], Callable[..., Any]]] = [
        ("POST", f"{core}/secrets", ("secrets", "create"), lambda body, _: cluster.create_secret(body)),
        ("DELETE", f"{core}/secrets{one}", ("secrets", "delete"), lambda _, __, name: cluster.delete_secret(name)),
        ("POST", f"{batch}/jobs", ("jobs", "create"), lambda body, _: cluster.create_job(body)),
        ("GET", f"{batch}/jobs", ("jobs", "list"), lambda _, query: cluster.list_jobs(query["labelSelector"][0])),
        ("DELETE", f"{batch}/jobs", ("jobs", "deletecollection"), lambda _, query: cluster.delete_jobs(query)),
        ("GET", f"{batch}/jobs{one}/status", ("jobs/status", "get"), lambda _, __, name: cluster.job_status(name)),
        ("DELETE", f"{batch}/jobs{one}", ("jobs", "delete"), lambda _, __, name: cluster.delete_job(name)),
        ("GET", f"{core}/pods", ("pods", "list"), lambda _, query: cluster.list_pods(query["labelSelector"][0])),
        # a pod ends with its job, which the plugin deletes next
        ("DELETE", f"{core}/pods{one}", ("pods", "delete"), lambda _, __, name: {"metadata": {"name": name}}),
        (
            "GET",
            f"{core}/pods{one}/log",
            ("pods/log", "get"),
            lambda _, query, name: cluster.pod_log(name, query["container"][0], query.get("previous") == ["True"]),
        ),
    ]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Says nothing: pytest shows the test's own output."""

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else {}
            parts = urlsplit(self.path)
            try:
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    raise Refused(401, "Unauthorized")
                for method, pattern, call, verb in routes:
                    matched = re.fullmatch(pattern, parts.path)
                    if method == self.command and matched:
                        cluster.calls.add(call)
                        self._send(200, verb(body, parse_qs(parts.query), **matched.groupdict()))
                        return
                raise Refused(404, f"the server could not find the requested resource: {self.command} {self.path}")
            except Refused as refusal:
                status = {"kind": "Status", "status": "Failure", "message": refusal.message, "code": refusal.status}
                self._send(refusal.status, status)

        do_GET = do_POST = do_DELETE = answer

        def _send(self, status: int, answer: Any) -> None:
            plain = isinstance(answer, str)
            content = (answer if plain else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if plain else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler

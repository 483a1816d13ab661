"""Named TPUs against a server on loopback that answers as the Cloud TPU API does."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import tensorflow as tf
from cloud_tpu_client import client as cloud_client
from google.auth.credentials import AnonymousCredentials

from kosplinter_common.cli import InputError
from pretraining.training.tpu_cluster import resolve_tpu

HEALTHY = {"state": "READY", "health": "HEALTHY", "tensorflowVersion": tf.__version__}
NODE = "projects/some-project/locations/some-zone/nodes/some-tpu"


class Api:
    """The TPU node's answers, the last one for ever, and what it was asked for."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = [HEALTHY]
        self.status = 200
        self.known_versions = {tf.__version__}
        self.switches: list[str] = []
        self.after_switch: list[dict[str, Any]] = [HEALTHY]
        self.silence = threading.Event()
        self.silent = False

    def node(self) -> dict[str, Any]:
        node = self.nodes.pop(0) if len(self.nodes) > 1 else self.nodes[0]
        return {"name": NODE, "networkEndpoints": [{"ipAddress": "127.0.0.1", "port": 8470}], **node}

    def switch(self, version: str) -> int:
        self.switches.append(version)
        if version.split("?")[0] not in self.known_versions:
            return 404
        self.nodes = self.after_switch
        return 200


def _handler(api: Api) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if api.silent:
                api.silence.wait(20)
            elif self.path.startswith("/discovery/tpu/v1"):
                self._send(200, _discovery(self.server.server_port))
            elif self.path.startswith(f"/v1/{NODE}"):
                self._send(api.status, api.node() if api.status == 200 else {"error": {"message": "not found"}})
            else:
                self._send(404, {})

        def do_POST(self) -> None:
            self._send(api.switch(self.path.removeprefix("/requestversion/")), {})

        def _send(self, status: int, body: dict[str, Any]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _discovery(port: int) -> dict[str, Any]:
    """The part of the API's discovery document that the client walks: projects().locations().nodes().get(name)."""
    name = {"type": "string", "location": "path", "required": True, "pattern": "^projects/.*$"}
    get = {"id": "tpu.get", "path": "v1/{+name}", "httpMethod": "GET", "parameters": {"name": name}}
    get |= {"parameterOrder": ["name"], "response": {"$ref": "Node"}}
    locations = {"resources": {"nodes": {"methods": {"get": get}}}}
    return {
        "name": "tpu",
        "version": "v1",
        "rootUrl": f"http://127.0.0.1:{port}/",
        "servicePath": "",
        "schemas": {"Node": {"id": "Node", "type": "object"}},
        "resources": {"projects": {"resources": {"locations": locations}}},
    }


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    api = Api()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(api))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("TPU_API_DISCOVERY_URL", root + "/discovery/{api}/{apiVersion}")
    monkeypatch.setattr(cloud_client, "_VERSION_SWITCHER_ENDPOINT", root.replace("127.0.0.1", "{}") + "/requestversion")
    monkeypatch.setattr(cloud_client.client.GoogleCredentials, "get_application_default", AnonymousCredentials)
    yield api
    api.silence.set()
    server.shutdown()
    server.server_close()


def resolve(limit: float = 0.2) -> tf.distribute.cluster_resolver.TPUClusterResolver:
    return resolve_tpu("some-tpu", "some-zone", "some-project", time_limit_seconds=limit, poll_seconds=0.02)


def test_a_healthy_tpu_of_the_same_version_is_taken_as_it_is(api: Api) -> None:
    assert resolve().master() == "grpc://127.0.0.1:8470"
    assert api.switches == []


def test_an_unhealthy_tpu_is_waited_for(api: Api) -> None:
    sick = {**HEALTHY, "health": "UNHEALTHY_TENSORFLOW"}
    api.nodes = [sick] * 8 + [HEALTHY]
    assert resolve(limit=20).master() == "grpc://127.0.0.1:8470"


def test_the_wait_for_health_ends_with_what_was_found(api: Api) -> None:
    api.nodes = [{**HEALTHY, "state": "REPAIRING", "health": "TIMEOUT"}]
    with pytest.raises(InputError, match=r"some-tpu: found state REPAIRING and health TIMEOUT after 0\.2 s"):
        resolve()


@pytest.mark.parametrize("state", ["PREEMPTED", "TERMINATED"])
def test_a_lost_tpu_is_not_waited_for(api: Api, state: str) -> None:
    api.nodes = [{**HEALTHY, "state": state, "health": "UNHEALTHY"}]
    with pytest.raises(InputError, match=f"found state {state}, expected READY: create it again"):
        resolve(limit=1000)


def test_a_tpu_that_is_lost_while_waited_for_is_called_lost(api: Api) -> None:
    sick = {**HEALTHY, "health": "UNHEALTHY"}
    api.nodes = [sick, sick, {**sick, "state": "PREEMPTED"}]
    with pytest.raises(InputError, match="found state PREEMPTED"):
        resolve()


def test_another_version_is_switched_and_the_restart_waited_for(api: Api) -> None:
    api.nodes = [{**HEALTHY, "tensorflowVersion": "2.9.1"}]
    api.after_switch = [{**HEALTHY, "state": "RESTARTING", "health": "UNHEALTHY"}] * 3 + [HEALTHY]
    assert resolve(limit=20).master() == "grpc://127.0.0.1:8470"
    assert api.switches == [f"{tf.__version__}?restartType=ifNeeded"]
    assert api.after_switch == [HEALTHY]


def test_a_version_that_the_tpu_does_not_have_is_named(api: Api) -> None:
    api.nodes = [{**HEALTHY, "tensorflowVersion": "2.9.1"}]
    api.known_versions = set()
    with pytest.raises(InputError, match=rf"some-tpu.*{tf.__version__} is not available"):
        resolve()


def test_an_unknown_tpu_is_named(api: Api) -> None:
    api.status = 404
    with pytest.raises(InputError, match=r"--tpu_name=some-tpu: .*--tpu_zone and --gcp_project"):
        resolve()


def test_an_api_that_does_not_answer_ends_the_run(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.silent = True
    monkeypatch.setattr("socket.getdefaulttimeout", lambda: 0.2)
    with pytest.raises(InputError, match=r"found no good answer from the Cloud TPU API.*timed? ?out"):
        resolve()


@pytest.mark.parametrize(("name", "master"), [("local", ""), ("grpc://10.0.0.2:8470", "grpc://10.0.0.2:8470")])
def test_without_a_name_no_package_and_no_api_are_needed(
    monkeypatch: pytest.MonkeyPatch, name: str, master: str
) -> None:
    monkeypatch.setitem(sys.modules, "cloud_tpu_client", None)
    assert resolve_tpu(name).master() == master


def test_a_named_tpu_without_the_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloud_tpu_client", None)
    with pytest.raises(InputError, match="found no package cloud-tpu-client"):
        resolve()

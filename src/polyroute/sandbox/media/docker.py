"""Docker's engine: containers whose names tell how they are, until they are started or stopped."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.exchange import Exchange, Json, Reply, Whole, json_reply
from polyroute.sandbox.media.call import answered, number
from polyroute.sandbox.route import Route, route

_STATES = ("created", "running", "paused", "restarting", "exited", "dead", "starting", "unhealthy", "bare")
_NEVER = "0001-01-01T00:00:00Z"
_STARTED = "2026-11-20T09:00:00.1Z"
_LISTED = ("whisper-running", "chatterbox-exited", "comfyui-starting")
_WARM_UP = 0.3


class Container(msgspec.Struct):
    """One container. `started` is when it was started here, by the desk's clock; None for how it was found."""

    name: str
    state: str
    started: float | None = None


def _find(exchange: Exchange, name: str) -> Container:
    name = name.lstrip("/")
    kept = exchange.memory.find("containers", name)
    if isinstance(kept, Container):
        return kept
    if "missing" in name:
        raise answered({"message": f"No such container: {name}"}, 404)
    ending = name.rpartition("-")[2]
    container = Container(name, ending if ending in _STATES else "exited")
    exchange.memory.keep("containers", name, container)
    return container


def _health(exchange: Exchange, container: Container) -> str | None:
    """The health, None without a health check or when it does not run."""
    if container.state in ("starting", "unhealthy"):
        return container.state
    if container.state != "running":
        return None
    if container.started is None:
        return "healthy"
    warm = exchange.desk.now() - container.started >= _WARM_UP
    return "healthy" if warm else "starting"


def _status(container: Container) -> str:
    return "running" if container.state in ("starting", "unhealthy", "bare") else container.state


def _identity(container: Container) -> str:
    return hashlib.sha256(container.name.encode()).hexdigest()


def _inspected(exchange: Exchange, container: Container) -> Json:
    status, health = _status(container), _health(exchange, container)
    runs, ended = status in ("running", "paused", "restarting"), status in ("exited", "dead")
    state: Json = {
        "Status": status,
        "Running": runs,
        "Paused": status == "paused",
        "Restarting": status == "restarting",
    }
    state |= {"OOMKilled": False, "Dead": status == "dead", "Pid": 812 if runs else 0, "ExitCode": 137 if ended else 0}
    state |= {"Error": "", "StartedAt": _NEVER if status == "created" else _STARTED}
    state["FinishedAt"] = _STARTED if ended else _NEVER
    if health is not None:
        code = {"healthy": 0}.get(health, 1)
        probe = {"Start": _STARTED, "End": _STARTED, "ExitCode": code, "Output": "" if code == 0 else "curl: (7)"}
        state["Health"] = {"Status": health, "FailingStreak": code * 3, "Log": [probe]}
    config = {"Image": f"{container.name}:latest", "Tty": False, "Labels": {}}
    value: Json = {"Id": _identity(container), "Name": f"/{container.name}", "State": state, "Config": config}
    value["RestartCount"] = 7 if status == "restarting" else 0
    value |= {
        "HostConfig": {"RestartPolicy": {"Name": "unless-stopped"}},
        "NetworkSettings": {"Ports": {}, "Networks": {}},
    }
    return value


def answer_inspect(exchange: Exchange) -> Reply:
    """`GET /containers/{name}/json`."""
    return json_reply(_inspected(exchange, _find(exchange, exchange.groups["name"])))


def answer_list(exchange: Exchange) -> Reply:
    """`GET /containers/json`, filtered by name."""
    wanted = exchange.query.get("filters")
    names = list(_LISTED)
    if wanted is not None:
        given = msgspec.json.decode(wanted).get("name") or []
        asked = [
            str(name).lstrip("^").rstrip("$").lstrip("/") for name in (given if isinstance(given, list) else [*given])
        ]
        names = [name for name in asked if "missing" not in name] if asked else names
    rows = []
    for name in names:
        container = _find(exchange, name)
        status, health = _status(container), _health(exchange, container)
        if status != "running" and exchange.query.get("all") not in ("1", "true"):
            continue
        shown = f"Up 3 minutes ({health})" if health else "Up 3 minutes" if status == "running" else "Exited (137)"
        row: Json = {"Id": _identity(container), "Names": [f"/{name}"], "Image": f"{name}:latest", "State": status}
        rows.append(row | {"Status": shown, "Ports": [], "Labels": {}})
    return json_reply(rows)


def answer_change(exchange: Exchange) -> Reply:
    """`POST /containers/{name}/start`, `/stop` and others: 304 where nothing is to be done."""
    container, what = _find(exchange, exchange.groups["name"]), exchange.groups["what"]
    runs = _status(container) in ("running", "paused", "restarting")
    if (what == "start" and runs) or (what in ("stop", "kill") and not runs):
        return Whole(body=b"", status=304)
    if "nogpu" in container.name and what in ("start", "restart"):
        message = 'could not select device driver "" with capabilities: [[gpu]]'
        raise answered({"message": message}, 500)
    match what:
        case "stop" | "kill":
            container.state = "exited"
        case "pause":
            container.state = "paused"
        case _:
            container.state, container.started = "running", exchange.desk.now()
    return Whole(body=b"", status=204)


def answer_logs(exchange: Exchange) -> Reply:
    """`GET /containers/{name}/logs`: frames with a header of eight bytes."""
    container = _find(exchange, exchange.groups["name"])
    lines = [
        f"simulated line {place} of {container.name}\n".encode()
        for place in range(int(number(exchange.query.get("tail"), 20)))
    ]
    frames = [
        bytes((1 + place % 2, 0, 0, 0)) + len(line).to_bytes(4, "big") + line for place, line in enumerate(lines[:20])
    ]
    return Whole(body=b"".join(frames), content_type="application/vnd.docker.multiplexed-stream")


def answer_engine(exchange: Exchange) -> Reply:
    """`GET /_ping`, `/version`."""
    headers = {"api-version": "1.57", "docker-experimental": "false"}
    if exchange.path.endswith("_ping"):
        return Whole(body=b"OK", content_type="text/plain; charset=utf-8", headers=headers)
    return json_reply({"Version": "29.4.0", "ApiVersion": "1.57", "MinAPIVersion": "1.44"}, headers=headers)


def _of(line: str, operation: SandboxOperation, answer: Any) -> Route:
    return route(line, operation, "media", answer)


_NAME = r"/containers/(?P<name>[^/]+)"
ROUTES: tuple[Route, ...] = (
    _of(r"GET|HEAD /(_ping|version)", "other", answer_engine),
    _of(r"GET /containers/json", "other", answer_list),
    _of(rf"GET {_NAME}/json", "poll", answer_inspect),
    _of(rf"GET {_NAME}/logs", "other", answer_logs),
    _of(rf"POST {_NAME}/(?P<what>start|stop|restart|kill|pause|unpause)", "other", answer_change),
)

"""RunPod serverless: the queue in front of a vLLM worker. A job is done on its second status, so that polling is seen."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.sandbox.answers import compose, pieces
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json, Reply, Stream, Whole, json_reply, uuid_text
from polyroute.sandbox.openai_chat import answer_chat
from polyroute.sandbox.openai_reading import read_chat
from polyroute.sandbox.prompt import Prompt

_SHELF = "jobs"
_DONE = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")


class Job:
    """One queued job."""

    def __init__(self, name: str, output: list[Any], tokens: int) -> None:
        self.name = name
        self.output = output
        self.tokens = tokens
        self.status = "IN_QUEUE"
        self.sent = 0

    def advance(self) -> None:
        """What time would do: queue, work, done."""
        if self.status not in _DONE:
            self.status = "IN_PROGRESS" if self.status == "IN_QUEUE" else "COMPLETED"

    def shown(self) -> Json:
        """The job as its status shows it."""
        value: Json = {"id": self.name, "status": self.status}
        if self.status == "COMPLETED":
            value |= {"output": self.output, "delayTime": 120, "executionTime": 20 * self.tokens, "workerId": "sandbox"}
        return value


def answer_run(exchange: Exchange) -> Reply:
    """`POST /run`: queue a job."""
    job = _job(exchange)
    return json_reply({"id": job.name, "status": job.status})


def answer_run_sync(exchange: Exchange) -> Reply:
    """`POST /runsync`: queue a job and wait for it."""
    job = _job(exchange)
    job.status = "COMPLETED"
    return json_reply(job.shown(), tokens=job.tokens)


def answer_status(exchange: Exchange) -> Reply:
    """`GET /status/{job}`."""
    job = _find(exchange)
    job.advance()
    return json_reply(job.shown())


def answer_stream(exchange: Exchange) -> Reply:
    """`GET /stream/{job}`: what is new; half at first, then the rest."""
    job = _find(exchange)
    job.advance()
    end = len(job.output) if job.status in _DONE else (len(job.output) + 1) // 2
    new, job.sent = job.output[job.sent : end], end
    return json_reply({"status": job.status, "stream": [{"output": item, "metrics": {}} for item in new]})


def answer_cancel(exchange: Exchange) -> Reply:
    """`POST /cancel/{job}`."""
    job = _find(exchange)
    if job.status not in _DONE:
        job.status = "CANCELLED"
    return json_reply({"id": job.name, "status": job.status})


def answer_health(exchange: Exchange) -> Reply:
    """`GET /health`."""
    jobs = {"completed": 0, "failed": 0, "inProgress": 0, "inQueue": 0, "retried": 0}
    return json_reply({"jobs": jobs, "workers": {"idle": 1, "running": 0}})


def _find(exchange: Exchange) -> Job:
    job = exchange.memory.find(_SHELF, exchange.groups["job"])
    if not isinstance(job, Job):
        raise Refused("not_found")
    return job


def _job(exchange: Exchange) -> Job:
    if "no-such-model" in exchange.groups["endpoint"]:
        raise Refused("model_not_found")
    given = exchange.body.get("input")
    if not isinstance(given, dict):
        raise invalid("input is required")
    name = f"{uuid_text(exchange.digest, 'job')}-u1"
    job = Job(name, *_work(exchange, given))
    exchange.memory.keep(_SHELF, name, job)
    return job


def _work(exchange: Exchange, given: Json) -> tuple[list[Any], int]:
    """The worker's output: a list, as the handler yields it; and the tokens in it."""
    request = given.get("openai_input", given.get("body"))
    if isinstance(request, dict):
        inner = msgspec.structs.replace(exchange, body=request, path="/openai" + str(given.get("openai_route", "")))
        try:
            reply = answer_chat(inner)
        except Refused as refused:
            error = {"message": refused.detail or refused.reason, "type": "worker_error", "code": None}
            return [{"error": error}], 0
        if isinstance(reply, Stream):
            frames = list(reply.frames)
            return [frame.data.decode() for frame in frames], sum(frame.tokens for frame in frames)
        return ([msgspec.json.decode(reply.body)], reply.tokens) if isinstance(reply, Whole) else ([], 0)
    prompt = _plain_prompt(exchange, given)
    answer = compose(prompt)
    usage = {"input": answer.usage.prompt, "output": answer.usage.output}
    texts = list(pieces(answer.text)) if given.get("stream") else [answer.text]
    return [{"choices": [{"tokens": [text]}], "usage": usage} for text in texts], answer.usage.output


def _plain_prompt(exchange: Exchange, given: Json) -> Prompt:
    """The worker's own form: a prompt or messages with sampling parameters."""
    messages = given.get("messages")
    if messages is None:
        if not isinstance(given.get("prompt"), str):
            raise invalid("input must have a prompt or messages")
        messages = [{"role": "user", "content": given["prompt"]}]
    sampling = given.get("sampling_params") or {}
    body = {"model": exchange.profile.models[0], "messages": messages, "max_tokens": sampling.get("max_tokens")}
    return read_chat(msgspec.structs.replace(exchange, body=body))

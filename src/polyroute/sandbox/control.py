"""What an operator sets while the sandbox runs: speed and faults, by provider and operation; and what it has counted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

import msgspec

from polyroute.sandbox.profiles import built_in_profiles

FaultKind = Literal[
    "status",
    "reset",
    "hang",
    "slow_first_token",
    "stall",
    "cut",
    "garbage",
    "empty",
    "no_content",
    "in_band_error",
    "html",
    "malformed_chunk",
    "missing_done",
    "context_too_long",
    "content_filter",
    "reject_prefill",
    "invalid_key",
    "quota",
    "lost_after_acceptance",
    "duplicate_callback",
    "callback_lost",
    "missing_at_first",
    "expired_url",
    "moderation",
    "key_revoked",
    "stuck",
    "job_failed",
    "wrong_media_type",
    "foreign_url",
    "redirected_file",
    "huge_file",
    "cut_file",
    "slow_file",
]
SandboxOperation = Literal[
    "chat",
    "embed",
    "moderate",
    "image",
    "video",
    "speech",
    "transcription",
    "music",
    "effects",
    "clone",
    "voices",
    "poll",
    "cancel",
    "file",
    "models",
    "other",
]

FAULT_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "status": "answers with `status` (default 503) and the provider's own error body; `retry_after` is sent its way",
        "reset": "resets the connection before the first byte",
        "hang": "answers nothing for `seconds` (without it: until the caller leaves)",
        "slow_first_token": "sends headers of a stream at once, the first token only after `seconds` (default 20)",
        "stall": "goes silent for `seconds` (default 20) after `after_tokens` tokens, then goes on",
        "cut": "closes the connection after `after_tokens` tokens, in the middle of the body",
        "garbage": "answers 200 with bytes that are no JSON and no event",
        "empty": "answers 200 with no body",
        "no_content": "answers a chat 200 in the right shape with nothing said in it; anything else as `empty`",
        "in_band_error": "answers 200 and then an error: in a stream after `after_tokens` tokens",
        "html": "answers with an HTML page, as a content delivery network does; `status` is 200 unless given",
        "malformed_chunk": "breaks one event of a stream after `after_tokens` tokens; a whole body is cut in half",
        "missing_done": "ends a stream cleanly but without the dialect's own end",
        "context_too_long": "refuses the prompt as too long",
        "content_filter": "refuses the prompt on grounds of content",
        "reject_prefill": "refuses a conversation that ends with the assistant's words; others are answered",
        "invalid_key": "refuses the credential",
        "quota": "says that the account has no money",
        "lost_after_acceptance": "takes the job, works on it, charges it, and resets the connection instead of answering",
        "duplicate_callback": "posts the callback at the end twice",
        "callback_lost": "posts no callback",
        "missing_at_first": "answers the first `polls` polls as if the job did not exist",
        "expired_url": "refuses to give out the results, as after their time; of addresses that are signed anew the first",
        "moderation": "ends the job as the provider does when its moderation refuses the prompt or the result",
        "key_revoked": "takes the job, and refuses the credential whenever that job is asked for",
        "stuck": "stays at 99 per cent for ever",
        "job_failed": "ends the job as failed; `message` says why",
        "wrong_media_type": "gives out an HTML page, labelled as the file that it should be",
        "foreign_url": "gives addresses on a host that is not the provider's",
        "redirected_file": "redirects a download to the address of a cloud's metadata service",
        "huge_file": "announces a result of a petabyte",
        "cut_file": "breaks off every download in the middle",
        "slow_file": "drips every download, 1024 bytes at a time",
    }
)
JOB_FAULTS: frozenset[str] = frozenset(list(FAULT_MEANINGS)[list(FAULT_MEANINGS).index("lost_after_acceptance") :])

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Pace = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong. `times` requests have it, or all until the next reset when None; each with
    `probability`, drawn from `seed`."""

    kind: FaultKind
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    retry_after: str | None = None
    after_tokens: Annotated[int, msgspec.Meta(ge=0)] = 5
    seconds: Seconds | None = None
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    seed: int = 0
    message: str | None = None
    polls: Annotated[int, msgspec.Meta(ge=1)] = 3


class ProviderOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one provider starts. None: as the sandbox's own options say."""

    latency: Seconds | None = None
    tokens_per_second: Pace | None = None
    job_seconds: Seconds | None = None
    faults: tuple[Fault, ...] = ()


class SandboxOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the sandbox starts. `latency` is in seconds before the first byte; `tokens_per_second` 0 is as fast as it goes;
    `context_limit` is in tokens; without `strict` the rules of single providers and models are not checked;
    `known_providers` are names beyond the built-in ones that the control endpoint accepts."""

    latency: Seconds = 0.0
    tokens_per_second: Pace = 200.0
    context_limit: int = 128_000
    require_credentials: bool = True
    strict: bool = True
    requests_kept: int = 200
    providers: Mapping[str, ProviderOptions] = MappingProxyType({})
    known_providers: tuple[str, ...] = ()


class ControlCommand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /_control`. What is absent stays; `faults` replaces what was set for the same provider and
    operation, and null or an empty list clears it. `job_seconds` is how long jobs take from now on, `result_seconds` how
    long their results are kept; `advance` puts the clock of all jobs forward by so many seconds."""

    provider: str
    operation: SandboxOperation | None = None
    latency: Seconds | msgspec.UnsetType = msgspec.UNSET
    tokens_per_second: Pace | msgspec.UnsetType = msgspec.UNSET
    faults: Fault | list[Fault] | msgspec.UnsetType | None = msgspec.UNSET
    job_seconds: Seconds | msgspec.UnsetType = msgspec.UNSET
    result_seconds: Seconds | msgspec.UnsetType = msgspec.UNSET
    advance: Seconds | msgspec.UnsetType = msgspec.UNSET


class BadControl(Exception):
    """A control body that cannot be obeyed; the message says why."""


class _Scope(msgspec.Struct, frozen=True):
    provider: str
    operation: str | None


class _Armed:
    """A fault with what is left of it."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times
        self._random = random.Random(fault.seed)  # noqa: S311 - a rehearsal that can be repeated, not a secret

    def strikes(self) -> bool:
        """Whether it hits this request; counts it down when it does."""
        if self.left == 0 or self._random.random() >= self.fault.probability:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Pacing(msgspec.Struct, frozen=True):
    """How fast one request is served."""

    latency: float
    tokens_per_second: float


class Control:
    """The state behind `/_control`. The narrowest setting wins: provider and operation, provider, every provider's
    operation, every provider."""

    def __init__(self, options: SandboxOptions) -> None:
        self.options = options
        self.requests: Counter[str] = Counter()
        self.aborted: Counter[str] = Counter()
        self.faulted: Counter[str] = Counter()
        self.open_streams: Counter[str] = Counter()
        self._latency: dict[_Scope, float] = {}
        self._pace: dict[_Scope, float] = {}
        self._faults: dict[_Scope, list[_Armed]] = {}
        self._job_seconds: dict[_Scope, float] = {}
        self._result_seconds: dict[_Scope, float] = {}
        self.advanced = 0.0
        self.reset()

    def reset(self) -> None:
        """Back to how the sandbox started, counters at zero (streams that are open stay counted)."""
        for settings in (self._latency, self._pace, self._faults, self.requests, self.aborted, self.faulted):
            settings.clear()
        self._job_seconds.clear()
        self._result_seconds.clear()
        self.advanced = 0.0
        for name, start in self.options.providers.items():
            scope = _Scope(name, None)
            if start.latency is not None:
                self._latency[scope] = start.latency
            if start.tokens_per_second is not None:
                self._pace[scope] = start.tokens_per_second
            if start.job_seconds is not None:
                self._job_seconds[scope] = start.job_seconds
            if start.faults:
                self._faults[scope] = [_Armed(fault) for fault in start.faults]

    def obey(self, body: bytes) -> None:
        """Apply a control body, or raise `BadControl` and change nothing."""
        try:
            command = msgspec.json.decode(body, type=ControlCommand)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadControl(str(error)) from error
        if command.provider != "*" and command.provider not in self.provider_names():
            raise BadControl(f"There is no provider {command.provider!r}.")
        scope = _Scope(command.provider, command.operation)
        if command.latency is not msgspec.UNSET:
            self._latency[scope] = command.latency
        if command.tokens_per_second is not msgspec.UNSET:
            self._pace[scope] = command.tokens_per_second
        if command.job_seconds is not msgspec.UNSET:
            self._job_seconds[scope] = command.job_seconds
        if command.result_seconds is not msgspec.UNSET:
            self._result_seconds[scope] = command.result_seconds
        if command.advance is not msgspec.UNSET:
            self.advanced += command.advance
        if command.faults is not msgspec.UNSET:
            given = [command.faults] if isinstance(command.faults, Fault) else command.faults or []
            self._faults.pop(scope, None)
            if given:
                self._faults[scope] = [_Armed(fault) for fault in given]

    def provider_names(self) -> list[str]:
        """Names that may be set: built in, given at start, or seen in a request."""
        return sorted({*built_in_profiles(), *self.options.known_providers, *self.options.providers, *self.requests})

    def pacing(self, provider: str, operation: str) -> Pacing:
        """The speed for one request."""
        latency = _narrowest(self._latency, provider, operation)
        pace = _narrowest(self._pace, provider, operation)
        return Pacing(
            self.options.latency if latency is None else latency,
            self.options.tokens_per_second if pace is None else pace,
        )

    def strike(self, provider: str, operation: str, *, prefilled: bool) -> Fault | None:
        """The fault that hits this request, if any; it is counted as used."""
        for scope in _scopes(provider, operation):
            for armed in self._faults.get(scope, ()):
                if armed.fault.kind == "reject_prefill" and not prefilled:
                    continue
                if armed.fault.kind in JOB_FAULTS:
                    continue
                if armed.strikes():
                    self.faulted[provider] += 1
                    return armed.fault
        return None

    def strike_job(self, provider: str, operation: str) -> Fault | None:
        """The fault that a job gets which is submitted now, if any; it is counted as used."""
        for scope in _scopes(provider, operation):
            for armed in self._faults.get(scope, ()):
                if armed.fault.kind in JOB_FAULTS and armed.strikes():
                    self.faulted[provider] += 1
                    return armed.fault
        return None

    def job_pacing(self, provider: str, operation: str) -> tuple[float | None, float | None]:
        """How long a job takes and how long its result is kept; None: as is usual for its kind and its provider."""
        scope = provider, operation
        return _narrowest(self._job_seconds, *scope), _narrowest(self._result_seconds, *scope)

    def state(self) -> dict[str, Any]:
        """Everything that is set and counted, for `GET /_control`."""
        scopes = sorted(
            {*self._latency, *self._pace, *self._faults, *self._job_seconds, *self._result_seconds},
            key=lambda scope: (scope.provider, scope.operation or ""),
        )
        settings = []
        for scope in scopes:
            row: dict[str, Any] = {"provider": scope.provider, "operation": scope.operation}
            if scope in self._latency:
                row["latency"] = self._latency[scope]
            if scope in self._pace:
                row["tokens_per_second"] = self._pace[scope]
            if scope in self._job_seconds:
                row["job_seconds"] = self._job_seconds[scope]
            if scope in self._result_seconds:
                row["result_seconds"] = self._result_seconds[scope]
            armed = self._faults.get(scope, [])
            row["faults"] = [msgspec.to_builtins(item.fault) | {"times_left": item.left} for item in armed]
            settings.append(row)
        counted = sorted({*self.requests, *self.aborted, *self.open_streams})
        counters = {
            name: {
                "requests": self.requests[name],
                "faulted": self.faulted[name],
                "aborted_by_client": self.aborted[name],
                "open_streams": self.open_streams[name],
            }
            for name in counted
        }
        defaults = {"latency": self.options.latency, "tokens_per_second": self.options.tokens_per_second}
        return {
            "defaults": defaults,
            "settings": settings,
            "counters": counters,
            "requests": self.requests.total(),
            "aborted_by_client": self.aborted.total(),
            "open_streams": self.open_streams.total(),
        }

    def possible(self) -> dict[str, Any]:
        """What a control body may say, for the answer to a bad one."""
        fields = msgspec.json.schema(Fault)["$defs"]["Fault"]["properties"]
        return {
            "provider": ["*", *self.provider_names()],
            "operation": list(get_args(SandboxOperation)),
            "latency": "seconds before the first byte",
            "tokens_per_second": "0 is as fast as it goes",
            "job_seconds": "how long a job takes",
            "result_seconds": "how long results are kept",
            "advance": "seconds to put the clock of jobs forward",
            "faults": {"kind": dict(FAULT_MEANINGS), "fields": sorted(fields)},
        }


def _scopes(provider: str, operation: str) -> tuple[_Scope, ...]:
    return _Scope(provider, operation), _Scope(provider, None), _Scope("*", operation), _Scope("*", None)


def _narrowest(settings: Mapping[_Scope, float], provider: str, operation: str) -> float | None:
    return next((settings[scope] for scope in _scopes(provider, operation) if scope in settings), None)

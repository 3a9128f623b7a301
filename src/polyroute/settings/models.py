"""Every key of the configuration, with its default and its limits."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from polyroute.settings.budgets import BudgetSettings, NotificationSettings
from polyroute.settings.choosing import (
    BalanceSettings,
    ComplexitySettings,
    CurrencySettings,
    ModelSettings,
    Rate,
)
from polyroute.settings.jobs import JobSettings
from polyroute.settings.keeping import ContentSettings, RetentionSettings
from polyroute.settings.limits import BenchSettings, CredentialSettings, LimitSettings, ProviderLimitSettings
from polyroute.settings.media import ArtifactSettings, FetchSettings, S3Settings
from polyroute.settings.sections import Number, Seconds, Section, Size, Whole, refuse_bool


class ServerSettings(Section):
    """Where the gateway listens."""

    host: str = "127.0.0.1"
    """Address to listen on. `auth.mode: open` is refused on anything but loopback."""
    port: Whole = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    workers: Whole = Field(default=1, ge=1, le=256)
    """Worker processes."""
    max_body_mb: Whole = Field(default=64, ge=1, le=4096)
    """Largest request body in megabytes; a larger one is answered with 413."""
    max_upload_mb: Whole = Field(default=512, ge=1, le=5120)
    """Largest form with files (recordings, pictures, films) in megabytes: forms are kept on disk, not in memory. Uploads to
    `/v1/files` have `artifacts.max_file_mb`."""
    public_url: str | None = None
    """Our address as providers and callers elsewhere reach it (`https://ai.example.com`). It is what links to results begin
    with, where providers fetch a caller's uploads, and where they may report to."""

    @field_validator("public_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/?#\s]+(/[^?#\s]*)?", value):
            raise ValueError("must be an address such as https://ai.example.com")
        return value

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the host."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


class JournalSettings(Section):
    """Where requests wait for the database, and for how many there is room."""

    folder: Path | None = None
    """Folder for the ledger's journal, which outlives a crash; beside the database unless said otherwise."""
    limit: Size = Field(default=1_000_000_000, ge=4_000_000)
    """How large it may grow while the database is away, all workers together: `1GB`, `500MB`, or bytes."""
    when_full: Literal["refuse", "continue"] = "refuse"
    """What becomes of calls beyond that: `refuse` answers 503, `continue` serves them without a record, and raises an alarm."""


def _as_journal(value: Any) -> Any:
    return {"folder": value} if isinstance(value, str | Path) else value


class StorageSettings(Section):
    """Where things last."""

    database: str = "sqlite:///polyroute.db"
    """The ledger's database: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`."""
    shared_state: Literal["memory"] = "memory"
    """Where breakers, limits and health are kept: `memory` is the workers of this machine, which tell each other through
    the folder `state`."""
    state: Path | None = None
    """Folder through which workers tell each other what they know, and which outlives a restart; beside the database unless
    said otherwise."""
    artifacts: str = "./artifacts"
    """Where produced and uploaded files are: a folder, or `s3://BUCKET/PREFIX` (see `storage.s3`)."""
    s3: S3Settings = S3Settings()
    journal: Annotated[JournalSettings, BeforeValidator(_as_journal)] = JournalSettings()
    """Where requests wait for the database. A path alone is the folder."""
    responses_days: Whole = Field(default=30, ge=0, le=3650)
    """Days for which answers of `/v1/responses` are kept, so that `previous_response_id` finds them; 0 keeps none."""
    retention: RetentionSettings = RetentionSettings()

    @field_validator("artifacts")
    @classmethod
    def _folder_or_bucket(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if not value or (separator and (scheme != "s3" or not rest.strip("/"))):
            raise ValueError("a folder, or s3://BUCKET/PREFIX")
        return value

    @field_validator("database")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql://", "postgres://", "postgresql+psycopg://")):
            raise ValueError("sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
        return value


class AuthSettings(Section):
    """Who may call."""

    mode: Literal["open", "keys"] = "open"
    """`open` lets everybody in and is refused on anything but loopback; `keys` wants a key of `polyroute keys create`."""
    pepper: SecretStr | None = None
    """Secret of at least 16 characters with which stored keys are hashed; without one, one is made and kept beside the
    database."""

    @field_validator("pepper")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("at least 16 characters")
        return value


class TimeoutSettings(Section):
    """Patience in seconds."""

    connect: Seconds = 3.0
    """Until the connection stands."""
    headers: Seconds = 60.0
    """Until the answer's headers."""
    result: Seconds = 300.0
    """The same where the answer is a finished piece of media: a picture, a transcript, a song."""
    first_token: Seconds = 30.0
    """Until the first meaningful event of a stream."""
    idle: Seconds = 30.0
    """Between two events of a stream."""
    total: Seconds = 600.0
    """For the request as a whole, all attempts together."""


class TimeoutChanges(Section):
    """The timeouts that differ from `defaults.timeouts`, in seconds."""

    connect: Seconds | None = None
    """Until the connection stands."""
    headers: Seconds | None = None
    """Until the answer's headers."""
    result: Seconds | None = None
    """The same where the answer is a finished piece of media: a picture, a transcript, a song."""
    first_token: Seconds | None = None
    """Until the first meaningful event of a stream."""
    idle: Seconds | None = None
    """Between two events of a stream."""
    total: Seconds | None = None
    """For the request as a whole, all attempts together."""


class BreakerSettings(Section):
    """When a provider is left alone for a while."""

    failures: Whole = Field(default=3, ge=1)
    """Failures in a row that open the breaker."""
    failure_rate: Annotated[float, BeforeValidator(refuse_bool)] = Field(default=0.5, gt=0, le=1, allow_inf_nan=False)
    """Share of failures within the window that opens it."""
    minimum: Whole = Field(default=20, ge=1)
    """Requests within the window before the share counts."""
    window: Seconds = 60.0
    """Seconds that are looked back."""
    cooldown: Seconds = 60.0
    """Seconds before a provider is tried again."""
    probe: bool = True
    """Ask an open provider's free list of models every 15 seconds, and leave it alone for longer while that fails."""
    paid_probe: str | None = Field(default=None, pattern=r"^\d+(\.\d+)? [A-Za-z]{3}$")
    """The most that a paid probe may cost, such as `0.001 USD`: where the free one was answered, a chat of a few tokens to the
    provider's default model follows, tagged `polyroute: probe` in the ledger. None by default."""


class DefaultSettings(Section):
    """What holds where a route or a provider says nothing."""

    policy: str = "priority"
    """How a route orders its targets."""
    retries: Whole = Field(default=1, ge=0, le=10)
    """Further tries of the same target, where the error allows one."""
    output_tokens: Whole = Field(default=16_384, ge=1)
    """How many tokens of answer a budget sets aside for a request that names no limit, at a model that has none we know."""
    timeouts: TimeoutSettings = TimeoutSettings()
    breaker: BreakerSettings = BreakerSettings()
    bench: BenchSettings = BenchSettings()


class QuirkSettings(Section):
    """A provider's deviations from a dialect, on top-level request fields."""

    drop: list[str] = []
    """Fields to remove."""
    rename: dict[str, str] = {}
    """Fields to rename, where the new name is not there already."""
    force: dict[str, Any] = {}
    """Fields to set, whatever the caller sent."""
    default: dict[str, Any] = {}
    """Fields to set where the caller sent none."""


class ProviderSettings(Section):
    """One provider: a built-in row and what differs from it, or an entry of one's own with `adapter` and `base_url`."""

    enabled: bool = True
    """`false` switches it off."""
    api_key: SecretStr | None = None
    """Credential; without one, the provider's own environment variables are looked at."""
    credentials: list[SecretStr | CredentialSettings] = []
    """Further credentials: each a secret, or `{key, label, weight, limits}`. Requests are spread over all; one that is
    refused is left alone for a while, and the next is tried within the same request."""
    limits: ProviderLimitSettings | None = None
    base_url: str | None = None
    """Address, instead of the built-in one."""
    priority: Whole | dict[str, Whole] | None = None
    """Order in the built-in routes, lower first: one number, or numbers by operation or category (`{TEXT: 1, image: 3}`)."""
    default_models: dict[str, str] = {}
    """Model by operation for a target that names only the provider."""
    models: list[str] | dict[str, list[str]] = []
    """Model ids that callers may name without `provider/`: one list, or lists by operation."""
    serves: list[str] | None = None
    """Operations; for an entry of one's own `[chat]` unless said otherwise, for a built-in row all that it can."""
    dialects: list[str] | None = None
    """Wire formats to use, in order of preference; all that it speaks unless said otherwise."""
    adapter: str | None = None
    """Wire format of an entry of one's own: openai_compatible, openai_responses, anthropic, gemini, ollama, cohere, bedrock,
    azure or runpod."""
    kind: str | None = None
    """`direct`, `gateway` or `local`."""
    auth: str | None = None
    """How the credential is sent: bearer, x-api-key, x-goog-api-key, api-key, sigv4 or none."""
    headers: dict[str, str] = {}
    """Headers to add to each request."""
    capabilities: list[str] | None = None
    """What its models can do at most."""
    tags: list[str] = []
    """Region and data policy, in words of one's own (`eu`, `no-training`), for routes and callers that require them."""
    mark_up: Rate = 1.0
    """What it charges on top of the price table, as a factor on its prices: 1.05 for five per cent. What the provider itself
    reports is taken as it is."""
    mark_up_date: dt.date | None = None
    """Since when, as `2026-11-20`; the ledger names it with the price."""
    model_facts: dict[str, ModelSettings] = {}
    """What is known of single models, by id."""
    timeouts: TimeoutChanges | None = None
    quirks: dict[str, QuirkSettings] = {}
    """Deviations by dialect, in place of the built-in row's."""
    options: dict[str, Any] = {}
    """What only this provider knows: `region` for bedrock, `endpoint` for azure, `endpoint_id` for runpod."""

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("a URL that begins with http:// or https://")
        return value

    @field_validator("headers")
    @classmethod
    def _clean_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not name or any(char <= " " or char in '():,"\x7f' for char in name) or "\r" in text or "\n" in text:
                raise ValueError("header names without spaces and values on one line")
        return value


class PersonaSettings(Section):
    """Who answers on a chat route: a system prompt, and parameters for callers who say none."""

    system: str | None = None
    """System prompt, put before the caller's own."""
    caller_system: Literal["append", "refuse"] = "append"
    """What becomes of a caller's own system prompt: it follows the persona's, or the request is refused."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Default sampling temperature."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Default nucleus sampling."""
    max_tokens: Whole | None = Field(default=None, ge=1)
    """Default limit of the answer in tokens."""
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Default frequency penalty."""
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    """Default presence penalty."""
    seed: Whole | None = None
    """Default seed."""
    stop: list[str] = []
    """Default stop sequences."""
    reasoning_effort: str | None = None
    """Default reasoning effort: none, minimal, low, medium, high, xhigh or max."""


class HedgeSettings(Section):
    """When a whole (not streamed) answer is asked of the next target as well: the first good answer wins, the other request
    is cancelled, and both are in the ledger."""

    after: Literal["p95"] | Seconds = "p95"
    """Seconds to wait for the first target, or `p95`: the 95th percentile of its last answers, once there are 20."""
    share: Annotated[float, BeforeValidator(refuse_bool)] = Field(default=0.05, gt=0, le=1, allow_inf_nan=False)
    """Share of the route's requests that may be sent twice."""


class RouteSettings(Section):
    """A name that callers use."""

    operation: str | None = None
    """What it is for: chat, embed, moderate, image, speech or transcription; that of the built-in route of the same name,
    else chat."""
    policy: str | None = None
    """How its targets are ordered; `defaults.policy` unless said otherwise."""
    targets: list[str] | None = Field(default=None, min_length=1)
    """`provider/model`, or a provider for its default model, in the order in which they are tried; required unless
    `complexity` names both kinds of targets."""
    fallbacks: list[str] = []
    """Routes, targets or model ids that are tried after the targets."""
    on_context_too_long: list[str] = []
    """Routes, targets or model ids that are tried, and no others, when a target says that the prompt is too long for it;
    without any, those of the route that are not known to be as short."""
    on_content_filtered: list[str] = []
    """Routes, targets or model ids that are tried, and no others, when a provider's content filter refuses the request;
    without any, the refusal stands."""
    kinds: list[str] = []
    """The only kinds of provider that it uses, the one to try first in front: direct, gateway, local."""
    same_model: Literal["listed", "direct", "price", "latency"] = "listed"
    """How targets that serve one and the same model are ordered among themselves: as the policy has it, makers before
    resellers, by expected price with `mark_up`, or by observed speed."""
    weights: dict[str, Number] = {}
    """Weight of each target for `weighted` and `least_busy`; 1 unless said otherwise, 0 is a last resort."""
    balance: BalanceSettings = BalanceSettings()
    exploration: Annotated[float, BeforeValidator(refuse_bool)] = Field(default=0.05, ge=0, le=1, allow_inf_nan=False)
    """Share of requests that `fastest` sends to the target that it knows least of."""
    low_budget: str | None = None
    """Amount with its currency (`500 VND`); a request whose `budget` is below it goes to the cheapest that can serve it."""
    require: list[str] = []
    """Tags and capabilities that each of its targets must have."""
    complexity: ComplexitySettings | None = None
    retries: Whole | None = Field(default=None, ge=0, le=10)
    """Further tries of the same target; `defaults.retries` unless said otherwise."""
    timeouts: TimeoutChanges | None = None
    limits: LimitSettings | None = None
    rescue: Literal["continue", "restart", "error"] | None = None
    """What becomes of a stream that breaks after the caller has begun to read it: `continue` goes on at the next target from
    what was sent (the default), `restart` asks that target anew, `error` ends the stream with an error."""
    hedge: HedgeSettings | None = None
    persona: PersonaSettings | None = None
    log_content: bool | None = None
    """Whether the ledger keeps what was said on it; `content.log` unless said otherwise."""


class SandboxSettings(Section):
    """The simulated providers of `polyroute sandbox` and `polyroute serve --sandbox`."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Whole = Field(default=9900, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""


class Values(Section):
    """Everything that can be written in `polyroute.yaml`."""

    server: ServerSettings = ServerSettings()
    storage: StorageSettings = StorageSettings()
    auth: AuthSettings = AuthSettings()
    defaults: DefaultSettings = DefaultSettings()
    providers: dict[str, ProviderSettings] = {}
    """Providers by name. Built-in ones with a credential in the environment are on without being listed."""
    routes: dict[str, RouteSettings] = {}
    """Routes by name."""
    content: ContentSettings = ContentSettings()
    currencies: dict[str, CurrencySettings] = {}
    """Currencies by their codes (`VND`), besides USD."""
    budgets: dict[str, BudgetSettings] = {}
    """Budgets by name; further ones are made by `polyroute budgets` and over the API."""
    credits: dict[str, Number] = {}
    """What a request to a label (a route, or `provider/model`) costs in credits, for budgets in credits."""
    notifications: NotificationSettings = NotificationSettings()
    artifacts: ArtifactSettings = ArtifactSettings()
    fetch: FetchSettings = FetchSettings()
    jobs: JobSettings = JobSettings()
    sandbox: SandboxSettings = SandboxSettings()

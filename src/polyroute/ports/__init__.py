"""Every seam of the house: what the engine asks of its surroundings. Read this first.

Data flows one way: a surface makes a `Call`; the engine plans, and for each attempt asks an `Adapter` for a `WireRequest`,
sends it through a `Transport`, feeds the answer's bytes to an `AnswerReader`, and hands what comes out to the surface;
the settled `RequestRecord` goes to the `Ledger`. Implementations are named in `polyroute.app` alone.

`network`: requests out, answers in · `calls`: a caller's request, and a provider's particulars · `answers`: dialects ·
`records`: state that lasts · `analytics`: figures over it · `media`: providers of image, video and audio · `artifacts`:
stored media, and how it is fetched. All names can be imported from here.
"""

from polyroute.ports.analytics import (
    AnalyticsReader,
    RequestPage,
    RequestQuery,
    RequestReader,
    Series,
    SeriesPoint,
    SeriesQuery,
)
from polyroute.ports.answers import AnswerReader, ChatCodec, EventParser, EventRenderer, Observation
from polyroute.ports.artifacts import ArtifactStore, Fetcher, FetchOrder, FileStore, Intake
from polyroute.ports.calls import NO_OPTIONS, Adapter, Call, Credential, Endpoint, Options
from polyroute.ports.media import (
    Callback,
    CallbackReader,
    FailureReader,
    FormPart,
    Immediate,
    LocalService,
    Maker,
    MediaAdapter,
    MediaSocket,
    MediaStream,
    MediaWire,
    ModelLister,
    Queued,
    Reply,
    SocketOpener,
    Streamed,
    VoiceLister,
)
from polyroute.ports.network import Body, Exchange, Headers, SharedHead, Timeouts, Transport, WireRequest, WireResponse
from polyroute.ports.records import (
    DecisionReader,
    KeptResponse,
    KeyStore,
    Ledger,
    LedgerReader,
    PriceBook,
    ProviderStats,
    ResponseStore,
    StoredAttempt,
    StoredDecision,
)

__all__ = [
    "NO_OPTIONS",
    "Adapter",
    "AnalyticsReader",
    "AnswerReader",
    "ArtifactStore",
    "Body",
    "Call",
    "Callback",
    "CallbackReader",
    "ChatCodec",
    "Credential",
    "DecisionReader",
    "Endpoint",
    "EventParser",
    "EventRenderer",
    "Exchange",
    "FailureReader",
    "FetchOrder",
    "Fetcher",
    "FileStore",
    "FormPart",
    "Headers",
    "Immediate",
    "Intake",
    "KeptResponse",
    "KeyStore",
    "Ledger",
    "LedgerReader",
    "LocalService",
    "Maker",
    "MediaAdapter",
    "MediaSocket",
    "MediaStream",
    "MediaWire",
    "ModelLister",
    "Observation",
    "Options",
    "PriceBook",
    "ProviderStats",
    "Queued",
    "Reply",
    "RequestPage",
    "RequestQuery",
    "RequestReader",
    "ResponseStore",
    "Series",
    "SeriesPoint",
    "SeriesQuery",
    "SharedHead",
    "SocketOpener",
    "StoredAttempt",
    "StoredDecision",
    "Streamed",
    "Timeouts",
    "Transport",
    "VoiceLister",
    "WireRequest",
    "WireResponse",
]

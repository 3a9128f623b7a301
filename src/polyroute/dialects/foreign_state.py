"""Provider state of one dialect carried through a caller of another one.

A caller replays an opaque field of its own dialect (a thinking signature, a thought signature) verbatim. Where that
dialect did not issue the state, the field holds ours: marked base64 of the dialect's name and its fields. So reasoning
survives a tool loop with unmodified clients and without a store. A provider would refuse such a field as its own:
`holds_packed_state` tells a body that must not be relayed as it is.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from polyroute.types.chat import ProviderState
from polyroute.types.operations import Dialect

_MARK = b"polyroute"  # nine bytes, so that its base64 stands alone
_ENCODED_MARK = base64.b64encode(_MARK)
_QUOTED_MARK = b'"polyroute'
_OPENAI_FORMS = re.compile(rb'"polyroute(?:\.|-v1"|_state")')
"""How the OpenAI dialects carry it: encrypted_content, reasoning_details and call fields of ours."""
_CHAT_FORM = b'"polyroute-v1"'
"""How `reasoning_details` of chat completions carry it."""
_OPENAI_CHAT, _OPENAI_RESPONSES = Dialect.OPENAI_CHAT, Dialect.OPENAI_RESPONSES


class PackedState(msgspec.Struct, frozen=True):
    """What was packed. `attached`: the state belongs to the tool call that follows, not to reasoning."""

    state: ProviderState | None
    attached: bool = False


class _Wire(msgspec.Struct, omit_defaults=True):
    d: str | None = None
    f: dict[str, Any] | None = None
    a: bool = False


_DECODER = msgspec.json.Decoder(_Wire)


def pack_state(state: ProviderState | None, *, attached: bool = False) -> str:
    """The text that a caller's opaque field holds; also for no state, so that the origin can be told."""
    wire = _Wire(a=attached) if state is None else _Wire(d=state.dialect, f=state.fields, a=attached)
    return base64.b64encode(_MARK + msgspec.json.encode(wire)).decode()


def unpack_state(text: str) -> PackedState | None:
    """What `pack_state` packed; None when the text is a provider's own. Either base64 alphabet and any padding will do."""
    if not text.startswith(_ENCODED_MARK.decode()):
        return None
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        payload = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        wire = _DECODER.decode(payload[len(_MARK) :])
        state = None if wire.d is None else ProviderState(Dialect(wire.d), wire.f or {})
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        return PackedState(None)  # ours, but damaged: of no use to anyone
    return PackedState(state, wire.a)


def holds_packed_state(body: bytes, dialect: Dialect | None = None) -> bool:
    """Whether a caller's request replays state that we packed, which its own provider would refuse. A body is read to its
    end for that, once where its dialect is known: with `find`, because `in` first takes the bytes for a number, and makes
    an exception of it."""
    if dialect is _OPENAI_CHAT:
        return body.find(_CHAT_FORM) >= 0
    if dialect is not _OPENAI_RESPONSES and body.find(_ENCODED_MARK) >= 0:
        return True
    return body.find(_QUOTED_MARK) >= 0 and _OPENAI_FORMS.search(body) is not None

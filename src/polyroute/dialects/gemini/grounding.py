"""What Gemini tells beside a text: the pages that it rests on, and the probabilities of its tokens."""

from __future__ import annotations

from typing import Any


def grounding_annotations(extra: dict[str, Any], text: str) -> tuple[dict[str, Any], ...]:
    """Grounding and citation records as OpenAI's `url_citation`s. Gemini counts UTF-8 bytes, OpenAI characters."""
    raw = text.encode("utf-8", "surrogatepass")
    found: list[dict[str, Any]] = []
    grounding = _dict(extra.get("groundingMetadata"))
    pages = [_dict(_dict(chunk).get("web")) for chunk in _list(grounding.get("groundingChunks"))]
    for support in _list(grounding.get("groundingSupports")):
        record = _dict(support)
        segment = _dict(record.get("segment"))
        for number in _list(record.get("groundingChunkIndices")):
            page = pages[number] if isinstance(number, int) and 0 <= number < len(pages) else {}
            if isinstance(page.get("uri"), str):
                found.append(_citation(page["uri"], page.get("title"), segment, raw))
    for source in _list(_dict(extra.get("citationMetadata")).get("citationSources")):
        record = _dict(source)
        if isinstance(record.get("uri"), str):
            found.append(_citation(record["uri"], None, record, raw))
    return tuple(found)


def _citation(url: str, title: Any, place: dict[str, Any], raw: bytes) -> dict[str, Any]:
    return {
        "type": "url_citation",
        "url_citation": {
            "url": url, "title": title if isinstance(title, str) else "",
            "start_index": _characters(raw, place.get("startIndex")), "end_index": _characters(raw, place.get("endIndex")),
        },
    }  # fmt: skip


def _characters(raw: bytes, offset: Any) -> int:
    return len(raw[:offset].decode("utf-8", "ignore")) if isinstance(offset, int) and offset > 0 else 0


def logprob_tokens(result: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """A `logprobsResult` as OpenAI's token list."""
    tops = _list(result.get("topCandidates"))
    tokens = []
    for number, chosen in enumerate(_list(result.get("chosenCandidates"))):
        rivals = _list(_dict(tops[number]).get("candidates")) if number < len(tops) else []
        tokens.append({**_token(_dict(chosen)), "top_logprobs": [_token(_dict(rival)) for rival in rivals]})
    return tuple(tokens)


def _token(record: dict[str, Any]) -> dict[str, Any]:
    return {"token": record.get("token") or "", "logprob": record.get("logProbability"), "bytes": None}


def render_logprobs(tokens: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """OpenAI's token list as a `logprobsResult`."""
    return {
        "chosenCandidates": [_candidate(token) for token in tokens],
        "topCandidates": [
            {"candidates": [_candidate(_dict(rival)) for rival in _list(token.get("top_logprobs"))]} for token in tokens
        ],
    }


def _candidate(token: dict[str, Any]) -> dict[str, Any]:
    return {"token": token.get("token"), "logProbability": token.get("logprob")}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

"""Where two texts of one answer meet: what the second repeats of the first is taken out. Pure."""

from __future__ import annotations

from polyroute.types.errors import AttemptFailed, ErrorKind, Failure

LEAST_REPEAT = 12
"""Characters from which on a repetition is no coincidence."""
_WIDE_SCRIPTS = 0x2E80
"""The first code point of the scripts that are written without spaces."""
_OPENING = frozenset("([{<-/\\\"'`_@#$“«")


class Continuation:
    """A text that goes on where `sent` stops. What it repeats of its end (or all of it) is dropped; with `word_by_word`
    the second text comes from a turn of its own, whose first word lost the space before it."""

    def __init__(self, sent: str, *, word_by_word: bool) -> None:
        self._sent = sent
        self._word_by_word = word_by_word
        self._held = ""
        self._joined = not sent

    def feed(self, text: str) -> str:
        """More of the second text; gives what the caller gets of it. Nothing while it may still be a repetition."""
        if self._joined:
            return text
        self._held += text
        if not self._held.strip() or self._held.lstrip() in self._sent:
            return ""
        return self.close()

    def close(self) -> str:
        """The second text has ended, or is no repetition: what was held back and is new."""
        held, self._held = self._held, ""
        if self._joined or not held:
            return ""
        self._joined = True
        for candidate in (held, held.lstrip()):
            if repeated := _repeated(self._sent, candidate):
                return candidate[repeated:]
        last = self._sent[-1]
        if last.isspace():
            ending = self._sent[len(self._sent.rstrip()) :]
            return held.removeprefix(ending) if held.startswith(ending) else held.lstrip(" ")
        if self._word_by_word and _wants_space(last, held[0]):
            return " " + held
        return held


class Restart:
    """A text that was asked for anew. Where it begins with all of `sent`, that is dropped; where it does not, it follows
    after an empty line, or with `exact` (structured output, which has no use for two beginnings) it fails."""

    def __init__(self, sent: str, *, exact: bool) -> None:
        self._sent = sent
        self._exact = exact
        self._held = ""
        self._joined = not sent

    def feed(self, text: str) -> str:
        """More of the new text; nothing while it says what was said. Raises AttemptFailed as described."""
        if self._joined:
            return text
        self._held += text
        if len(self._held) < len(self._sent) and self._sent.startswith(self._held):
            return ""
        return self.close()

    def close(self) -> str:
        """The new text has ended, or tells itself apart."""
        held, self._held = self._held, ""
        if self._joined:
            return ""
        self._joined = True
        if held.startswith(self._sent):
            return held[len(self._sent) :]
        if self._exact:
            message = "The answer that was asked for anew differs from what the caller has."
            raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message=message))
        if not held:
            return ""
        return ("" if self._sent.endswith("\n\n") else "\n\n") + held


Seam = Continuation | Restart


def _repeated(sent: str, text: str) -> int:
    """How many of the first characters of `text` repeat the end of `sent`, where that is no coincidence; else 0."""
    if text.startswith(sent):
        return len(sent)
    for length in range(min(len(sent), len(text)), LEAST_REPEAT - 1, -1):
        if sent.endswith(text[:length]):
            return length
    return 0


def _wants_space(last: str, first: str) -> bool:
    """Whether two words meet, as far as that can be told."""
    if ord(last) >= _WIDE_SCRIPTS or ord(first) >= _WIDE_SCRIPTS:
        return False
    return first.isalnum() and last not in _OPENING

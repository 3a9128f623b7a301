"""A multipart upload as it arrives: its file's bytes in a stream, its text fields beside it, nothing of it kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from polyroute.api.requests import ClientGone, Receive
from polyroute.engine.envelope import invalid

_LONGEST_VALUE = 1 << 16
_MOST_FIELDS = 64


class Upload:
    """One form with one file. `begin`, then read `chunks` to its end; the fields are whole only then.

    Raises PolyrouteError(invalid_request) on what is no such form, ClientGone.
    """

    def __init__(self, content_type: bytes, receive: Receive, field: str) -> None:
        kind, parameters = parse_options_header(content_type.decode("latin-1"))
        boundary = parameters.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise invalid("A file is uploaded as multipart/form-data with a boundary.", field)
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.media_type: str | None = None
        self.seen = False
        self._field = field
        self._receive = receive
        self._more = True
        self._blocks: list[bytes] = []
        self._header_name = self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._value: bytearray | None = None
        self._in_file = False
        self._finished = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    async def begin(self) -> None:
        """Read up to the file, whose name and declared type are known then."""
        while self._more and not self.seen:
            await self._read()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes. Everything that is wrong with the form shows here."""
        while self._more or self._blocks:
            blocks, self._blocks = self._blocks, []
            for block in blocks:
                yield block
            if self._more:
                await self._read()
        if not self._finished:
            raise invalid("The multipart form is broken off: its closing boundary is missing.")
        if not self.seen:
            raise invalid(f"The form has no file '{self._field}'.", self._field)

    async def _read(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._more = message.get("more_body", False)
        try:
            self._parser.write(message.get("body", b""))
        except MultipartParseError as error:
            raise invalid(f"The multipart form is broken: {error}.") from error

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, parameters = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = parameters.get(b"name", b"").decode("utf-8", "replace")
        self._in_file = b"filename" in parameters
        if not self._in_file:
            self._value = bytearray()
            if len(self.fields) >= _MOST_FIELDS:
                raise invalid("The form has too many fields.", self._name)
        elif self._name != self._field:
            raise invalid(f"There is no file '{self._name}' here: the file is '{self._field}'.", self._name)
        elif self.seen:
            raise invalid(f"One file at a time: '{self._field}' was sent more than once.", self._field)
        else:
            self.seen = True
            self.filename = parameters[b"filename"].decode("utf-8", "replace")
            self.media_type = self._headers.get(b"content-type", b"").decode("latin-1") or None
        self._headers = {}

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._blocks.append(data[start:end])
        elif self._value is not None:
            self._value += data[start:end]
            if len(self._value) > _LONGEST_VALUE:
                raise invalid(f"The form field '{self._name}' is too long.", self._name)

    def _on_part_end(self) -> None:
        if self._value is not None:
            self.fields[self._name] = self._value.decode("utf-8", "replace")
        self._value = None

    def _on_end(self) -> None:
        self._finished = True

"""Multipart uploads: kept once (on disk when large), readable again for each attempt, with single fields replaced."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import IO, Any

import msgspec
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from polyroute.engine.envelope import invalid

_IN_MEMORY = 1 << 20
_BLOCK = 1 << 16
_LONGEST_VALUE = 1 << 16


class _Field(msgspec.Struct):
    """A part of the form by absolute byte offsets: the whole part from `begin`, its content from `start`, to `end`."""

    name: str
    is_file: bool
    begin: int
    start: int
    end: int
    value: bytes = b""
    filename: str | None = None
    media_type: str | None = None


class Upload(msgspec.Struct, frozen=True):
    """A file of a form: the field's name, what the caller says of the file, and where it lies."""

    name: str
    filename: str | None
    media_type: str | None
    start: int
    end: int


class FormBody:
    """A `ports.Body` over a spooled form in which some ranges are replaced."""

    def __init__(self, spool: IO[bytes], size: int, changes: tuple[tuple[int, int, bytes], ...] = ()) -> None:
        self._spool = spool
        self._size = size
        self._changes = changes

    @property
    def length(self) -> int:
        """Size in bytes, changes included."""
        return self._size + sum(len(new) - (end - start) for start, end, new in self._changes)

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start in blocks of 64 KB."""
        position = 0
        for start, end, new in (*self._changes, (self._size, self._size, b"")):
            while position < start:
                self._spool.seek(position)  # another attempt may have moved the file since
                block = self._spool.read(min(start - position, _BLOCK))
                position += len(block)
                yield block
            if new:
                yield new
            position = end


class Form:
    """Reads a multipart form as it arrives. Raises PolyrouteError(invalid_request) on anything that is no form."""

    def __init__(self, content_type: str) -> None:
        _, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary")
        if not boundary:
            raise invalid("The content type multipart/form-data lacks its boundary.")
        self._boundary = boundary
        self._spool = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 (closed by `close`)
        self._size = 0
        self._fields: list[_Field] = []
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._part_begin = 0
        self._content_start: int | None = None
        self._value = b""
        self._is_file = False
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

    def write(self, data: bytes) -> None:
        """Take the next bytes of the upload."""
        self._spool.write(data)
        try:
            self._parser.write(data)
        except MultipartParseError as error:
            raise invalid(f"The multipart form is broken: {error}.") from error
        self._size += len(data)

    def finish(self) -> None:
        """The upload ended."""
        if not self._finished:
            raise invalid("The multipart form is broken off: its closing boundary is missing.")

    def close(self) -> None:
        """Give the space back."""
        self._spool.close()

    def get(self, name: str) -> str | None:
        """The value of a text field; None when there is none."""
        for field in self._fields:
            if field.name == name and not field.is_file:
                return field.value.decode("utf-8", "replace")
        return None

    def has_file(self, name: str) -> bool:
        """Whether a file was sent under this name."""
        return any(field.name == name and field.is_file for field in self._fields)

    @property
    def size(self) -> int:
        """Bytes of the whole form."""
        return self._size

    def peek(self, length: int) -> bytes:
        """The first bytes of the first file; b"" when there is none."""
        for upload in self.uploads():
            self._spool.seek(upload.start)
            return self._spool.read(min(length, upload.end - upload.start))
        return b""

    def values(self) -> dict[str, Any]:
        """The text fields by name; one that comes several times, or ends in `[]`, is a list."""
        found: dict[str, Any] = {}
        for field in self._fields:
            if field.is_file:
                continue
            text = field.value.decode("utf-8", "replace")
            if field.name in found or field.name.endswith("[]"):
                earlier = found.get(field.name, [])
                found[field.name] = [*(earlier if isinstance(earlier, list) else [earlier]), text]
            else:
                found[field.name] = text
        return found

    def uploads(self) -> tuple[Upload, ...]:
        """The files, in the caller's order."""
        return tuple(
            Upload(field.name, field.filename, field.media_type, field.start, field.end)
            for field in self._fields
            if field.is_file
        )

    def part(self, start: int, length: int) -> bytes:
        """Some bytes of the whole form."""
        self._spool.seek(start)
        return self._spool.read(length)

    async def read(self, upload: Upload) -> AsyncIterator[bytes]:
        """A file's bytes in blocks of 64 KB."""
        position = upload.start
        while position < upload.end:
            self._spool.seek(position)
            block = self._spool.read(min(upload.end - position, _BLOCK))
            position += len(block)
            yield block

    def body(self, replace: dict[str, str], remove: frozenset[str] = frozenset()) -> FormBody:
        """The form with some text fields replaced (put in front where they are missing) and some removed; every other byte
        is as it came."""
        added = b"".join(
            b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
            % (self._boundary, name.encode(), value.encode())
            for name, value in replace.items()
            if self.get(name) is None
        )
        changes = [(0, 0, added)] if added else []
        for field in self._fields:
            if field.name in remove:
                changes.append((field.begin, field.end, b""))
            elif field.name in replace and not field.is_file:
                changes.append((field.start, field.end, replace[field.name].encode()))
        return FormBody(self._spool, self._size, tuple(changes))

    # The parser's callbacks give offsets within the block that is being written.

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, parameters = parse_options_header(self._headers.get(b"content-disposition"))
        self._is_file = b"filename" in parameters
        name = parameters.get(b"name", b"").decode("utf-8", "replace")
        field = _Field(name, self._is_file, self._part_begin, -1, -1)
        if self._is_file:
            field.filename = parameters[b"filename"].decode("utf-8", "replace")
            declared = self._headers.get(b"content-type")
            field.media_type = None if declared is None else declared.decode("latin-1")
        self._fields.append(field)
        self._headers = {}
        self._content_start = None
        self._value = b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._content_start is None:
            self._content_start = self._size + start
        field = self._fields[-1]
        field.end = self._size + end
        if not self._is_file:
            self._value += data[start:end]
            if len(self._value) > _LONGEST_VALUE:
                raise invalid(f"The form field '{field.name}' is too long.", field.name)

    def _on_part_end(self) -> None:
        field = self._fields[-1]
        if self._content_start is None:
            field.start = field.end = self._end_of_headers()
        else:
            field.start = self._content_start
        field.value = self._value
        self._part_begin = field.end

    def _end_of_headers(self) -> int:
        """Where the part that just ended would have its content: the parser does not tell of content that is empty."""
        self._spool.seek(self._part_begin)
        block = self._spool.read(_BLOCK)
        self._spool.seek(0, os.SEEK_END)
        found = block.find(b"\r\n\r\n", block.find(self._boundary))
        if found < 0:
            raise invalid("The headers of a form's part are too long.")
        return self._part_begin + found + 4

    def _on_end(self) -> None:
        self._finished = True

"""Real MP4 films written without an encoder: H.264 whose pictures are raw or copied blocks, and silent AAC sound."""

from __future__ import annotations

import hashlib
import re
import struct
from functools import lru_cache

from polyroute.sandbox.pictures import caption

NOTE = "Simulated by the Polyroute sandbox"
_AAC_FRAME = bytes((0x00, 0xC8, 0x00, 0x80, 0x23, 0x80))
_AAC_RATE = 24_000
_EMULATED = re.compile(b"\x00\x00(?=[\x00-\x03])")
_WHITE = (235, 128, 128)
_LARGEST_LETTER = 12
_MATRIX = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


class _Bits:
    """A bit string that is written most significant bit first."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._bytes = bytearray()
        self._count = 0

    def put(self, bits: str) -> None:
        self._text.append(bits)
        self._count += len(bits)

    def unsigned(self, value: int) -> None:
        """Exp-Golomb code of a number that is not negative."""
        digits = f"{value + 1:b}"
        self.put("0" * (len(digits) - 1) + digits)

    def raw(self, data: bytes) -> None:
        """Whole bytes, after zeros up to a byte's border."""
        self.put("0" * (-self._count % 8))
        self._flush()
        self._bytes += data

    def end(self) -> bytes:
        """All bytes, with the stop bit of a unit."""
        self.put("1")
        self.put("0" * (-self._count % 8))
        self._flush()
        return bytes(self._bytes)

    def _flush(self) -> None:
        text = "".join(self._text)
        if text:
            self._bytes += int(text, 2).to_bytes(len(text) // 8, "big")
        self._text.clear()
        self._count = 0


def _unit(kind: int, payload: bytes) -> bytes:
    return bytes((kind,)) + _EMULATED.sub(b"\x00\x00\x03", payload)


class _Painter:
    """The pictures of one film: a flat colour, the caption, and a bar that grows by the second."""

    def __init__(self, seed: str, width: int, height: int) -> None:
        digest = hashlib.sha256(seed.encode()).digest()
        self.back = (48 + digest[0] % 80, 64 + digest[1] % 128, 64 + digest[2] % 128)
        self.wide, self.high = -(-width // 16), -(-height // 16)
        self.sides = width, height
        self.letters = self._letters()

    def _letters(self) -> dict[tuple[int, int], bytearray]:
        """Luma of the macroblocks (column, row) that the caption touches."""
        width, height = self.sides
        columns = caption(width)
        scale = min(_LARGEST_LETTER, width * 9 // 10 // max(1, len(columns)))
        scale -= scale % 2 if scale > 1 else 0
        left = (width - scale * len(columns)) // 2 & ~1
        top = (height - scale * 7) // 2 & ~1
        blocks: dict[tuple[int, int], bytearray] = {}
        for place, column in enumerate(columns):
            for bit in range(7):
                if column >> (6 - bit) & 1:
                    for y in range(top + bit * scale, top + (bit + 1) * scale):
                        for x in range(left + place * scale, left + (place + 1) * scale):
                            if 0 <= x < self.wide * 16 and 0 <= y < self.high * 16:
                                block = blocks.setdefault((x // 16, y // 16), bytearray([self.back[0]]) * 256)
                                block[y % 16 * 16 + x % 16] = _WHITE[0]
        return blocks

    def _flat(self, colour: tuple[int, int, int]) -> bytes:
        return bytes([colour[0]]) * 256 + bytes([colour[1]]) * 64 + bytes([colour[2]]) * 64

    def _chroma(self, luma: bytearray) -> bytes:
        lit = [luma[y * 32 + x * 2] == _WHITE[0] for y in range(8) for x in range(8)]
        return b"".join(bytes(_WHITE[part] if on else self.back[part] for on in lit) for part in (1, 2))

    def first(self) -> bytes:
        """The slice of the first picture."""
        bits = _Bits()
        for value in (0, 7, 0):
            bits.unsigned(value)
        bits.put("00000000")  # frame_num
        bits.unsigned(0)  # idr_pic_id
        bits.put("00")
        bits.unsigned(0)  # slice_qp_delta
        bits.unsigned(1)  # no deblocking
        written: set[tuple[int, int]] = set()
        for row in range(self.high):
            for column in range(self.wide):
                here, left, above = (column, row), (column - 1, row), (column, row - 1)
                if here not in self.letters and here != (0, 0) and not {left, above} & self.letters.keys():
                    bits.unsigned(3)  # a block predicted as the mean of its neighbours
                    bits.unsigned(0)
                    bits.unsigned(0)
                    bits.put("000011" if {left, above} & written else "1")
                    continue
                written.add(here)
                bits.unsigned(25)
                luma = self.letters.get(here)
                bits.raw(self._flat(self.back) if luma is None else bytes(luma) + self._chroma(luma))
        return _unit(0x65, bits.end())

    def later(self, number: int, bar: range) -> bytes:
        """The slice of a picture that copies the one before, with new blocks of the bar."""
        bits = _Bits()
        for value in (0, 5, 0):
            bits.unsigned(value)
        bits.put(f"{number % 256:08b}")
        bits.put("000")
        bits.unsigned(0)
        bits.unsigned(1)
        row = self.high - 2 if self.high > 2 else self.high - 1
        skipped = row * self.wide + bar.start
        for _ in bar:
            bits.unsigned(skipped)
            bits.unsigned(30)
            bits.raw(self._flat(_WHITE))
            skipped = 0
        rest = self.wide * self.high - (row * self.wide + bar.stop if bar else 0)
        if rest:
            bits.unsigned(rest)
        return _unit(0x41, bits.end())


def _parameter_sets(width: int, height: int) -> tuple[bytes, bytes]:
    wide, high = -(-width // 16), -(-height // 16)
    bits = _Bits()
    level = 40 if wide * high <= 8192 else 52
    bits.put(f"{66:08b}{0xC0:08b}{level:08b}")
    for value in (0, 4, 2, 1):
        bits.unsigned(value)
    bits.put("0")
    bits.unsigned(wide - 1)
    bits.unsigned(high - 1)
    bits.put("11")
    cut = (wide * 16 - width) // 2, (high * 16 - height) // 2
    bits.put("1" if any(cut) else "0")
    if any(cut):
        for value in (0, cut[0], 0, cut[1]):
            bits.unsigned(value)
    bits.put("0")
    sequence = _unit(0x67, bits.end())
    bits = _Bits()
    bits.unsigned(0)
    bits.unsigned(0)
    bits.put("00")
    for value in (0, 0, 0):
        bits.unsigned(value)
    bits.put("000")
    for value in (0, 0, 0):
        bits.unsigned(value)
    bits.put("100")
    return sequence, _unit(0x68, bits.end())


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + kind + body


def _full(kind: bytes, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", flags), *parts)


def _note() -> bytes:
    data = _box(b"data", struct.pack(">II", 1, 0), NOTE.encode())
    handler = _full(b"hdlr", 0, bytes(4), b"mdirappl", bytes(9))
    listing = _box(b"ilst", _box(b"\xa9cmt", data), _box(b"\xa9nam", data))
    return _box(b"udta", _full(b"meta", 0, handler, listing))


def _track(
    number: int, scale: int, step: int, sizes: list[int], offset: int, entry: bytes, sides: tuple[int, int] | None
) -> bytes:
    """One track: `sizes` of its samples, each `step` units of `scale` long, lying together from `offset`."""
    length = step * len(sizes)
    seconds = round(length * 1000 / scale)
    picture = sides is not None
    width, height = sides or (0, 0)
    volume = 0 if picture else 0x0100
    place = struct.pack(">5I", 0, 0, number, 0, seconds) + bytes(8) + struct.pack(">HHHH", 0, 0, volume, 0)
    head = _full(b"tkhd", 3, place, _MATRIX, struct.pack(">II", width << 16, height << 16))
    tables = [
        _full(b"stsd", 0, struct.pack(">I", 1), entry),
        _full(b"stts", 0, struct.pack(">III", 1, len(sizes), step)),
        _full(b"stsc", 0, struct.pack(">IIII", 1, 1, len(sizes), 1)),
        _full(b"stsz", 0, struct.pack(f">II{len(sizes)}I", 0, len(sizes), *sizes)),
        _full(b"stco", 0, struct.pack(">II", 1, offset)),
    ]
    if picture:
        tables.insert(2, _full(b"stss", 0, struct.pack(">II", 1, 1)))
    reach = _box(b"dinf", _full(b"dref", 0, struct.pack(">I", 1), _full(b"url ", 1)))
    header = _full(b"vmhd", 1, bytes(8)) if picture else _full(b"smhd", 0, bytes(4))
    handler = _full(b"hdlr", 0, bytes(4), b"vide" if picture else b"soun", bytes(12), b"simulated\0")
    media_head = _full(b"mdhd", 0, struct.pack(">IIIIHH", 0, 0, scale, length, 0x55C4, 0))
    media = _box(b"mdia", media_head, handler, _box(b"minf", header, reach, _box(b"stbl", *tables)))
    return _box(b"trak", head, media)


def _video_entry(width: int, height: int) -> bytes:
    sequence, picture = _parameter_sets(width, height)
    config = b"\x01" + sequence[1:4] + b"\xff\xe1" + struct.pack(">H", len(sequence)) + sequence
    config += b"\x01" + struct.pack(">H", len(picture)) + picture
    body = bytes(6) + struct.pack(">H", 1) + bytes(16) + struct.pack(">HH", width, height)
    body += struct.pack(">IIIH", 0x480000, 0x480000, 0, 1) + bytes(32) + struct.pack(">Hh", 24, -1)
    return _box(b"avc1", body, _box(b"avcC", config))


def _audio_entry() -> bytes:
    config = b"\x05\x02\x13\x08"
    decoder = b"\x04" + bytes((13 + len(config), 0x40, 0x15)) + bytes(3) + struct.pack(">II", 2250, 2250) + config
    body = struct.pack(">HB", 1, 0) + decoder + b"\x06\x01\x02"
    descriptor = _full(b"esds", 0, b"\x03" + bytes((len(body),)) + body)
    entry = bytes(6) + struct.pack(">H", 1) + bytes(8) + struct.pack(">HHHHI", 1, 16, 0, 0, _AAC_RATE << 16)
    return _box(b"mp4a", entry, descriptor)


@lru_cache(maxsize=16)
def film(
    seed: str, width: int, height: int, seconds: float, frames_a_second: float = 24.0, sound: bool = True
) -> bytes:
    """An MP4 of that size (even sides) and length; the same arguments give the same bytes."""
    width, height = max(16, width & ~1), max(16, height & ~1)
    painter = _Painter(seed, width, height)
    count = max(1, round(seconds * frames_a_second))
    steps = max(1, int(seconds))
    pictures, drawn = [painter.first()], 0
    for number in range(1, count):
        passed = min(steps, int(number / frames_a_second) + 1) if number % max(1, round(frames_a_second)) == 0 else 0
        until = painter.wide * passed // (steps + 1)
        bar = range(drawn, until) if until > drawn else range(0)
        pictures.append(painter.later(number, bar))
        drawn = max(drawn, until)
    samples = [struct.pack(">I", len(unit)) + unit for unit in pictures]
    sounds = [_AAC_FRAME] * int(seconds * _AAC_RATE / 1024) if sound else []
    scale, step = round(frames_a_second * 1000), 1000

    def movie(offset: int) -> bytes:
        sizes = [len(sample) for sample in samples]
        tracks = [_track(1, scale, step, sizes, offset, _video_entry(width, height), (width, height))]
        if sounds:
            behind = offset + sum(sizes)
            tracks.append(_track(2, _AAC_RATE, 1024, [len(item) for item in sounds], behind, _audio_entry(), None))
        length = round(count * step * 1000 / scale)
        head = struct.pack(">IIII", 0, 0, 1000, length) + struct.pack(">IHH", 0x10000, 0x0100, 0) + bytes(8)
        return _box(b"moov", _full(b"mvhd", 0, head, _MATRIX, bytes(24), struct.pack(">I", 3)), *tracks, _note())

    kind = _box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso2avc1mp41")
    offset = len(kind) + len(movie(0)) + 8
    return kind + movie(offset) + _box(b"mdat", b"".join(samples), b"".join(sounds))

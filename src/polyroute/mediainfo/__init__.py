"""What a file is, told from its bytes: signatures, dimensions, durations. Pure, bounded, and never led astray by a name or
a declared type. Read `inspect`, then the parser of the format in question."""

from polyroute.mediainfo.inspect import ending_of, family_of, inspect_media, shows
from polyroute.mediainfo.signatures import sniff
from polyroute.mediainfo.source import ByteSource, FileBytes

__all__ = ["ByteSource", "FileBytes", "ending_of", "family_of", "inspect_media", "shows", "sniff"]

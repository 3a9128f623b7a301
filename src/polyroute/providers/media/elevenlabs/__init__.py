"""ElevenLabs: speech while it is spoken, voices and their clones, transcripts, sound effects and music (media.md 4)."""

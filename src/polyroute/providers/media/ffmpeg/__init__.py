"""ffmpeg on this machine: composing video and sound, and converting masks."""

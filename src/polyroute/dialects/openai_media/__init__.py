"""OpenAI's images and audio: requests into `MediaRequest`, and what was made back into answers; pure."""

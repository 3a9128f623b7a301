"""OpenAI's chat completions, as OpenAI and everyone who is compatible with it speak them."""

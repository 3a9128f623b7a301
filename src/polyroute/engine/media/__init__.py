"""Media work within an attempt: a caller's media request, made by a provider's media adapter."""

"""Pipelines: several steps as one durable job, whose media steps are durable jobs themselves."""

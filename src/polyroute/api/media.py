"""The paths of media work that becomes jobs: one door for the fast lane."""

from __future__ import annotations

from polyroute.api.errands import ErrandPaths
from polyroute.api.exchange import Exchange
from polyroute.api.files import FilePaths
from polyroute.api.jobs import JobPaths
from polyroute.api.pipelines import PipelinePaths
from polyroute.api.requests import Receive, Scope, Send
from polyroute.api.slow_calls import SlowCalls
from polyroute.api.videos import VideoPaths
from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.desk import JobDesk
from polyroute.engine.lanes import Conversation
from polyroute.engine.pipelines.desk import PipelineDesk


class MediaPaths:
    """Jobs, pipelines, videos, voices and what providers report. `wait`: seconds for which a call waits that only says that
    it wants to."""

    def __init__(
        self, gateway: Gateway, desk: JobDesk, pipelines: PipelineDesk, files: FilePaths, *, wait: float, max_body: int,
        max_form: int,
    ) -> None:  # fmt: skip
        self._jobs = JobPaths(gateway, desk, wait=wait, max_body=max_body)
        self._pipelines = PipelinePaths(gateway, pipelines, wait=wait, max_body=max_body)
        self._videos = VideoPaths(gateway, desk, files, max_body=max_body, max_form=max_form)
        self._errands = ErrandPaths(gateway, desk)
        self._slow = SlowCalls(gateway, desk, wait)

    def serves(self, path: str) -> bool:
        """Whether a path is one of these."""
        return any(paths.serves(path) for paths in (self._jobs, self._pipelines, self._videos, self._errands))

    async def answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """One request. Raises PolyrouteError (before the answer begins), ClientGone."""
        if self._errands.serves(scope["path"]):
            await self._errands.answer(scope, receive, send)
            return
        if self._pipelines.serves(scope["path"]):
            await self._pipelines.answer(scope, receive, send, request_id)
            return
        paths = self._videos if self._videos.serves(scope["path"]) else self._jobs
        await paths.answer(scope, receive, send, request_id)

    async def take(self, conversation: Conversation, exchange: Exchange) -> bool:
        """Answer a call of OpenAI's media paths that has to be a job; False leaves it to the usual way."""
        return await self._slow.take(conversation, exchange)

"""Budgets, users, teams and notifications for operators. Plain functions: the desk blocks, so each runs in a thread."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from polyroute.ports.budgets import BudgetDesk

Identifier = Annotated[str, Path()]


class BudgetOrder(BaseModel):
    """A budget. `amount` is `30 USD`, `500000 VND` or `1000 credits`; `subject` is the team, user, key or route."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: str
    amount: Any
    scope: str = "installation"
    subject: str | None = None
    window: str = "month"
    time_zone: str = "UTC"
    soft_limit: float | None = Field(default=None, description="share of the amount: 0.8 for 80 %")
    soft_action: str = "warn"
    downgrade_to: str | None = None
    hard: bool = True
    unpriced: str = "refuse"
    alerts: list[float] = [0.8, 1.0]


class UserOrder(BaseModel):
    """A user, and the team that it belongs to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    team: str | None = None


class TeamOrder(BaseModel):
    """A team."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str


def budget_routes(desk: BudgetDesk) -> APIRouter:
    """The paths under `/admin/api/{budgets,users,teams,notifications}`."""
    routes = APIRouter(prefix="/admin/api")

    @routes.get("/budgets", tags=["budgets"], summary="All budgets with their current windows")
    def budgets() -> Response:
        return _json(desk.list_budgets())

    @routes.post("/budgets", tags=["budgets"], status_code=201, summary="Make a budget, or change the one of that id")
    def put_budget(order: Annotated[BudgetOrder, Body()]) -> Response:
        return _json(desk.put_budget(order.model_dump()), 201)

    @routes.delete("/budgets/{identifier}", tags=["budgets"], status_code=204, summary="Remove a budget")
    def remove_budget(identifier: Identifier) -> Response:
        desk.remove_budget(identifier)
        return Response(status_code=204)

    @routes.get("/users", tags=["budgets"], summary="All users")
    def users() -> Response:
        return _json(desk.list_users())

    @routes.post("/users", tags=["budgets"], status_code=201, summary="Make a user, or move it to a team")
    def put_user(order: UserOrder) -> Response:
        return _json(desk.put_user(order.id, order.team), 201)

    @routes.delete("/users/{identifier}", tags=["budgets"], status_code=204, summary="Remove a user")
    def remove_user(identifier: Identifier) -> Response:
        desk.remove_user(identifier)
        return Response(status_code=204)

    @routes.get("/teams", tags=["budgets"], summary="All teams")
    def teams() -> Response:
        return _json(desk.list_teams())

    @routes.post("/teams", tags=["budgets"], status_code=201, summary="Make a team")
    def put_team(order: TeamOrder) -> Response:
        return _json(desk.put_team(order.id), 201)

    @routes.delete("/teams/{identifier}", tags=["budgets"], status_code=204, summary="Remove a team without users")
    def remove_team(identifier: Identifier) -> Response:
        desk.remove_team(identifier)
        return Response(status_code=204)

    @routes.get("/notifications", tags=["notifications"], summary="The feed, newest first")
    def notifications(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100, unread: Annotated[bool, Query()] = False
    ) -> Response:
        return _json(desk.list_notifications(limit, unread=unread))

    @routes.post("/notifications/{identifier}/read", tags=["notifications"], summary="Mark one as seen")
    def mark_read(identifier: Identifier) -> Response:
        return _json(desk.mark_read(identifier))

    return routes


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")

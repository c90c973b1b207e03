"""`GET /health` and `GET /ready`, for whoever keeps the service running."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint

from webcall.errors import Busy
from webcall.http.auth import services
from webcall.http.envelope import envelope, failure
from webcall.http.examples import HEALTHY, NOT_READY, READY, RETRY_AFTER
from webcall.http.schemas import HealthAnswer, NotReadyAnswer, ReadyAnswer

blueprint = Blueprint("health", __name__, description="For load balancers and operators.")


@blueprint.get("/health")
@blueprint.response(200, HealthAnswer, description="The process serves.", example=HEALTHY)
@blueprint.doc(operationId="health")
def health() -> Any:
    """Tell whether the process serves

    Asks nobody else: it answers while LiveKit hangs.
    """
    return HEALTHY


@blueprint.get("/ready")
@blueprint.response(200, ReadyAnswer, description="Calls can be served.", example=READY)
@blueprint.alt_response(
    503,
    schema=NotReadyAnswer,
    description="Who does not answer. See Retry-After.",
    example=NOT_READY,
    headers=RETRY_AFTER,
)
@blueprint.doc(operationId="ready")
def ready() -> Any:
    """Tell whether calls can be served

    LiveKit and every configured backend are asked; the answer is kept for a second.
    """
    try:
        with services().gate.enter():
            state = services().readiness.state()
    except Busy as error:
        data: dict[str, Any] = {"down": [], "degraded": []}
        retry_after = {"Retry-After": str(error.retry_after_s)}
        return failure(503, "Not ready: too many calls in flight", data, headers=retry_after)
    if state.ready:
        return envelope("Ready", {"degraded": list(state.degraded)}, success=True)
    data = {"down": list(state.down), "degraded": list(state.degraded)}
    return failure(503, "Not ready", data, headers={"Retry-After": "1"})

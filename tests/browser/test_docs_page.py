"""The page of the HTTP API under its own policy, which allows no inline style."""

from __future__ import annotations

from tests.support.browser import Visitor


def test_swagger_ui_works_under_the_policy(visitor: Visitor) -> None:
    """Every operation opens, one is tried out, and a key is given, without a breach of the policy."""
    page = visitor.page
    page.goto(f"{visitor.service}/docs")
    page.locator(".opblock").first.wait_for()
    for block in page.locator(".opblock-summary-control").all():
        block.click()
    health = page.locator("#operations-health-health")
    health.get_by_text("Try it out").click()
    health.locator(".execute").click()
    health.locator(".live-responses-table").get_by_text("healthy and operational").first.wait_for()
    page.locator(".auth-wrapper .authorize").first.click()
    page.locator(".dialog-ux .modal-ux").wait_for()
    page.locator(".dialog-ux .close-modal").click()

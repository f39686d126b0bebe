"""What axe says of a page, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Page

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()
SERIOUS = {"serious", "critical"}
RUN = """
async (rules) => {
  const only = rules ? { runOnly: { type: "rule", values: rules } } : {};
  const drawn = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  await drawn();
  await Promise.all(document.getAnimations().map((each) => each.finished.catch(() => {})));
  const above = document.querySelector(":popover-open"); // the page behind it is dimmed
  const { violations } = await axe.run(above ?? document, { resultTypes: ["violations"], ...only });
  return violations.map(({ id, impact, nodes }) => ({
    id, impact, nodes: nodes.map((node) => `${node.target.join(" ")}: ${node.failureSummary}`),
  }));
}
"""


def faults(page: Page, state: str = "", *, reload: bool = False) -> list[dict[str, Any]]:
    """What axe calls serious here, with the system's preference for light and for dark.

    `reload` where a page looks at the preference only when it is opened, as the console does.
    """
    found: list[dict[str, Any]] = []
    for scheme, rules in (("light", None), ("dark", ["color-contrast", "link-in-text-block"])):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        if reload and scheme == "dark":
            page.reload()
        page.wait_for_timeout(100)
        if not page.evaluate("'axe' in globalThis"):
            page.evaluate(AXE)
        found += [
            {**violation, "where": f"{state or page.url} ({scheme})"}
            for violation in page.evaluate(RUN, rules)
            if violation["impact"] in SERIOUS
        ]
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    return found

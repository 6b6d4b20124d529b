"""Fails if a built documentation site would load anything from another host.

python .ci/check_site.py SITE
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

# Of a link, only these relations are loaded together with the page.
LOADED = {"stylesheet", "preconnect", "preload", "dns-prefetch", "icon", "manifest"}
OTHER_HOST = re.compile(r"(https?:)?//")


class Resources(HTMLParser):
    """Collects the addresses of other hosts that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        loaded = LOADED & set((values.get("rel") or "").split()) if tag == "link" else True
        address = values.get("href" if tag == "link" else "src") or ""
        if loaded and OTHER_HOST.match(address):
            self.found.add(address)
        if "mermaid" in (values.get("class") or "").split():
            self.found.add("mermaid, which the theme fetches")


site = Path(sys.argv[1])
failed = []
pages = sorted(site.rglob("*.html"))
for page in pages:
    resources = Resources()
    resources.feed(page.read_text(encoding="utf-8"))
    failed += [f"{page.relative_to(site)}: {address}" for address in sorted(resources.found)]
for sheet in sorted(site.rglob("*.css")):
    for address in re.findall(r"url\([\"']?((?:https?:)?//[^)\"']*)", sheet.read_text("utf-8")):
        failed.append(f"{sheet.relative_to(site)}: {address}")
if not pages or failed:
    sys.exit("\n".join(failed) or f"{site} has no page")
print(f"{len(pages)} pages load nothing from other hosts")

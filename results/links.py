"""Links from a page to the records behind it, safe as a Markdown destination, an HTML attribute and a YAML text."""

import os
from urllib.parse import quote


def record_url(link: str, place: str) -> str:
    """Where the record at `place` (a path under the records' folder) is, seen from a page; "" for pages without links.

    `link`: what stands before the place, a relative path or the address of a site; its path is escaped like the place,
    so that no blank, bracket or quotation mark of a folder's name ends the link.
    """
    if not link:
        return ""
    scheme, found, rest = link.partition("://")
    base = f"{scheme}://{quote(rest, safe='/:@?&=%~')}" if found else quote(os.fsencode(link), safe="/~")
    return base + quote(os.fsencode(place), safe="/~")


def one_folder_down(link: str) -> str:
    """The link for pages that stand in a folder of their own beside the others."""
    return link if not link or "://" in link or link.startswith("/") else f"../{link}"

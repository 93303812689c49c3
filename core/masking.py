"""URLs without what may be secret in them: a name and password, and a query, which may hold a signature."""

import re

_QUERY = re.compile(r"[?#].*", re.DOTALL)
_USER = re.compile(r"(://)[^/]*@")


def mask_url(url: str) -> str:
    """What everybody may see; `?…` stands for a query that was there. The path is shown: it names the file."""
    return _QUERY.sub("?…", _USER.sub(r"\1", url, count=1), count=1)


def name_file(url: str, *, default: str) -> str:
    """The last part of the path, for people to recognise it by."""
    return _QUERY.sub("", url, count=1).rsplit("/", 1)[-1] or default

"""The address of a database as it may be shown."""

from __future__ import annotations

import re


def without_password(url: str) -> str:
    """Return a database's URL with stars for its password, wherever it stands, also when it is not quite a URL.

    It stands behind the user's name, up to the last ``@`` for who has not written ``%40``, or after ``password=``, in
    the query of a URL or in libpq's own words (``host=… password=…``):
    https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-CONNSTRING.
    """
    shown = re.sub(r"^([^:/@]*://)?([^:@/]*):(?!//).*@", r"\1\2:***@", url, flags=re.DOTALL)
    return re.sub(r"(password\s*=\s*)('[^']*'|[^&\s]*)", r"\1***", shown, flags=re.IGNORECASE)

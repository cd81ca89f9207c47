"""Runs in the environment of the published client: does the calls that come by standard input.

Each line is a JSON list of a method's name and its arguments; a script is given as text.
"""

import io
import json
import sys

from swmclient.api import SwmApi  # type: ignore[import-not-found]


def plain(value):  # type: ignore[no-untyped-def]
    """Records as dicts, files and bytes as text."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "payload"):
        return value.payload.read().decode()
    return value.to_dict() if hasattr(value, "to_dict") else value


def main() -> None:
    """Answer each line with one line of JSON."""
    url, key, cert, ca = sys.argv[1:]
    api = SwmApi(url=url, key_file=key, cert_file=cert, ca_file=ca)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        if method == "submit_job":
            arguments = [io.BytesIO(arguments[0].encode())]
        print(json.dumps(plain(getattr(api, method)(*arguments))), flush=True)


main()

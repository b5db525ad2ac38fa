"""What an agent answers whom it does not know."""

import json
import ssl
import urllib.request

from . import places
from .errors import LabError


def status(address):
    """The document at /v1/status, for which no token is needed."""
    # Its certificate is known to Ironic alone.
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    url = f"https://{address}:{places.AGENT_PORT}/v1/status"
    try:
        with urllib.request.urlopen(url, timeout=30, context=anyone) as answer:
            return json.load(answer)
    except OSError as error:
        raise LabError(f"{url}: the agent does not answer: {error}") from error

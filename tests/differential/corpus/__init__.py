"""All requests, in the order in which both agents get them, one after the other."""

from . import arguments, bodies, contract, documents, flow, framing, sequences, states, targets
from .case import Case

__all__ = ["Case", "all_cases"]


def all_cases():
    yield from contract.cases()
    yield from states.cases()
    yield from targets.cases()
    yield from sequences.cases()
    yield from bodies.cases()
    # From here on what is run or recorded differs on purpose here and there, and so would lists.
    yield from documents.cases()
    yield from flow.cases()
    yield from framing.cases()
    # Last: the Python agent's list of commands is broken for good by one of these.
    yield from arguments.cases()

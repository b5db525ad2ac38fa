"""An orchestrator's client, in a process that can be killed: one order by its identifier, repeated until it is answered,
and followed to its end. Started again it gives the same order, as a client does that was killed."""

import multiprocessing
import random
import time
from multiprocessing.connection import Connection

import grpc
from google.protobuf import json_format
from ironic.agent.v1 import command_pb2, command_service_pb2, command_service_pb2_grpc

# Seconds: one call; until it must have been answered.
CALL, TIMEOUT = 60, 120


def call(sockets, node, method, request):
    """One call, repeated at either gateway until there is an answer."""
    end, tries = time.monotonic() + TIMEOUT, 0
    while True:
        tries += 1
        # Of itself grpcio says the path of a socket as authority, which HTTP/2 servers refuse.
        options = [("grpc.default_authority", "localhost")]
        with grpc.insecure_channel(f"unix:{random.choice(sockets)}", options) as channel:
            stub = command_service_pb2_grpc.CommandServiceStub(channel)
            try:
                answer = getattr(stub, method)(request, timeout=CALL, metadata=[("node-uuid", node)])
                return answer.command, tries
            except grpc.RpcError as error:
                # Nobody there, a broken connection, a node that is away or at the other gateway: all of it ends.
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                    raise AssertionError(f"{method}: {error.code()} {error.details()}") from error
        assert time.monotonic() < end, f"no answer to {method} within {TIMEOUT} s"
        time.sleep(0.02)


def give(sockets, node, order, step, answer):
    """Gives the order. The end of the pipe gets the record's identifier, how it ended, and the attempts."""
    request = command_service_pb2.ExecuteCommandRequest(id=order)
    request.command.execute_step.phase = command_pb2.STEP_PHASE_CLEAN
    json_format.ParseDict(step, request.command.execute_step.step)
    json_format.ParseDict({"uuid": node}, request.command.execute_step.node)
    record, tries = call(sockets, node, "ExecuteCommand", request)
    wait = command_service_pb2.GetCommandRequest(id=record.id, wait=True)
    while record.state == command_pb2.COMMAND_STATE_RUNNING:
        record, _ = call(sockets, node, "GetCommand", wait)
    answer.send((record.id, command_pb2.CommandState.Name(record.state).removeprefix("COMMAND_STATE_"), tries))


class ClientProcess:
    """The process of a client, for one order."""

    name = "client"

    # A process that has not used gRPC, and whose children therefore may.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["client"])

    def __init__(self, *order):
        self.order = order
        # Which of its lives this is and where it answers, and of which life the answer is that was read last.
        self.life: tuple[int, Connection | None] = (0, None)
        self.answered: tuple[int, tuple | None] = (0, None)
        self.is_killed = False
        self.start()

    def start(self):
        answer, end = self.context.Pipe(duplex=False)
        self.child = self.context.Process(target=give, args=(*self.order, end), daemon=True)
        self.child.start()
        end.close()
        self.life, self.is_killed = (self.life[0] + 1, answer), False

    def kill(self):
        self.is_killed = True
        self.child.kill()
        self.child.join()

    def wait(self):
        """What the client was answered in the latest of its lives. Killed and not yet started again, it is waited for."""
        if self.answered[0] == self.life[0]:
            return self.answered[1]
        end = time.monotonic() + TIMEOUT + CALL
        while time.monotonic() < end:
            number, answer = self.life
            try:
                if answer and answer.poll(0.05):
                    identifier, status, tries = answer.recv()
                    self.answered = number, (identifier, status, tries + number - 1)
                    return self.answered[1]
            except EOFError:
                # One that failed by itself is not started again. It has said why.
                if not self.is_killed and self.life[1] is answer:
                    break
                time.sleep(0.01)
        raise AssertionError(f"the client of {self.order} ended without an answer")

"""The helpers against a server that breaks off as it is scripted to. `tests/contract/clients.rs` has the real programs."""

import asyncio
import re
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from ironic_agent_client import (
    ApiError,
    AsyncGateway,
    AsyncNode,
    CommandCancelled,
    CommandFailed,
    CommandLost,
    Gateway,
    NodeChange,
    WatchedNodes,
    errors,
    to_dict,
    to_struct,
)
from ironic_agent_client.v1 import command_pb2, command_service_pb2, command_service_pb2_grpc, fleet_service_pb2, fleet_service_pb2_grpc

SYNC = command_pb2.Command(sync=command_pb2.SyncCommand())
IDENTIFIER = "0c5a2b1e-7d3f-4a68-9b50-2f1d8e6c4a97"
Steps = list[object]


def refusal(reason: str, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> Callable[[grpc.aio.ServicerContext], object]:
    """A step of a script: ends the call with this reason."""
    def abort(context: grpc.aio.ServicerContext) -> object:
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=errors.DOMAIN, metadata={"node": "n"}))
        status = status_pb2.Status(code=code.value[0], message="scripted", details=[detail] if reason else [])
        return context.abort(code, "scripted", (("grpc-status-details-bin", status.SerializeToString()),))
    return abort


def node(uuid: str, boot: str = "1", **fields: Any) -> fleet_service_pb2.Node:
    """A node that is attached."""
    attachment = fleet_service_pb2.NodeAttachment(boot_id=boot)
    return fleet_service_pb2.Node(uuid=uuid, state=fleet_service_pb2.NODE_STATE_ATTACHED, attachment=attachment, **fields)


def listed(*nodes: fleet_service_pb2.Node, token: str = "", complete: bool = True) -> fleet_service_pb2.WatchNodesResponse:
    """A part of the list."""
    return fleet_service_pb2.WatchNodesResponse(nodes=fleet_service_pb2.NodeList(nodes=nodes, complete=complete), resume_token=token)


def event(kind: fleet_service_pb2.NodeEventKind.ValueType, of: fleet_service_pb2.Node, token: str) -> fleet_service_pb2.WatchNodesResponse:
    """One change."""
    events = fleet_service_pb2.NodeEvents(events=[fleet_service_pb2.NodeEvent(kind=kind, node=of)])
    return fleet_service_pb2.WatchNodesResponse(events=events, resume_token=token)


def record(state: command_pb2.CommandState.ValueType, **fields: Any) -> command_pb2.CommandRecord:
    """A command that is so far."""
    return command_pb2.CommandRecord(id=IDENTIFIER, name="standby.sync", state=state, **fields)


class Scripted(fleet_service_pb2_grpc.FleetServiceServicer, command_service_pb2_grpc.CommandServiceServicer):
    """A gateway: each call takes the next script of its kind, a list of answers and of ends."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Steps]] = {}
        self.requests: list[object] = []
        self.node = node("n")

    async def steps(self, request: object, context: grpc.aio.ServicerContext):
        self.requests.append(request)
        scripts = self.scripts.get(type(request).__name__, [])
        for step in scripts.pop(0) if scripts else [refusal("")]:
            if callable(step):
                await step(context)
            else:
                yield step

    async def one(self, request: object, context: grpc.aio.ServicerContext):
        async for answer in self.steps(request, context):
            return answer

    async def WatchNodes(self, request, context):
        async for answer in self.steps(request, context):
            yield answer

    async def WatchCommand(self, request, context):
        async for answer in self.steps(request, context):
            yield answer

    async def ExecuteCommand(self, request, context):
        return await self.one(request, context)

    async def GetStatus(self, request, context):
        return command_service_pb2.GetStatusResponse(boot_id=self.node.attachment.boot_id)

    async def GetNode(self, request, context):
        return fleet_service_pb2.GetNodeResponse(node=self.node)

    def of_kind(self, kind: type) -> list:
        return [request for request in self.requests if isinstance(request, kind)]


class Case(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.address = f"unix:{directory.name}/gateway"
        self.scripted = Scripted()  # type: ignore[abstract]
        self.server = grpc.aio.server()
        fleet_service_pb2_grpc.add_FleetServiceServicer_to_server(self.scripted, self.server)
        command_service_pb2_grpc.add_CommandServiceServicer_to_server(self.scripted, self.server)
        self.server.add_insecure_port(self.address)
        await self.server.start()
        self.gateway = AsyncGateway(self.address)

    async def asyncTearDown(self) -> None:
        await self.gateway.close()
        await self.server.stop(0)

    def script(self, kind: type, *scripts: Steps) -> None:
        self.scripted.scripts[kind.__name__] = list(scripts)

    def watch_script(self, *scripts: Steps) -> None:
        self.script(fleet_service_pb2.WatchNodesRequest, *scripts)

    def sent_tokens(self) -> list[str]:
        return [request.resume_token for request in self.scripted.of_kind(fleet_service_pb2.WatchNodesRequest)]


class Watching(Case):
    async def changes(self, count: int, **options: Any) -> list[tuple[str, str]]:
        watch = self.gateway.watch(**options)
        found: list[NodeChange] = [await asyncio.wait_for(anext(watch), 20) for _ in range(count)]
        await watch.close()
        return [(fleet_service_pb2.NodeEventKind.Name(change.kind).removeprefix("NODE_EVENT_KIND_"), change.node.uuid) for change in found]

    async def test_goes_on_after_the_last_message(self) -> None:
        lost = fleet_service_pb2.NODE_EVENT_KIND_LOST
        self.watch_script(
            [listed(node("a"), complete=False), listed(node("b"), token="1"), event(lost, node("b"), "2"), refusal("")],
            [refusal("WATCHER_SLOW", grpc.StatusCode.RESOURCE_EXHAUSTED)],
            [],
            [event(lost, node("a"), "3")],
        )
        found = await self.changes(4)
        self.assertEqual(found, [("ADDED", "a"), ("ADDED", "b"), ("LOST", "b"), ("LOST", "a")])
        self.assertEqual(self.sent_tokens(), ["", "2", "2", "2"])

    async def test_list_that_breaks_off_comes_anew(self) -> None:
        self.watch_script([listed(node("a"), complete=False), refusal("")], [listed(node("b"), token="1")])
        self.assertEqual(await self.changes(1), [("ADDED", "b")])
        self.assertEqual(self.sent_tokens(), ["", ""])

    async def test_token_that_is_too_old_brings_the_difference(self) -> None:
        expired = refusal("WATCH_EXPIRED", grpc.StatusCode.OUT_OF_RANGE)
        self.watch_script(
            [listed(node("same"), node("other"), node("gone"), token="1"), refusal("")],
            [expired],
            [listed(node("same"), node("other", name="renamed"), node("new"), token="9")],
        )
        found = await self.changes(6)
        self.assertEqual(found[3:], [("REMOVED", "gone"), ("UNSPECIFIED", "other"), ("ADDED", "new")])
        self.assertEqual(self.sent_tokens(), ["", "1", ""])

    async def test_final_errors_and_the_retry_timeout_end_it(self) -> None:
        self.watch_script([refusal("", grpc.StatusCode.PERMISSION_DENIED)])
        with self.assertRaises(ApiError) as caught:
            await self.changes(1)
        self.assertEqual(caught.exception.code, grpc.StatusCode.PERMISSION_DENIED)
        self.watch_script()
        with self.assertRaises(ApiError):
            await self.changes(1, retry_timeout=0.5)

    async def test_another_process_goes_on(self) -> None:
        self.watch_script([event(fleet_service_pb2.NODE_EVENT_KIND_LOST, node("a"), "8")])
        self.assertEqual(await self.changes(1, resume_token="7", nodes=[node("a")]), [("LOST", "a")])
        self.assertEqual(self.sent_tokens(), ["7"])

    def test_token_is_that_of_a_whole_list(self) -> None:
        state = WatchedNodes(resume_token="1")
        state.take(listed(node("a"), complete=False))
        self.assertEqual((state.resume_token, state.nodes), ("1", {}))


class Executing(Case):
    def order_script(self, *scripts: Steps) -> None:
        self.script(command_service_pb2.ExecuteCommandRequest, *scripts)

    def command_script(self, *scripts: Steps) -> None:
        self.script(command_service_pb2.WatchCommandRequest, *scripts)

    def orders(self) -> list[command_service_pb2.ExecuteCommandRequest]:
        return self.scripted.of_kind(command_service_pb2.ExecuteCommandRequest)

    @staticmethod
    def answer(state: command_pb2.CommandState.ValueType, **fields: Any) -> command_service_pb2.ExecuteCommandResponse:
        return command_service_pb2.ExecuteCommandResponse(command=record(state, **fields))

    async def test_order_is_repeated_with_its_identifier_and_followed_to_its_end(self) -> None:
        running, done = command_pb2.COMMAND_STATE_RUNNING, command_pb2.COMMAND_STATE_SUCCEEDED
        watched = command_service_pb2.WatchCommandResponse
        self.order_script([refusal("NODE_LOST")], [refusal("NODE_AWAY")], [self.answer(running)])
        self.command_script(
            [watched(record=record(running)), watched(milestone=command_pb2.Milestone(sequence=3)), refusal("NODE_LOST")],
            [watched(record=record(running)), watched(progress=command_pb2.Progress(done=5))],
            [watched(record=record(done))],
        )
        seen: list[command_service_pb2.WatchCommandResponse] = []
        ended = await self.gateway.node("n").execute(SYNC, observer=seen.append)
        self.assertEqual(ended.state, done)
        self.assertEqual(len({order.id for order in self.orders()}), 1)
        self.assertEqual(len(self.orders()), 3)
        self.assertEqual([request.after_sequence for request in self.scripted.of_kind(command_service_pb2.WatchCommandRequest)], [0, 3, 3])
        self.assertEqual([message.progress.done for message in seen if message.HasField("progress")], [5])

    async def test_machine_that_has_booted_again_does_not_get_it_twice(self) -> None:
        def boot(_: grpc.aio.ServicerContext) -> object:
            self.scripted.node = node("n", boot="2")
            return asyncio.sleep(0)

        self.order_script([boot, refusal("NODE_LOST")])
        with self.assertRaises(CommandLost):
            await self.gateway.node("n").execute(SYNC, identifier=IDENTIFIER)
        self.assertEqual([order.id for order in self.orders()], [IDENTIFIER])
        # Certainly not executed: the other boot may have it.
        self.order_script([boot, refusal("NODE_AWAY")], [self.answer(command_pb2.COMMAND_STATE_SUCCEEDED)])
        self.scripted.node = node("n", boot="1")
        await self.gateway.node("n").execute(SYNC)
        self.order_script([self.answer(command_pb2.COMMAND_STATE_RUNNING)])
        self.command_script([refusal("COMMAND_NOT_FOUND", grpc.StatusCode.NOT_FOUND)])
        with self.assertRaises(CommandLost):
            await self.gateway.node("n").execute(SYNC)

    async def test_another_process_gives_an_order_in_the_boot_of_the_first(self) -> None:
        order = self.gateway.node("n")
        boot = await order.boot_id()
        self.order_script([self.answer(command_pb2.COMMAND_STATE_SUCCEEDED)])
        await order.execute(SYNC, identifier=IDENTIFIER, boot_id=boot)
        self.scripted.node = node("n", boot="2")
        with self.assertRaises(CommandLost):
            await order.execute(SYNC, identifier=IDENTIFIER, boot_id=boot)
        self.assertEqual(len(self.orders()), 1)

    async def test_agent_without_a_gateway_says_its_boot(self) -> None:
        def boot(_: grpc.aio.ServicerContext) -> object:
            self.scripted.node = node("n", boot="2")
            return asyncio.sleep(0)

        agent = AsyncNode(self.gateway.channel, (("agent-token", "secret"),), "n")
        self.order_script([boot, refusal("")])
        with self.assertRaises(CommandLost):
            await agent.execute(SYNC, identifier=IDENTIFIER)
        self.assertEqual(len(self.orders()), 1)
        self.assertEqual(await agent.boot_id(), "2")

    async def test_ends_that_are_no_success_are_typed(self) -> None:
        from ironic_agent_client.v1.failure_pb2 import Failure
        failure = Failure(kind="ImageChecksumError", details="another digest")
        self.order_script([self.answer(command_pb2.COMMAND_STATE_FAILED, failure=failure)])
        with self.assertRaisesRegex(CommandFailed, "ImageChecksumError: another digest"):
            await self.gateway.node("n").execute(SYNC)
        self.order_script([self.answer(command_pb2.COMMAND_STATE_CANCELLED)])
        with self.assertRaises(CommandCancelled):
            await self.gateway.node("n").execute(SYNC)
        self.order_script([refusal("AGENT_BUSY", grpc.StatusCode.FAILED_PRECONDITION)])
        with self.assertRaises(errors.AgentBusy) as caught:
            await self.gateway.node("n").execute(SYNC)
        self.assertEqual(caught.exception.metadata, {"node": "n"})

    async def test_without_asyncio(self) -> None:
        self.order_script([self.answer(command_pb2.COMMAND_STATE_SUCCEEDED)])
        self.watch_script([listed(node("a"), token="1")])

        def use() -> tuple[int, str]:
            with Gateway(self.address) as gateway:
                ended = gateway.node("n").execute(SYNC, wait=False)
                watch = gateway.watch()
                first = next(watch)
                watch.close()
            return ended.state, first.node.uuid

        state, uuid = await asyncio.to_thread(use)
        self.assertEqual((state, uuid), (command_pb2.COMMAND_STATE_SUCCEEDED, "a"))


class Values(unittest.TestCase):
    def test_documents_come_back_as_they_were(self) -> None:
        document = {"a": 1, "b": [1.5, None, True, "x", {"c": -(2**53)}], "d": {}}
        self.assertEqual(to_dict(to_struct(document)), document)
        with self.assertRaisesRegex(ValueError, r"a\.b\[1\]"):
            to_struct({"a": {"b": [0, 2**53 + 1]}})

    def test_tls_is_not_left_out_silently(self) -> None:
        with self.assertRaisesRegex(ValueError, "plaintext"):
            Gateway("127.0.0.1:1")

    def test_every_reason_of_the_protocol_has_a_class(self) -> None:
        protocol = Path(__file__).resolve().parents[3] / "proto/ironic/agent/v1"
        texts = "".join((protocol / f"{name}_service.proto").read_text() for name in ("fleet", "command"))
        identity = (protocol / "identity_service.proto").read_text()
        texts += identity[identity.index("// Manages join tokens"):identity.index("service JoinTokenService")]
        comments = " ".join(line.strip() for line in texts.splitlines() if line.strip().startswith("//"))
        reasons = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", comments))
        self.assertIn("WATCH_EXPIRED", reasons)
        self.assertEqual(reasons - set(errors.ApiError.known), set())


if __name__ == "__main__":
    unittest.main()

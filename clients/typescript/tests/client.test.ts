/** The helpers against a server that breaks off as it is scripted to. `tests/contract/clients.rs` has the real programs. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { AgentBusy, ApiError, CommandCancelled, CommandFailed, CommandLost, Gateway, KNOWN, WatchedNodes, type WatchOptions } from "@ironic-agent/client";
import { CommandState } from "@ironic-agent/client/v1/command_pb";
import { CommandService, type ExecuteCommandResponseSchema, type WatchCommandResponseSchema } from "@ironic-agent/client/v1/command_service_pb";
import { FleetService, NodeEventKind, NodeState, WatchNodesResponseSchema } from "@ironic-agent/client/v1/fleet_service_pb";

const ID = "0c5a2b1e-7d3f-4a68-9b50-2f1d8e6c4a97";
const SYNC = { verb: { case: "sync", value: {} } } as const;
type Watched = MessageInitShape<typeof WatchNodesResponseSchema>;

/** A status with a google.rpc.Status, as the programs send it. */
function refusal(reason: string, code = Code.Unavailable): ConnectError {
  const metadata = new BinaryWriter().uint32(10).string("node").uint32(18).string("n").finish();
  const info = new BinaryWriter().uint32(10).string(reason).uint32(18).string("ironic.agent.v1").uint32(26).bytes(metadata).finish();
  const error = new ConnectError("scripted", code);
  if (reason) {
    error.details.push({ type: "google.rpc.ErrorInfo", value: info });
  }
  return error;
}

const node = (uuid: string, bootId = "1", name = "") => ({ uuid, name, state: NodeState.ATTACHED, attachment: { bootId } });
const listed = (nodes: ReturnType<typeof node>[], resumeToken = "", complete = true): Watched => ({
  content: { case: "nodes", value: { nodes, complete } },
  resumeToken,
});
const lost = (uuid: string, resumeToken: string): Watched => ({
  content: { case: "events", value: { events: [{ kind: NodeEventKind.LOST, node: node(uuid) }] } },
  resumeToken,
});
const running = { id: ID, name: "standby.sync", state: CommandState.RUNNING };
const done = { ...running, state: CommandState.SUCCEEDED };

/** Each call takes the next script: answers, errors to end with, things to do. */
class Scripts<T> {
  scripts: (T | ConnectError | (() => void))[][] = [];

  async *play(): AsyncGenerator<T> {
    for (const step of this.scripts.shift() ?? [refusal("")]) {
      if (step instanceof ConnectError) {
        throw step;
      }
      if (typeof step === "function") {
        await (step as () => unknown)();
      } else {
        yield step;
      }
    }
  }
}

let server: Http2Server;
let gateway: Gateway;
let sessions: Set<ServerHttp2Session>;
let attached: ReturnType<typeof node>;
let watches: Scripts<Watched>;
let orders: Scripts<MessageInitShape<typeof ExecuteCommandResponseSchema>>;
let follows: Scripts<MessageInitShape<typeof WatchCommandResponseSchema>>;
let tokens: string[];
let identifiers: string[];
let sequences: bigint[];

function routes(router: ConnectRouter): void {
  router.service(FleetService, {
    getNode: () => ({ node: attached }),
    watchNodes: async function* ({ resumeToken }) {
      tokens.push(resumeToken);
      yield* watches.play();
    },
  });
  router.service(CommandService, {
    executeCommand: async ({ id }) => {
      identifiers.push(id);
      for await (const answer of orders.play()) {
        return answer;
      }
      throw refusal("");
    },
    watchCommand: async function* ({ afterSequence }) {
      sequences.push(afterSequence);
      yield* follows.play();
    },
  });
}

beforeEach(async () => {
  [attached, watches, orders, follows] = [node("n"), new Scripts(), new Scripts(), new Scripts()];
  [tokens, identifiers, sequences, sessions] = [[], [], [], new Set()];
  server = createServer(connectNodeAdapter({ routes }));
  server.on("session", (session) => sessions.add(session));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  gateway = new Gateway({ address: `127.0.0.1:${(server.address() as AddressInfo).port}`, plaintext: true });
});
afterEach(() => {
  for (const session of sessions) {
    session.destroy();
  }
  server.close();
});

suite("watching", () => {
  async function changes(count: number, options: WatchOptions = {}): Promise<string[]> {
    const found: string[] = [];
    for await (const change of gateway.watch({ signal: AbortSignal.timeout(20_000), ...options })) {
      found.push(`${NodeEventKind[change.kind]} ${change.node.uuid}`);
      if (found.length === count) {
        break;
      }
    }
    return found;
  }

  test("goes on after the last message", async () => {
    watches.scripts = [
      [listed([node("a")], "", false), listed([node("b")], "1"), lost("b", "2"), refusal("")],
      [refusal("WATCHER_SLOW", Code.ResourceExhausted)],
      [],
      [lost("a", "3")],
    ];
    assert.deepEqual(await changes(4), ["ADDED a", "ADDED b", "LOST b", "LOST a"]);
    assert.deepEqual(tokens, ["", "2", "2", "2"]);
  });

  test("token that is too old brings the difference", async () => {
    watches.scripts = [
      [listed([node("same"), node("other"), node("gone")], "1"), refusal("")],
      [refusal("WATCH_EXPIRED", Code.OutOfRange)],
      [listed([node("same"), node("other", "1", "renamed"), node("new")], "9")],
    ];
    assert.deepEqual((await changes(6)).slice(3), ["REMOVED gone", "UNSPECIFIED other", "ADDED new"]);
    assert.deepEqual(tokens, ["", "1", ""]);
  });

  test("final errors, the retry timeout and the caller end it", async () => {
    watches.scripts = [[refusal("", Code.PermissionDenied)]];
    await assert.rejects(changes(1), (error) => error instanceof ApiError && error.code === Code.PermissionDenied);
    await assert.rejects(changes(1, { retryTimeout: 500 }), ApiError);
    await assert.rejects(changes(1, { signal: AbortSignal.timeout(300) }), { name: "TimeoutError" });
  });

  test("a part of the list is not taken for all of it", () => {
    const state = new WatchedNodes({}, "1");
    state.take(create(WatchNodesResponseSchema, listed([node("a")], "", false)));
    assert.deepEqual([state.resumeToken, state.nodes.size], ["1", 0]);
  });
});

suite("executing", () => {
  test("an order is repeated with its identifier and followed to its end", async () => {
    orders.scripts = [[refusal("NODE_LOST")], [refusal("NODE_AWAY")], [{ command: running }]];
    follows.scripts = [
      [{ event: { case: "record", value: running } }, { event: { case: "milestone", value: { sequence: 3n } } }, refusal("NODE_LOST")],
      [{ event: { case: "progress", value: { done: 5n } } }],
      [{ event: { case: "record", value: done } }],
    ];
    const seen: bigint[] = [];
    const observer = ({ event }: { event: { case: string | undefined; value?: unknown } }) => {
      if (event.case === "progress") {
        seen.push((event.value as { done: bigint }).done);
      }
    };
    assert.equal((await gateway.node("n").execute(SYNC, { observer })).state, CommandState.SUCCEEDED);
    assert.equal(identifiers.length, 3);
    assert.equal(new Set(identifiers).size, 1);
    assert.deepEqual(sequences, [0n, 3n, 3n]);
    assert.deepEqual(seen, [5n]);
  });

  test("a machine that has booted again does not get it twice", async () => {
    const boot = () => {
      attached = node("n", "2");
    };
    orders.scripts = [[boot, refusal("NODE_LOST")]];
    await assert.rejects(gateway.node("n").execute(SYNC, { id: ID }), CommandLost);
    assert.deepEqual(identifiers, [ID]);
    // Certainly not executed: the other boot may have it.
    attached = node("n");
    orders.scripts = [[boot, refusal("NODE_AWAY")], [{ command: done }]];
    await gateway.node("n").execute(SYNC);
    orders.scripts = [[{ command: running }]];
    follows.scripts = [[refusal("COMMAND_NOT_FOUND", Code.NotFound)]];
    await assert.rejects(gateway.node("n").execute(SYNC), CommandLost);
  });

  test("another process gives an order in the boot of the first", async () => {
    const bootId = await gateway.node("n").bootId();
    orders.scripts = [[{ command: done }]];
    await gateway.node("n").execute(SYNC, { id: ID, bootId });
    attached = node("n", "2");
    await assert.rejects(gateway.node("n").execute(SYNC, { id: ID, bootId }), CommandLost);
    assert.deepEqual(identifiers, [ID]);
  });

  test("the caller ends it while the order is not answered", async () => {
    orders.scripts = [[() => new Promise(() => undefined)]];
    const signal = AbortSignal.timeout(300);
    await assert.rejects(gateway.node("n").execute(SYNC, { signal }), { name: "TimeoutError" });
    assert.equal(identifiers.length, 1);
  });

  test("ends that are no success are typed", async () => {
    const failure = { kind: "ImageChecksumError", details: "another digest" };
    orders.scripts = [[{ command: { ...running, state: CommandState.FAILED, failure } }]];
    await assert.rejects(gateway.node("n").execute(SYNC), (error) => error instanceof CommandFailed && /ImageChecksumError/.test(error.message));
    orders.scripts = [[{ command: { ...running, state: CommandState.CANCELLED } }]];
    await assert.rejects(gateway.node("n").execute(SYNC), CommandCancelled);
    orders.scripts = [[refusal("AGENT_BUSY", Code.FailedPrecondition)]];
    await assert.rejects(gateway.node("n").execute(SYNC), (error) => error instanceof AgentBusy && error.metadata["node"] === "n");
  });
});

test("TLS is not left out silently", () => {
  assert.throws(() => new Gateway({ address: "127.0.0.1:1" }), /plaintext/);
});

test("every reason of the protocol has a class", () => {
  const protocol = process.env["PROTOCOL"] ?? join(import.meta.dirname, "../../../proto");
  const read = (name: string) => readFileSync(join(protocol, `ironic/agent/v1/${name}_service.proto`), "utf8");
  const joinTokens = /\/\/ Manages join tokens[^]*?service JoinTokenService/.exec(read("identity"))?.[0] ?? "";
  const comments = (read("fleet") + read("command") + joinTokens).split("\n").filter((line) => line.trim().startsWith("//"));
  const reasons = new Set(Array.from(comments.join(" ").matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/g), ([, reason]) => reason));
  assert.ok(reasons.has("WATCH_EXPIRED"));
  assert.deepEqual(Array.from(reasons).filter((reason) => !reason || !KNOWN[reason]), []);
});

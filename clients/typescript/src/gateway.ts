/** The nodes of a gateway, and commands to their agents. */

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect } from "node:net";

import { create, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

import { ApiError, CommandFailed, CommandLost, CommandNotFound, NodeAway, NodeClosed } from "./errors.js";
import { type CommandRecord, CommandSchema, CommandState, type PlannedAction } from "./gen/ironic/agent/v1/command_pb.js";
import {
  CommandService,
  type ExecuteCommandRequest,
  ExecuteCommandRequestSchema,
  type WatchCommandResponse,
} from "./gen/ironic/agent/v1/command_service_pb.js";
import { FleetService, type Node, NodeSchema, NodeState } from "./gen/ironic/agent/v1/fleet_service_pb.js";
import { Backoff, RETRY_TIMEOUT, repeated } from "./retry.js";
import { type NodeChange, WatchedNodes } from "./watch.js";

/** Milliseconds for one call: more than the 45 s for which a gateway waits for an agent that is away. */
const ATTEMPT = 60_000;

/** Where a gateway is, and how to speak to it. */
export interface GatewayOptions {
  /** HOST:PORT or unix:PATH. */
  readonly address: string;
  /** Files in PEM: the authority of the gateway's certificate, the own certificate and its key. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** No TLS: for a gateway on this machine that has none. */
  readonly plaintext?: boolean;
}

/** Labels, and where to go on. */
export interface WatchOptions {
  readonly labels?: Readonly<Record<string, string>>;
  /** With `nodes`: what another process has kept of its watch. */
  readonly resumeToken?: string;
  readonly nodes?: Iterable<Node>;
  /** Milliseconds for which attempts to reach the other end may fail. */
  readonly retryTimeout?: number;
  /** Ends the watch. */
  readonly signal?: AbortSignal;
}

/** How a command is executed. */
export interface ExecuteOptions {
  /** The caller's identifier, a UUID: an order that is repeated with it in one boot of the machine is not executed a second
   * time. Another boot has no record of it. */
  readonly id?: string;
  /** What `bootId()` said before the order was given first, of a caller that keeps it beside `id` because it may be started
   * again: in another boot the order is not given. Without it one call gives the order in one boot only. */
  readonly bootId?: string;
  /** Milliseconds after which the agent cancels the command. */
  readonly deadline?: number;
  /** Whether the end is waited for; otherwise the record is answered as soon as the command is admitted. */
  readonly wait?: boolean;
  /** Milliseconds for which attempts to reach the other end may fail. */
  readonly retryTimeout?: number;
  /** Gets milestones, progress and log lines. */
  readonly observer?: (event: WatchCommandResponse) => void;
  /** Ends the call and leaves the command as it is. While the order is not answered yet, the command may run or not. */
  readonly signal?: AbortSignal;
}

/** What may end a call before it is answered. */
interface Ending {
  readonly signal?: AbortSignal;
}

function transportOf(options: GatewayOptions): Transport {
  const { address, ca, cert, key, plaintext = false } = options;
  const pings = { pingIntervalMs: 20_000, pingTimeoutMs: 10_000, idleConnectionTimeoutMs: 900_000 };
  if (address.startsWith("unix:")) {
    const path = address.slice("unix:".length);
    return createGrpcTransport({ baseUrl: "http://localhost", nodeOptions: { createConnection: () => connect(path) }, ...pings });
  }
  if (plaintext) {
    return createGrpcTransport({ baseUrl: `http://${address}`, ...pings });
  }
  if (!ca || !cert || !key) {
    throw new TypeError("ca, cert and key name the files for TLS; plaintext: true is for a gateway on this machine that has none");
  }
  const nodeOptions = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
  return createGrpcTransport({ baseUrl: `https://${address}`, nodeOptions, ...pings });
}

/** The nodes of a gateway. `fleet` and `commands` are the generated clients, for calls that have no method here. */
export class Gateway {
  readonly fleet: Client<typeof FleetService>;
  readonly commands: Client<typeof CommandService>;

  constructor(options: GatewayOptions) {
    const transport = transportOf(options);
    this.fleet = createClient(FleetService, transport);
    this.commands = createClient(CommandService, transport);
  }

  /** A node by its UUID or name. */
  node(name: string): AgentNode {
    return new AgentNode(this, name);
  }

  /** A node as the gateway knows it. */
  async getNode(node: string): Promise<Node> {
    const answer = await repeated(() => this.fleet.getNode({ node }, { timeoutMs: ATTEMPT }));
    return answer.node ?? create(NodeSchema);
  }

  /** All nodes, or those with these labels. */
  async listNodes(labels: Record<string, string> = {}): Promise<Node[]> {
    const nodes: Node[] = [];
    let pageToken = "";
    do {
      const page = await repeated(() => this.fleet.listNodes({ selector: { labels }, pageToken }, { timeoutMs: ATTEMPT }));
      nodes.push(...page.nodes);
      pageToken = page.nextPageToken;
    } while (pageToken);
    return nodes;
  }

  /** The last inspection report of a node. */
  async inspection(node: string): Promise<JsonObject> {
    return (await repeated(() => this.fleet.getInspection({ node }, { timeoutMs: ATTEMPT }))).report ?? {};
  }

  /** All nodes as ADDED, then what changes about them, over broken connections, restarts of the gateway, and tokens that
   * are too old. Leaving the loop ends the watch. */
  watch(options: WatchOptions = {}): NodeWatch {
    return new NodeWatch(this.fleet, options);
  }
}

/** An iterator of changes. */
export class NodeWatch implements AsyncIterable<NodeChange> {
  /** For a watch by another process. It follows when the change after those of a message is asked for, so that none is left
   * out; the last ones may come twice. */
  resumeToken: string;
  readonly #state: WatchedNodes;

  constructor(
    private readonly fleet: Client<typeof FleetService>,
    private readonly options: WatchOptions,
  ) {
    this.#state = new WatchedNodes(options.labels ?? {}, options.resumeToken, options.nodes);
    this.resumeToken = this.#state.resumeToken;
  }

  /** The nodes after the last message that was read, by UUID. */
  get nodes(): ReadonlyMap<string, Node> {
    return this.#state.nodes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<NodeChange, void, undefined> {
    const { signal, retryTimeout = RETRY_TIMEOUT } = this.options;
    const backoff = new Backoff(retryTimeout, signal);
    while (true) {
      let error = new ApiError(Code.Unavailable, "the gateway ended the watch");
      try {
        for await (const message of this.fleet.watchNodes(this.#state.request(), signal ? { signal } : {})) {
          backoff.reset();
          yield* this.#state.take(message);
          this.resumeToken = this.#state.resumeToken;
        }
      } catch (broken) {
        error = ApiError.of(broken);
      }
      if (!this.#state.failed(error)) {
        await backoff.pause(error);
      }
    }
  }
}

/** A node. */
export class AgentNode {
  /** For calls of `gateway.commands`. */
  readonly headers: { readonly "node-uuid": string };

  constructor(
    readonly gateway: Gateway,
    readonly name: string,
  ) {
    this.headers = { "node-uuid": name };
  }

  get #options() {
    return { headers: this.headers, timeoutMs: ATTEMPT };
  }

  /** The machine's inventory, read now. */
  async inventory(): Promise<JsonObject> {
    const call = () => this.gateway.commands.getInventory({}, this.#options);
    return (await repeated(call)).inventory ?? {};
  }

  /** What a command would do. Nothing is changed. */
  async plan(command: MessageInitShape<typeof CommandSchema>): Promise<PlannedAction[]> {
    const order = create(ExecuteCommandRequestSchema, { command, validateOnly: true });
    const call = () => this.gateway.commands.executeCommand(order, this.#options);
    return (await repeated(call)).plan?.actions ?? [];
  }

  /** Asks a command to stop: its record then. */
  async cancel(id: string, reason: string): Promise<CommandRecord | undefined> {
    return (await repeated(() => this.gateway.commands.cancelCommand({ id, reason }, this.#options))).command;
  }

  /**
   * Executes a command once and waits for its end, over broken connections and gateways that are started again.
   *
   * Throws CommandFailed when it ran and did not end well, CommandLost when the machine has booted again meanwhile, and
   * ApiError for orders that were refused and for a node that stays away.
   */
  async execute(command: MessageInitShape<typeof CommandSchema>, options: ExecuteOptions = {}): Promise<CommandRecord> {
    const order = create(ExecuteCommandRequestSchema, { command, id: options.id ?? randomUUID() });
    if (options.deadline !== undefined) {
      order.deadline = durationFromMs(options.deadline);
    }
    const backoff = new Backoff(options.retryTimeout ?? RETRY_TIMEOUT, options.signal);
    let record = await this.#admit(order, options.bootId ?? "", backoff);
    if (options.wait ?? true) {
      record = await this.#follow(record, backoff, options.observer);
    }
    if (record.state !== CommandState.RUNNING && record.state !== CommandState.SUCCEEDED) {
      throw CommandFailed.of(record);
    }
    return record;
  }

  /** Which boot of the machine can be called now: `execute` gives an order in no other one when it gets it. */
  async bootId(): Promise<string> {
    return await repeated(() => this.#bootId({}));
  }

  /** Which boot of the machine can be called; throws where none can. */
  async #bootId(ending: Ending): Promise<string> {
    const { node } = await this.gateway.fleet.getNode({ node: this.name }, { timeoutMs: ATTEMPT, ...ending });
    if (!node || node.state === NodeState.AWAY) {
      throw new NodeAway(Code.Unavailable, `the agent of node ${this.name} is not attached`, "NODE_AWAY");
    }
    if (node.state === NodeState.CLOSED) {
      throw new NodeClosed(Code.FailedPrecondition, `node ${this.name} was handed over or locked down`, "NODE_CLOSED");
    }
    if (node.attachment?.bootId) {
      return node.attachment.bootId;
    }
    // Another gateway holds it: the agent says it.
    return (await this.gateway.commands.getStatus({}, { ...this.#options, ...ending })).bootId;
  }

  async #admit(order: ExecuteCommandRequest, bootId: string, backoff: Backoff): Promise<CommandRecord> {
    // The boot in which an order whose answer was lost may have been executed. Another boot has no record of it, and
    // would execute it a second time.
    let sentIn = bootId;
    const ending: Ending = backoff.signal ? { signal: backoff.signal } : {};
    while (true) {
      let boot = "";
      try {
        boot = await this.#bootId(ending);
        if (sentIn && boot && sentIn !== boot) {
          throw new CommandLost(this.name, order.id);
        }
        const { command } = await this.gateway.commands.executeCommand(order, { ...this.#options, ...ending });
        backoff.reset();
        if (!command) {
          throw new ApiError(Code.Internal, "ExecuteCommand answered no record");
        }
        return command;
      } catch (broken) {
        if (broken instanceof CommandLost) {
          throw broken;
        }
        const error = ApiError.of(broken);
        if (!error.nothingDone) {
          sentIn ||= boot;
        }
        await backoff.pause(error);
      }
    }
  }

  async #follow(begun: CommandRecord, backoff: Backoff, observer: ExecuteOptions["observer"]): Promise<CommandRecord> {
    let record = begun;
    let afterSequence = 0n;
    while (record.state === CommandState.RUNNING) {
      let error = new ApiError(Code.Unavailable, "the stream ended before the command did");
      try {
        const options = { headers: this.headers, ...(backoff.signal ? { signal: backoff.signal } : {}) };
        for await (const message of this.gateway.commands.watchCommand({ id: record.id, afterSequence }, options)) {
          backoff.reset();
          if (message.event.case === "record") {
            record = message.event.value;
          } else if (message.event.case === "milestone") {
            afterSequence = message.event.value.sequence;
          }
          observer?.(message);
        }
      } catch (broken) {
        error = ApiError.of(broken);
      }
      if (error instanceof CommandNotFound) {
        throw new CommandLost(this.name, record.id);
      }
      if (record.state === CommandState.RUNNING) {
        await backoff.pause(error);
      }
    }
    return record;
  }
}

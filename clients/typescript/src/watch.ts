/** The nodes of a gateway, and what changes about them: what a watch knows, without any connection. */

import { create, equals } from "@bufbuild/protobuf";

import { type ApiError, PolicyChanged, WatchExpired } from "./errors.js";
import {
  type Node,
  type NodeEvent,
  NodeEventKind,
  NodeSchema,
  type WatchNodesRequest,
  WatchNodesRequestSchema,
  type WatchNodesResponse,
} from "./gen/ironic/agent/v1/fleet_service_pb.js";

/** Something that changed about a node. */
export interface NodeChange {
  /** What kind of change. UNSPECIFIED: the list that came anew holds the node with another content. */
  readonly kind: NodeEventKind;
  /** The node after the change; of REMOVED the node as it was. */
  readonly node: Node;
}

/** The nodes as the messages of a watch say. A broken watch goes on with `request()`. */
export class WatchedNodes {
  /** The nodes by UUID. */
  nodes: Map<string, Node>;
  #list: Node[] = [];

  constructor(
    readonly labels: Readonly<Record<string, string>>,
    /** Resumes the watch after the last message: keep it beside `nodes` to go on in another process. */
    public resumeToken = "",
    nodes: Iterable<Node> = [],
  ) {
    this.nodes = new Map(Array.from(nodes, (node) => [node.uuid, node]));
  }

  /** What the next call of WatchNodes begins with. */
  request(): WatchNodesRequest {
    this.#list = [];
    return create(WatchNodesRequestSchema, { selector: { labels: { ...this.labels } }, resumeToken: this.resumeToken });
  }

  /** What a message changes. */
  take(message: WatchNodesResponse): NodeChange[] {
    let changes: NodeChange[] = [];
    if (message.content.case === "nodes") {
      this.#list.push(...message.content.value.nodes);
      if (message.content.value.complete) {
        changes = this.#replace();
      }
    } else if (message.content.case === "events") {
      changes = message.content.value.events.flatMap((event) => this.#apply(event));
    }
    this.resumeToken = message.resumeToken || this.resumeToken;
    return changes;
  }

  /** Whether the watch can go on at once after this error: the list comes anew then. */
  failed(error: ApiError): boolean {
    if ((error instanceof WatchExpired || error instanceof PolicyChanged) && this.resumeToken) {
      this.resumeToken = "";
      return true;
    }
    return false;
  }

  #apply({ kind, node }: NodeEvent): NodeChange[] {
    if (!node) {
      return [];
    }
    if (kind === NodeEventKind.REMOVED) {
      this.nodes.delete(node.uuid);
    } else {
      this.nodes.set(node.uuid, node);
    }
    return [{ kind, node }];
  }

  /** The list is complete: what differs from what was known is a change. */
  #replace(): NodeChange[] {
    const listed = new Map(this.#list.map((node) => [node.uuid, node]));
    const changes: NodeChange[] = [];
    for (const node of this.nodes.values()) {
      if (!listed.has(node.uuid)) {
        changes.push({ kind: NodeEventKind.REMOVED, node });
      }
    }
    for (const node of listed.values()) {
      const known = this.nodes.get(node.uuid);
      if (!known) {
        changes.push({ kind: NodeEventKind.ADDED, node });
      } else if (!equals(NodeSchema, known, node)) {
        changes.push({ kind: NodeEventKind.UNSPECIFIED, node });
      }
    }
    [this.nodes, this.#list] = [listed, []];
    return changes;
  }
}

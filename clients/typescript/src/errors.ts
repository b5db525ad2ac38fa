/** What goes wrong: one class for each reason that the protocol names, and what a command ended with. */

import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";

import { type CommandRecord, CommandState } from "./gen/ironic/agent/v1/command_pb.js";
import type { Failure } from "./gen/ironic/agent/v1/failure_pb.js";

const DOMAIN = "ironic.agent.v1";
/** Without a reason these say that the call has broken off: the other end was lost, or time was up. */
const BROKEN: ReadonlySet<Code> = new Set([Code.Unavailable, Code.DeadlineExceeded, Code.Canceled, Code.Aborted, Code.Internal]);

/** An RPC that failed. `reason` is that of its google.rpc.ErrorInfo, or empty; a class of its own stands for each known one. */
export class ApiError extends Error {
  constructor(
    readonly code: Code,
    readonly text: string,
    readonly reason = "",
    readonly metadata: Readonly<Record<string, string>> = {},
    options?: ErrorOptions,
  ) {
    super(`${reason || Code[code]}: ${text}`, options);
    this.name = new.target.name;
  }

  /** Whether the same call may succeed later. */
  get transient(): boolean {
    return TRANSIENT.has(this.reason) || (!this.reason && BROKEN.has(this.code));
  }

  /** Whether it is certain that nothing was done. */
  get nothingDone(): boolean {
    return NOTHING_DONE.has(this.reason);
  }

  /** The error of a call, typed by its reason. Throws what is no error of a call. */
  static of(cause: unknown): ApiError {
    if (cause instanceof ApiError) {
      return cause;
    }
    if (!(cause instanceof ConnectError)) {
      throw cause;
    }
    for (const detail of cause.details) {
      if ("type" in detail && detail.type === "google.rpc.ErrorInfo" && detail.value instanceof Uint8Array) {
        const { reason, domain, metadata } = decodeErrorInfo(detail.value);
        if (domain === DOMAIN) {
          const typed = KNOWN[reason] ?? ApiError;
          return new typed(cause.code, cause.rawMessage, reason, metadata, { cause });
        }
      }
    }
    return new ApiError(cause.code, cause.rawMessage, "", {}, { cause });
  }
}

/** The fields of google.rpc.ErrorInfo: `reason` (1), `domain` (2) and the map `metadata` (3). */
function decodeErrorInfo(bytes: Uint8Array): { reason: string; domain: string; metadata: Record<string, string> } {
  const metadata: Record<string, string> = {};
  const { 1: reason = "", 2: domain = "" } = decodeTexts(bytes, (entry) => {
    const { 1: key = "", 2: value = "" } = decodeTexts(entry);
    metadata[key] = value;
  });
  return { reason, domain, metadata };
}

/** The fields 1 and 2 of a message, which are texts. The third is for another function. */
function decodeTexts(bytes: Uint8Array, third?: (bytes: Uint8Array) => void): Record<number, string> {
  const texts: Record<number, string> = {};
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type !== WireType.LengthDelimited) {
      reader.skip(type);
    } else if (field <= 2) {
      texts[field] = reader.string();
    } else {
      third?.(reader.bytes());
    }
  }
  return texts;
}

/** Another command runs in the background. */
export class AgentBusy extends ApiError {}
/** The agent has no command with this identifier. */
export class CommandNotFound extends ApiError {}
/** The identifier belongs to another command. */
export class CommandIdReused extends ApiError {}
/** The agent does not have this command. */
export class CommandNotBuilt extends ApiError {}
/** The agent token is missing or wrong. */
export class TokenInvalid extends ApiError {}
/** The agent stops. */
export class ShuttingDown extends ApiError {}
/** The call does not say which node is meant. */
export class NodeUuidMissing extends ApiError {}
/** The gateway knows no such node. */
export class NodeNotFound extends ApiError {}
/** Several nodes have this name. */
export class NodeNameAmbiguous extends ApiError {}
/** The node's agent is not attached. */
export class NodeAway extends ApiError {}
/** The node's agent is attached to another gateway. */
export class NodeElsewhere extends ApiError {}
/** The connection to the agent broke during the call: it may have done what was asked. */
export class NodeLost extends ApiError {}
/** The machine was handed over to a rescuer or locked down. */
export class NodeClosed extends ApiError {}
/** Too many calls wait for agents that are away. */
export class TooManyWaiting extends ApiError {}
/** The page token is not one that ListNodes answered. */
export class PageTokenInvalid extends ApiError {}
/** The gateway has no inspection report of the node. */
export class NoInspection extends ApiError {}
/** The resume token is too old: the list comes anew. `watch` does that by itself. */
export class WatchExpired extends ApiError {}
/** Messages of a watch were not read in time. `watch` goes on by itself. */
export class WatcherSlow extends ApiError {}
/** The gateway ends, and the watch with it. `watch` goes on by itself when it reaches a gateway. */
export class GatewayStopping extends ApiError {}
/** The gateway serves as many watches as it can. */
export class TooManyWatchers extends ApiError {}
/** The gateway does not issue certificates by this method. */
export class EnrollmentMethodOff extends ApiError {}
/** A join token cannot be made as it was asked for. */
export class JoinTokenRequestInvalid extends ApiError {}
/** There is no such join token. */
export class JoinTokenNotFound extends ApiError {}
/** The gateway keeps as many join tokens as it can. */
export class TooManyJoinTokens extends ApiError {}
/** The gateway cannot write its state directory. */
export class StateUnusable extends ApiError {}
/** The gateway's policy gives the caller no role that may do this. */
export class RoleMissing extends ApiError {}
/** The caller may see other nodes than before: the list comes anew. `watch` does that by itself. */
export class PolicyChanged extends ApiError {}
/** The gateway could not read the order. */
export class OrderUnreadable extends ApiError {}
/** A request of FollowLogs that makes no sense. */
export class LogRequestInvalid extends ApiError {}
/** A source of FollowLogs that cannot be read on this machine. */
export class LogSourceUnavailable extends ApiError {}
/** Records were not read in time: go on from the last cursor. */
export class LogReaderSlow extends ApiError {}
/** The agent serves as many readers as it can. */
export class TooManyLogReaders extends ApiError {}

/** The class of each reason. */
export const KNOWN: Readonly<Record<string, typeof ApiError>> = {
  AGENT_BUSY: AgentBusy,
  COMMAND_NOT_FOUND: CommandNotFound,
  COMMAND_ID_REUSED: CommandIdReused,
  COMMAND_NOT_BUILT: CommandNotBuilt,
  TOKEN_INVALID: TokenInvalid,
  SHUTTING_DOWN: ShuttingDown,
  NODE_UUID_MISSING: NodeUuidMissing,
  NODE_NOT_FOUND: NodeNotFound,
  NODE_NAME_AMBIGUOUS: NodeNameAmbiguous,
  NODE_AWAY: NodeAway,
  NODE_ELSEWHERE: NodeElsewhere,
  NODE_LOST: NodeLost,
  NODE_CLOSED: NodeClosed,
  TOO_MANY_WAITING: TooManyWaiting,
  PAGE_TOKEN_INVALID: PageTokenInvalid,
  NO_INSPECTION: NoInspection,
  WATCH_EXPIRED: WatchExpired,
  WATCHER_SLOW: WatcherSlow,
  GATEWAY_STOPPING: GatewayStopping,
  TOO_MANY_WATCHERS: TooManyWatchers,
  ENROLLMENT_METHOD_OFF: EnrollmentMethodOff,
  JOIN_TOKEN_REQUEST_INVALID: JoinTokenRequestInvalid,
  JOIN_TOKEN_NOT_FOUND: JoinTokenNotFound,
  TOO_MANY_JOIN_TOKENS: TooManyJoinTokens,
  STATE_UNUSABLE: StateUnusable,
  ROLE_MISSING: RoleMissing,
  POLICY_CHANGED: PolicyChanged,
  ORDER_UNREADABLE: OrderUnreadable,
  LOG_REQUEST_INVALID: LogRequestInvalid,
  LOG_SOURCE_UNAVAILABLE: LogSourceUnavailable,
  LOG_READER_SLOW: LogReaderSlow,
  TOO_MANY_LOG_READERS: TooManyLogReaders,
};
const NOTHING_DONE: ReadonlySet<string> = new Set([
  "NODE_AWAY",
  "NODE_ELSEWHERE",
  "SHUTTING_DOWN",
  "STATE_UNUSABLE",
  "TOO_MANY_LOG_READERS",
  "TOO_MANY_WAITING",
  "TOO_MANY_WATCHERS",
]);
const TRANSIENT: ReadonlySet<string> = new Set([
  ...NOTHING_DONE,
  "GATEWAY_STOPPING",
  "LOG_READER_SLOW",
  "NODE_LOST",
  "WATCHER_SLOW",
]);

/** A command that ran and did not end well. `failure` says why; `failure.kind` is Ironic's class of the error. */
export class CommandFailed extends Error {
  readonly failure: Failure | undefined;

  constructor(readonly record: CommandRecord) {
    const failure = record.failure;
    super(`${record.name}: ${failure?.kind}: ${failure?.details || failure?.message}`);
    this.name = new.target.name;
    this.failure = failure;
  }

  /** The error of a record in state FAILED, VERSION_MISMATCH or CANCELLED. */
  static of(record: CommandRecord): CommandFailed {
    switch (record.state) {
      case CommandState.CANCELLED:
        return new CommandCancelled(record);
      case CommandState.VERSION_MISMATCH:
        return new VersionMismatch(record);
      default:
        return new CommandFailed(record);
    }
  }
}
/** It was cancelled, by a caller or its deadline. */
export class CommandCancelled extends CommandFailed {}
/** The hardware managers are not those that the step was planned with. */
export class VersionMismatch extends CommandFailed {}

/** The machine has booted again since the order was sent: how the command ended is not known, and it is not repeated. */
export class CommandLost extends Error {
  constructor(
    readonly node: string,
    readonly id: string,
  ) {
    super(`node ${node} has booted again: what became of command ${id} is not known`);
    this.name = "CommandLost";
  }
}

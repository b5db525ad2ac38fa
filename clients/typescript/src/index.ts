/** Client of ironic-agent's gRPC API. The generated messages and services are at `@ironic-agent/client/v1/NAME_pb`. */

export * from "./errors.js";
export { AgentNode, type ExecuteOptions, Gateway, type GatewayOptions, NodeWatch, type WatchOptions } from "./gateway.js";
export { type NodeChange, WatchedNodes } from "./watch.js";

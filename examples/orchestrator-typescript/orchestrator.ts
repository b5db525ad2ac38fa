/**
 * A reference orchestrator: deploys the nodes that a file names, through a gateway, and reports.
 *
 *     node orchestrator.ts --gateway gw.example:9997 --ca gw-ca.crt --cert me.crt --key me.key deployments.json
 *
 * The file maps names or UUIDs of nodes to what each is to hold:
 *
 *     {"rack1-1": {"image": {"urls": ["https://images.example/debian-12.raw"], "sha256": "..."}}}
 *
 * Each node is deployed as soon as its agent can be called, through this gateway or another one: inventory, plan, erase,
 * write, reboot. The identifiers of the commands are made of the file's content, and what became of them is kept beside it:
 * an orchestrator that is started again goes on where it was, and gives no order to another boot of the machine. `--run`
 * makes them others.
 */

import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { type AgentNode, ApiError, CommandFailed, CommandLost, Gateway } from "@ironic-agent/client";
import type { WatchCommandResponse } from "@ironic-agent/client/v1/command_service_pb";
import { NodeEventKind, NodeState } from "@ironic-agent/client/v1/fleet_service_pb";
import { DigestAlgorithm, EraseScope } from "@ironic-agent/client/v1/order_pb";

type Image = { urls: string[]; sha256: string };
type Deployments = Record<string, { image: Image }>;
type Report = { node: string; state: string; disks?: string[]; seconds: Record<string, number>; error?: { kind: string; text: string } };

/** A line for a person. */
function say(node: string, text: string): void {
  console.error(`${new Date().toTimeString().slice(0, 8)} ${node}: ${text}`);
}

/** What is done to a node, in this order. */
function commands({ urls, sha256 }: Image): Record<string, Parameters<AgentNode["execute"]>[0]> {
  const digest = { algorithm: DigestAlgorithm.SHA256, value: sha256 };
  return {
    erase: { verb: { case: "erase", value: { policy: { scope: EraseScope.METADATA } } } },
    write: { verb: { case: "writeImage", value: { image: { urls, digest } } } },
    reboot: { verb: { case: "runImage", value: {} } },
  };
}

/** A UUID that the same texts always give. */
function identifier(...texts: string[]): string {
  const hex = createHash("sha256").update(texts.join("/")).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Of each order the boot in which it was given first, and whether it is done: what must survive the orchestrator. */
class KeptOrders {
  readonly #path: string;
  readonly #orders: Record<string, { boot_id: string; done: boolean }>;

  constructor(path: string) {
    this.#path = path;
    this.#orders = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
  }

  /** Whether it was carried out. */
  isDone(id: string): boolean {
    return this.#orders[id]?.done ?? false;
  }

  /** The only boot in which it may be given. It is kept before the order is sent. */
  async bootId(id: string, node: AgentNode): Promise<string> {
    const kept = this.#orders[id]?.boot_id;
    if (kept !== undefined) {
      return kept;
    }
    const bootId = await node.bootId();
    this.keep(id, bootId, false);
    return bootId;
  }

  /** Replaces the file: one that is half written would forget everything. */
  keep(id: string, bootId: string, done: boolean): void {
    this.#orders[id] = { boot_id: bootId, done };
    const draft = `${this.#path}.new`;
    writeFileSync(draft, JSON.stringify(this.#orders), { flush: true });
    renameSync(draft, this.#path);
  }
}

/** Says milestones, and progress at most once a second. */
function shower(node: string, step: string): (event: WatchCommandResponse) => void {
  let shown = 0;
  return ({ event }) => {
    if (event.case === "milestone") {
      say(node, `${step}: ${event.value.text}`);
    } else if (event.case === "progress" && performance.now() - shown >= 1000) {
      shown = performance.now();
      const { phase, done, total, unit } = event.value;
      say(node, `${step}: ${phase} ${total ? `${(100n * done) / total} %` : `${done} ${unit || "bytes"}`}`);
    }
  };
}

/** Takes one node to its image. What goes wrong is in its report. */
async function deploy(name: string, node: AgentNode, image: Image, run: string, kept: KeptOrders): Promise<Report> {
  const report: Report = { node: name, state: "failed", seconds: {} };
  try {
    const inventory = (await node.inventory()) as { cpu: { count: number }; disks: { name: string }[] };
    report.disks = inventory.disks.map((disk) => disk.name);
    say(name, `${inventory.cpu.count} CPUs, disks ${report.disks.join(", ")}`);
    for (const [step, command] of Object.entries(commands(image))) {
      const began = performance.now();
      const id = identifier(run, name, step);
      if (kept.isDone(id)) {
        say(name, `${step}: was done before`);
        continue;
      }
      const bootId = await kept.bootId(id, node);
      for (const action of await node.plan(command)) {
        say(name, `${step}: ${action.description}${action.destructive ? " DESTROYS DATA" : ""}`);
      }
      try {
        await node.execute(command, { id, bootId, observer: shower(name, step) });
      } catch (error) {
        // That the machine boots is what was ordered.
        if (!(error instanceof CommandLost && step === "reboot")) {
          throw error;
        }
      }
      kept.keep(id, bootId, true);
      say(name, `${step}: done`);
      report.seconds[step] = Math.round((performance.now() - began) / 100) / 10;
    }
    report.state = "deployed";
  } catch (error) {
    if (error instanceof CommandFailed) {
      report.error = { kind: error.failure?.kind ?? "", text: error.message };
    } else if (error instanceof ApiError || error instanceof CommandLost) {
      report.error = { kind: error.name, text: error.message };
    } else {
      throw error;
    }
  }
  say(name, report.state);
  return report;
}

/** Watches the fleet and deploys each node of the file when it is there. */
async function orchestrate(gateway: Gateway, deployments: Deployments, run: string, kept: KeptOrders): Promise<Report[]> {
  const deploying = new Map<string, Promise<Report>>();
  const reports = Promise.withResolvers<Report[]>();
  const stop = new AbortController();
  const follow = async (): Promise<void> => {
    for await (const { kind, node } of gateway.watch({ signal: stop.signal })) {
      const name = [node.name, node.uuid].find((key) => key in deployments);
      const job = name === undefined ? undefined : deployments[name];
      if (name === undefined || !job) {
        continue;
      }
      if (kind !== NodeEventKind.COMMAND_PROGRESS) {
        say(name, NodeEventKind[kind].toLowerCase());
      }
      const isThere = node.state === NodeState.ATTACHED || node.state === NodeState.ELSEWHERE;
      if (isThere && !deploying.has(name)) {
        deploying.set(name, deploy(name, gateway.node(node.uuid), job.image, run, kept));
        if (deploying.size === Object.keys(deployments).length) {
          reports.resolve(Promise.all(deploying.values()));
        }
      }
    }
  };
  const following = follow().catch((error) => (stop.signal.aborted ? undefined : reports.reject(error)));
  const all = await reports.promise;
  stop.abort();
  await following;
  return all;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    gateway: { type: "string" }, // HOST:PORT or unix:PATH of its fleet_listen
    ca: { type: "string" }, // file of the authority that signed the gateway's certificate
    cert: { type: "string" }, // file of the own certificate
    key: { type: "string" }, // file of its key
    plaintext: { type: "boolean" }, // no TLS: the gateway is on this machine and has none
    state: { type: "string" }, // file for what became of the orders; DEPLOYMENTS.orders when not given
    run: { type: "string" }, // names this run: with another one everything is done again
  },
});
const [file] = positionals;
if (!values.gateway || !file) {
  console.error("usage: node orchestrator.ts --gateway HOST:PORT --ca FILE --cert FILE --key FILE DEPLOYMENTS.json");
  process.exit(2);
}
const text = readFileSync(file);
const { gateway: address, ca, cert, key, plaintext } = values;
const gateway = new Gateway({ address, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }), ...(plaintext && { plaintext }) });
const run = values.run ?? createHash("sha256").update(text).digest("hex");
const kept = new KeptOrders(values.state ?? `${file}.orders`);
const reports = await orchestrate(gateway, JSON.parse(text.toString()) as Deployments, run, kept);
console.log(JSON.stringify(reports, undefined, 2));
process.exit(reports.every((report) => report.state === "deployed") ? 0 : 1);

/** Everything of a shim that must survive its program, gathered into a document at one instant. */

import { Inventory } from "../base/inventory.ts";
import type { Publisher } from "../event/publisher.ts";
import type { Children } from "../linux/children.ts";
import type { LogSink } from "../linux/log-sink.ts";
import type { Poller } from "../linux/poller.ts";
import type { SignalWatch } from "../linux/signals.ts";
import type { TtrpcServer } from "../rpc/ttrpc/server.ts";
import type { ServerCall } from "../rpc/ttrpc/server-call.ts";
import { hasEnded, LOST_LOOK_MS } from "../service/lost.ts";
import type { TaskService } from "../service/task.ts";
import type { Cause } from "./cause.ts";
import { fromJournalState, type HandoffDocument, makeDocument } from "./document.ts";

/** What holds the state of a shim. */
export interface ShimParts {
  readonly service: TaskService;
  readonly publisher: Publisher;
  readonly server: TtrpcServer;
  readonly children: Children;
  readonly poller: Poller;
  readonly signals: SignalWatch;
  readonly sink: LogSink;
  /** The listening socket; lent. */
  readonly listener: number;
  /** The working directory, while it exists. */
  readonly directory: string;
}

/** What the handoff itself knows and leaves to the next program. */
export type OwnState = Pick<HandoffDocument, "quietMs" | "refused">;

/** The document of an instant, and the obstacles to it. */
export interface Snapshot {
  readonly inventory: Inventory;
  /** Made on demand: of most snapshots only the obstacles are used, and a journal may be long. */
  document(): HandoffDocument;
}

/**
 * Calls whose handlers may be called again with the same request. Every other call must finish before
 * the program is left.
 */
const RESUMABLE: ReadonlySet<string> = new Set([
  "containerd.task.v2.Task/Wait",
  "containerd.task.v3.Task/Wait",
  "wedge.handoff.v1.Handoff/Upgrade",
]);

function canResume({ service, method }: ServerCall): boolean {
  return RESUMABLE.has(`${service}/${method}`);
}

/**
 * Takes the snapshot, changing nothing. It is complete when its inventory has no obstacle, and valid until
 * the event loop turns again.
 */
export function takeSnapshot(parts: ShimParts, cause: Cause, own: OwnState): Snapshot {
  const inventory = new Inventory();
  const { service, publisher, server, children, poller, signals, sink, directory } = parts;
  inventory.remake(signals.fd);
  const listener = inventory.keepOpen("listener", parts.listener);
  const task = service.snapshot(inventory);
  const connections = server.snapshot(inventory, canResume);
  // No manager is connected: the container may be lost, and nothing would tell us.
  if (connections.length === 0 && hasEnded(service.containers))
    inventory.addDeadline(performance.now() + LOST_LOOK_MS);
  publisher.inspect(inventory);
  // Last: what these know and the others did not name is in flight somewhere.
  children.inspect(inventory);
  poller.inspect(inventory);
  const descriptors = [...inventory.descriptors].map(([fd, name]) => ({ fd, name }));
  const document = () =>
    makeDocument({
      ...{ cause, descriptors, listener, directory, task, connections, ...own },
      journal: fromJournalState(publisher.state),
      lostLogLines: sink.lost,
    });
  return { document, inventory };
}

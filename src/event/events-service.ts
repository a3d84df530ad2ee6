/** containerd's events service (containerd.services.events.ttrpc.v1.Events), which events are handed to. */

import { statSync } from "node:fs";
import { parseSocketPath } from "../bundle/address.ts";
import { EventsDefinition } from "../gen/containerd/services/events/ttrpc/v1/events.ts";
import { connectBun } from "../rpc/ttrpc/bun.ts";
import { createStub } from "../rpc/ttrpc/stub.ts";
import type { EventsService } from "./connection.ts";

/** containerd answers within a millisecond; one that takes longer than this is hung. */
const FORWARD_TIMEOUT_MS = 5000;

/** Connects to the unix socket at `address`, a path or a unix:// URI. Rejects when nobody listens there. */
export async function connectEventsService(address: string): Promise<EventsService> {
  const path = parseSocketPath(address) ?? address;
  const client = await connectBun({ unix: path });
  const events = createStub(client, EventsDefinition);
  return {
    forward: async (envelope) => {
      await events.forward({ envelope }, { timeoutMs: FORWARD_TIMEOUT_MS });
    },
    close: () => client.close(),
    closed: client.closed,
    // A socket's modification time is when it was bound.
    ageMs: ageMsOf(path),
  };
}

function ageMsOf(path: string): number | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? undefined : Date.now() - stat.mtimeMs;
}

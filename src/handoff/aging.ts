/**
 * The times in a document: how long something still has, or has been there already, as of `writtenAtMs`.
 * A shim may sleep for days before anybody reads it.
 */

import type { KeptState } from "../service/repeated-calls.ts";
import type { HandoffDocument } from "./document.ts";

/** The document as it would be now; `nowMs` is by the clock of `linux/clock.ts`. */
export function aged(document: HandoffDocument, nowMs: number): HandoffDocument {
  const passedMs = Math.max(nowMs - document.writtenAtMs, 0);
  const older = (kept: KeptState) => kept.map((one) => ({ ...one, ageMs: one.ageMs + passedMs }));
  const { creates, execs, starts, deletes } = document.task.repeated;
  return {
    ...document,
    writtenAtMs: nowMs,
    task: {
      ...document.task,
      repeated: {
        creates: older(creates),
        execs: older(execs),
        starts: older(starts),
        deletes: older(deletes),
      },
    },
    connections: document.connections.map((connection) => ({
      ...connection,
      calls: connection.calls.map((call) =>
        call.leftMs === undefined ? call : { ...call, leftMs: call.leftMs - passedMs },
      ),
    })),
  };
}

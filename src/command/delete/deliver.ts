/**
 * `deliver`: sends the events that a dead shim has left, on standard input, to a containerd that does not
 * serve yet. Started by `delete`, not meant for people. Exits when everything is sent, when it is asked
 * to, or when containerd does not come.
 */

import { readFileSync } from "node:fs";
import { silentLogger } from "../../base/log.ts";
import { connectEventsService } from "../../event/events-service.ts";
import { readEntries } from "../../event/journal-file.ts";
import { Publisher } from "../../event/publisher.ts";
import type { Invocation } from "../invocation/invocation.ts";

/** A containerd that loads many tasks takes minutes to serve. */
const DELIVERY_LIMIT_MS = 10 * 60_000;
const EXIT_UNDELIVERED = 1;

/** Returns the exit code: 0 when everything was taken. */
export async function deliver({ namespace, environment }: Invocation): Promise<number> {
  // From its beginning, wherever its lender has read to.
  const entries = readEntries(readFileSync("/proc/self/fd/0", "utf8"), "");
  const publisher = new Publisher({
    namespace,
    connect: () => connectEventsService(environment.ttrpcAddress),
    log: silentLogger,
    journal: { entries, next: (entries.at(-1)?.number ?? 0) + 1, dropped: 0 },
  });
  const asked = Promise.withResolvers<void>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => asked.resolve());
  await Promise.race([publisher.drain(DELIVERY_LIMIT_MS), asked.promise]);
  return publisher.pending === 0 ? 0 : EXIT_UNDELIVERED;
}

/**
 * The events that a dead shim has left in a bundle: sent before `delete` answers, because containerd then
 * removes the bundle and reports the end itself.
 *
 * When containerd cannot be reached, as while it loads its tasks and does not serve yet, a separate
 * process keeps trying (`deliver.ts`), so that `delete` stays within its budget.
 */

import { silentLogger } from "../../base/log.ts";
import { connectEventsService } from "../../event/events-service.ts";
import { takeLeftJournal } from "../../event/journal-file.ts";
import { Publisher } from "../../event/publisher.ts";
import { spawnProcess } from "../../linux/children.ts";
import { selfCommand } from "../../linux/self-command.ts";
import { daemonEnvironment } from "../invocation/daemon-settings.ts";
import type { Invocation } from "../invocation/invocation.ts";

/** Out of the 5 seconds that containerd gives `delete` in all. */
const SEND_LIMIT_MS = 1000;

/** Sends what is left in `bundle`, in order; returns when it is sent, or when another process sends it. */
export async function sendLeftEvents(invocation: Invocation, bundle: string): Promise<void> {
  const { namespace, environment } = invocation;
  if (environment.ttrpcAddress === "") return;
  using journal = takeLeftJournal(bundle);
  if (journal === undefined) return;
  const { entries } = journal;
  const last = entries.at(-1)?.number ?? 0;
  const publisher = new Publisher({
    namespace,
    connect: () => connectEventsService(environment.ttrpcAddress),
    log: silentLogger,
    journal: { entries, next: last + 1, dropped: 0 },
    store: journal,
  });
  await publisher.stop(SEND_LIMIT_MS);
  if (publisher.pending > 0) spawnDelivery(invocation, journal.fd);
}

/** The journal is its standard input: with the lock, and still there when the bundle is gone. */
function spawnDelivery({ namespace, id, environment }: Invocation, journal: number): void {
  const self = selfCommand();
  spawnProcess({
    path: self.path,
    argv: [...self.argv, "-namespace", namespace, "-id", id, "deliver"],
    env: daemonEnvironment(environment.variables),
    cwd: "/",
    stdio: [journal, undefined, undefined],
    leads: "session",
  });
}

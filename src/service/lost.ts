/**
 * Containers that `delete` has cleared behind the shim's back.
 *
 * It takes a shim that is silent, or whose socket file is gone, for dead; its manager then removes the bundle,
 * and nobody will ask a shim that lives on to delete the container.
 */

import { readFileSync } from "node:fs";
import { messageOf } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Container } from "../container/container.ts";
import type { Registry } from "./registry.ts";

/** Whether any has ended that is not deleted. */
export function hasEnded(containers: Iterable<Container>): boolean {
  return [...containers].some(({ init }) => init.isDead);
}

/**
 * Takes the lost containers out of `registry`, or the one of that id, when their ends are told and no verb is
 * at work on them; `onForgotten` is told of each. Touches no file: they may be another container's.
 */
export async function forgetLost(
  registry: Registry,
  id: string | undefined,
  log: Logger,
  onForgotten: (container: Container) => void,
): Promise<void> {
  for (const container of registry.values()) {
    if ((id ?? container.id) !== container.id || !isLost(container)) continue;
    await untilAtRest(container);
    if (registry.find(container.id) !== container) continue;
    registry.remove(container.id);
    log.warn("A container was cleared behind the shim's back and is forgotten", {
      id: container.id,
    });
    void letGo(container, log);
    onForgotten(container);
  }
}

/** Whether it has ended and its bundle is gone, or is another one by now: of the next container of that name. */
function isLost(container: Container): boolean {
  container.lookForExits();
  return container.init.isDead && notedPid(container) !== container.init.pid;
}

/** The runtime has noted the pid in the bundle. Behind it may be more (`exit-record.ts`). */
function notedPid({ bundle }: Container): number | undefined {
  try {
    return Number.parseInt(readFileSync(bundle.initPidFile, "utf8"), 10);
  } catch {
    return undefined;
  }
}

async function untilAtRest(container: Container): Promise<void> {
  container.hurry();
  await container.init.wait();
  using _permit = await container.init.lock.acquire();
}

async function letGo(container: Container, log: Logger): Promise<void> {
  try {
    await container.dispose();
    await container.init.stdio?.close();
  } catch (error) {
    const { id } = container;
    log.warn("A forgotten container is not let go", { id, error: messageOf(error) });
  }
}

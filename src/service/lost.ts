/**
 * Containers that `delete` has cleaned up behind the shim's back.
 *
 * It takes a shim that is silent, or whose socket file is gone, for dead; the manager then removes the bundle,
 * and nobody will ask a shim that is still alive to delete the container.
 */

import { messageOf } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Container } from "../container/container.ts";
import { isLost } from "../container/lost.ts";
import type { Registry } from "./registry.ts";

/** How often it is looked whether one that has ended is still somebody's, where nothing else tells. */
export const LOST_LOOK_MS = 600_000;

/** Whether any has ended and has not been deleted. */
export function hasEnded(containers: Iterable<Container>): boolean {
  return [...containers].some(({ init }) => init.isDead);
}

/**
 * Takes the lost containers, or only the one with that id, out of `registry` once their ends are reported and no
 * verb is at work on them; calls `onForgotten` for each. Touches no file: it may be another container's.
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
    registry.remove(container);
    log.warn("A container was cleaned up behind the shim's back and is forgotten", {
      id: container.id,
    });
    void letGo(container, log);
    onForgotten(container);
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
    log.warn("Cannot let go of a forgotten container", { id, error: messageOf(error) });
  }
}

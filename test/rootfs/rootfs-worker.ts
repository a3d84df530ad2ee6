/**
 * Mounts and unmounts a rootfs in a process of its own, for tests that change what the kernel says:
 * `bun rootfs-worker.ts ROOTFS MOUNTS-AS-JSON`. Prints a line of JSON about what came of it.
 */

import { readdirSync, realpathSync } from "node:fs";
import { messageOf } from "../../src/base/error.ts";
import { Children } from "../../src/linux/children.ts";
import { topMountAt } from "../../src/linux/mount.ts";
import { Poller } from "../../src/linux/poller.ts";
import { mountRootfs, type RootfsMount, unmountRootfs } from "../../src/rootfs/rootfs.ts";

const [rootfs = "", json = ""] = process.argv.slice(2);
using poller = new Poller();
using children = new Children({ poller, reapStrays: false });

function environmentEntries(): readonly string[] {
  return Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
}

async function run(): Promise<Readonly<Record<string, unknown>>> {
  const mounts: readonly RootfsMount[] = JSON.parse(json);
  await mountRootfs(mounts, rootfs, { children, environment: environmentEntries() });
  const info = topMountAt(rootfs);
  const entries = readdirSync(rootfs).length;
  const cwd = realpathSync("/proc/self/cwd");
  await unmountRootfs(rootfs, { children });
  const isGone = topMountAt(rootfs) === undefined;
  return { entries, options: info?.options, superOptions: info?.superOptions, cwd, isGone };
}

const result = await run().catch((thrown: unknown) => ({ error: messageOf(thrown) }));
console.log(JSON.stringify(result));

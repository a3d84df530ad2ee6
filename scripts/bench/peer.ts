/** What is measured side by side: shims, and the bare runtime as the limit of what a shim can reach. */

import { spawnSync } from "node:child_process";
import { accessSync, constants, realpathSync } from "node:fs";
import { join } from "node:path";
import type { BenchOptions } from "./options.ts";

export interface Peer {
  readonly kind: "shim" | "runtime";
  /** Short and plain: it names cgroups, directories and columns. */
  readonly name: string;
  /** With the version, for people. */
  readonly label: string;
  readonly path: string;
  /** More of the environment of its shims; {@link AWAKE} without it. */
  readonly env?: Readonly<Record<string, string>>;
}

/** When a shim falls asleep is measured only in group `sleep`. */
export const AWAKE = { WEDGE_SLEEP_AFTER_SECONDS: "0" };

const STOCK_NAME = "go";
const WEDGE = join(import.meta.dirname, "../../dist/containerd-shim-wedge-v2");

/** wedge, the installed stock shim, those of `--shim`, and the bare runtime. Throws when one is missing. */
export function findPeers({ shims, runtime }: BenchOptions): readonly Peer[] {
  const named = [
    { name: "wedge", path: WEDGE },
    { name: STOCK_NAME, path: findCommand("containerd-shim-runc-v2") },
    ...shims,
  ];
  const names = named.map(({ name }) => name);
  const repeated = names.find((name, at) => name === runtime || names.indexOf(name) !== at);
  if (repeated !== undefined) throw new Error(`Two peers are named ${repeated}`);
  const peers = named.map(({ name, path }): Peer => {
    const resolved = resolve(path);
    return { kind: "shim", name, label: labelOf(name, resolved), path: resolved };
  });
  const bare = resolve(findCommand(runtime));
  const label = labelOf(runtime, bare);
  return [...peers, { kind: "runtime", name: runtime, label, path: bare }];
}

/** The peer that ratios refer to: `name`, or the stock shim. Throws when there is none of that name. */
export function baselineOf(peers: readonly Peer[], name: string = STOCK_NAME): Peer {
  const peer = peers.find((one) => one.name === name);
  if (peer === undefined) throw new Error(`Cannot compare with ${name}: no peer of that name`);
  return peer;
}

function findCommand(name: string): string {
  const path = Bun.which(name);
  if (path === null) throw new Error(`Not installed: ${name}. Run npm run setup -- test`);
  return path;
}

function resolve(path: string): string {
  try {
    accessSync(path, constants.X_OK);
    return realpathSync(path);
  } catch (cause) {
    throw new Error(`Cannot measure ${path}: it is not an executable file`, { cause });
  }
}

function labelOf(name: string, path: string): string {
  for (const flag of ["-v", "--version"]) {
    const { stdout } = spawnSync(path, [flag], { encoding: "utf8", timeout: 10_000 });
    const version = /(\d+\.\d+(\.\d+)?)/.exec(stdout ?? "")?.[1];
    if (version !== undefined) return `${name} ${version}`;
  }
  return name;
}

/**
 * Which container a word on the command line means: an id, NAMESPACE/ID, a bundle, an address, or the
 * pid of a shim or of an init.
 */

import { realpathSync, statSync } from "node:fs";
import { parseSocketPath } from "../../bundle/address.ts";
import { EXIT_NOT_FOUND, Refusal, usageError } from "../refusal.ts";
import type { BundleFacts } from "./bundle-facts.ts";
import type { Host, HostShim } from "./shims.ts";

/** A shim, and one of its containers. */
export interface Target {
  readonly shim: HostShim;
  /** Undefined when the word means a shim that has no container, or none that can be seen. */
  readonly bundle: BundleFacts | undefined;
  readonly namespace: string;
  readonly id: string;
}

export interface TargetOptions {
  /** Only of this namespace; undefined for any. */
  readonly namespace?: string | undefined;
}

/** All containers of all shims; a shim that has none stands for itself. */
export function listTargets({ shims }: Host): readonly Target[] {
  return shims.flatMap((shim): readonly Target[] => {
    const { namespace, id, bundles } = shim;
    if (bundles.length === 0) return [{ shim, bundle: undefined, namespace, id }];
    return bundles.map((bundle) => ({
      shim,
      bundle,
      namespace: bundle.namespace,
      id: bundle.id,
    }));
  });
}

/**
 * The one that `word` means. A prefix of an id will do when no other id has it. Throws a Refusal when
 * there is none, or more than one.
 */
export function findTarget(host: Host, word: string, options: TargetOptions = {}): Target {
  const all = listTargets(host).filter(
    ({ namespace }) => options.namespace === undefined || namespace === options.namespace,
  );
  for (const matches of MATCHERS) {
    const found = all.filter((target) => matches(target, word));
    const [only, other] = found;
    if (only !== undefined && other === undefined) return only;
    if (only !== undefined) throw ambiguous(word, found);
  }
  throw new Refusal(
    EXIT_NOT_FOUND,
    `No container or shim ${JSON.stringify(word)} on this host; shim ps lists them, shim help names says how they are named`,
  );
}

/** From the most exact on: the first that finds anything decides. */
const MATCHERS: readonly ((target: Target, word: string) => boolean)[] = [
  ({ id }, word) => id === word,
  ({ namespace, id }, word) => `${namespace}/${id}` === word,
  ({ shim, id }, word) => isAddress(shim, word) && id === shim.id,
  ({ bundle }, word) => bundle !== undefined && bundle.path === realPath(word),
  ({ shim, bundle }, word) => isPidOf(shim, bundle, word),
  ({ id, namespace }, word) => id.startsWith(word) || `${namespace}/${id}`.startsWith(word),
];

function isAddress({ socket, root }: HostShim, word: string): boolean {
  if (socket === undefined) return false;
  const path = parseSocketPath(word);
  return path === socket || path === root + socket;
}

function isPidOf(shim: HostShim, bundle: BundleFacts | undefined, word: string): boolean {
  if (!/^\d+$/.test(word)) return false;
  const pid = Number(word);
  return (
    bundle?.initPid === pid || (shim.process.pid === pid && (bundle?.id ?? shim.id) === shim.id)
  );
}

function realPath(word: string): string | undefined {
  try {
    return statSync(word).isDirectory() ? realpathSync(word) : undefined;
  } catch {
    return undefined; // Not a bundle, then.
  }
}

function ambiguous(word: string, found: readonly Target[]): Refusal {
  const names = found.map(({ namespace, id }) => `${namespace}/${id}`);
  return usageError(
    `${JSON.stringify(word)} may be ${names.join(" or ")}; give it as NAMESPACE/ID, or with --namespace`,
  );
}

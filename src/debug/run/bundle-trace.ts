/**
 * What a shim writes into its bundle. A manager creates the bundle and removes it whole; here it is the
 * user's own, so exactly these files are removed again, and none that was there before.
 */

import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ADDRESS_FILE, readSocketPath } from "../../bundle/address.ts";
import { INIT_PID_FILE } from "../../bundle/bundle.ts";
import { DELETION_FILE } from "../../bundle/deletion-record.ts";
import { EXIT_FILE } from "../../bundle/exit-record.ts";

const FILES: ReadonlySet<string> = new Set([
  ADDRESS_FILE,
  "criu-dump.log",
  DELETION_FILE,
  EXIT_FILE,
  INIT_PID_FILE,
  "options.json",
  "runtime",
  // Of a terminal that nobody has yet, see detached-streams.ts.
  "stdin",
  "stdout",
]);
/** The log of one runtime call, and a file about to become one of the above. */
const TEMPORARY = /^(runtime-[a-z-]+-\d+-[a-z0-9]+-\d+\.(json|conf)|\.[a-z.]+\.\d+)$/;

/** Which of the files in a bundle are a shim's. Taken before the shim starts. */
export class BundleTrace {
  readonly #bundle: string;
  readonly #kept: ReadonlySet<string>;

  constructor(bundle: string) {
    this.#bundle = bundle;
    // An address file left by a dead shim marks the other files as that shim's.
    const isStale = readSocketPath(bundle) !== undefined;
    this.#kept = new Set(
      isStale ? [] : [...FILES].filter((name) => existsSync(join(bundle, name))),
    );
  }

  /** Removes them, once the shim has gone. */
  remove(): void {
    removeTraces(this.#bundle, this.#kept);
  }
}

/** Removes the files of a shim that has gone, except `kept`. Does nothing if the bundle has gone too. */
export function removeTraces(bundle: string, kept: ReadonlySet<string> = new Set()): void {
  if (!existsSync(bundle)) return;
  for (const name of readdirSync(bundle)) {
    const isOurs = FILES.has(name) ? !kept.has(name) : TEMPORARY.test(name);
    if (isOurs) rmSync(join(bundle, name), { force: true });
  }
}

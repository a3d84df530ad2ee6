/** From the options that containerd sent to the way the runtime is called. */

import { join } from "node:path";
import type { RuntimeOptions } from "../runtime/runtime.ts";
import type { RuncOptions } from "./options.ts";

const DEFAULT_COMMAND = "runc";
/** Where containerd's own shim keeps the runtime's state, in a directory per namespace. */
const DEFAULT_ROOT = "/run/containerd/runc";

/** What a runtime call needs besides the options. */
export interface RuntimePlace {
  readonly namespace: string;
  /** Absolute. */
  readonly bundle: string;
  /** `NAME=value`. */
  readonly environment: readonly string[];
}

/** Defaults filled in, the namespace joined to the root. */
export function toRuntimeOptions(options: RuncOptions, place: RuntimePlace): RuntimeOptions {
  return {
    command: options.binaryName || DEFAULT_COMMAND,
    root: join(options.root || DEFAULT_ROOT, place.namespace),
    systemdCgroup: options.systemdCgroup,
    bundle: place.bundle,
    environment: place.environment,
  };
}

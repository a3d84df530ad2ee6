/**
 * Runtime options of a container, and the files in its bundle that keep them for `delete`.
 *
 * `options.json` has the name and the form that containerd's own shim gives it, and so has `runtime`
 * (only the runtime's name, from older days): either shim can clean up after the other.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf, ShimError } from "../base/error.ts";
import { member } from "../base/json.ts";
import { flag, plain, record, type Shaped, whole } from "../base/shape.ts";
import { writeFileAtomically } from "../bundle/atomic-file.ts";
import { hasCode } from "../linux/errno.ts";

const OPTIONS_FILE = "options.json";
const RUNTIME_FILE = "runtime";
const FILE_MODE = 0o600;

/** {@link RuncOptions} as they are handed over. */
export const runcOptionsState = record({
  noPivotRoot: flag,
  noNewKeyring: flag,
  /** Cgroup that the shim itself moves to. */
  shimCgroup: plain,
  /** Owner of the stdio of the container. */
  ioUid: whole,
  ioGid: whole,
  /** Name or path of the runtime's executable; "" for runc. */
  binaryName: plain,
  /** State directory of the runtime, without the namespace; "" for the default one. */
  root: plain,
  systemdCgroup: flag,
  criuImagePath: plain,
  criuWorkPath: plain,
});

/** How the OCI runtime is to be called for one container. Text that was not given is "". */
export type RuncOptions = Shaped<typeof runcOptionsState>;

/** What applies when containerd sends no options. */
export const defaultOptions: RuncOptions = {
  noPivotRoot: false,
  noNewKeyring: false,
  shimCgroup: "",
  ioUid: 0,
  ioGid: 0,
  binaryName: "",
  root: "",
  systemdCgroup: false,
  criuImagePath: "",
  criuWorkPath: "",
};

/** Writes both files into the bundle, readable by the owner alone. Throws what node:fs throws. */
export function saveOptions(bundle: string, options: RuncOptions): void {
  const given = Object.entries(options).filter(([, value]) => Boolean(value));
  const document = Object.fromEntries(given.map(([name, value]) => [keyOf(name), value]));
  writeFileAtomically(join(bundle, OPTIONS_FILE), JSON.stringify(document), FILE_MODE);
  writeFileAtomically(join(bundle, RUNTIME_FILE), options.binaryName, FILE_MODE);
}

/**
 * Reads them back; a missing file counts as empty. `runtime` names the runtime where `options.json` does
 * not. Throws ShimError `invalidArgument` when `options.json` cannot be parsed.
 */
export function loadOptions(bundle: string): RuncOptions {
  const path = join(bundle, OPTIONS_FILE);
  const document = parseObject(readOptional(path) ?? "{}", path);
  const found = Object.entries(defaultOptions).map(([name, otherwise]) => {
    const value = member(document, keyOf(name));
    return [name, typeof value === typeof otherwise ? value : otherwise];
  });
  const options = runcOptionsState.parse(Object.fromEntries(found), path);
  const runtime = () => (readOptional(join(bundle, RUNTIME_FILE)) ?? "").trim();
  return { ...options, binaryName: options.binaryName || runtime() };
}

/** What containerd's shim calls the option: `no_pivot_root` for `noPivotRoot`. */
function keyOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function parseObject(text: string, path: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ShimError("invalidArgument", `Cannot parse ${path}: ${messageOf(cause)}`, { cause });
  }
  if (typeof value === "object" && value !== null) return value;
  throw new ShimError("invalidArgument", `Cannot parse ${path}: it is not a JSON object`);
}

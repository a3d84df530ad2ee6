/**
 * Runtime options of a container, and the files in its bundle that keep them for `delete`.
 *
 * `options.json` has the name and the form that containerd's own shim gives it, and so has `runtime`
 * (only the runtime's name, from older days): either shim can clean up after the other.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf, ShimError } from "../base/error.ts";
import { flag, plain, record, whole } from "../base/shape.ts";
import { writeFileAtomically } from "../bundle/atomic-file.ts";
import { hasCode } from "../linux/errno.ts";

const OPTIONS_FILE = "options.json";
const RUNTIME_FILE = "runtime";
const FILE_MODE = 0o600;

/** How the OCI runtime is to be called for one container. Text that was not given is "". */
export interface RuncOptions {
  readonly noPivotRoot: boolean;
  readonly noNewKeyring: boolean;
  /** Cgroup that the shim itself moves to. */
  readonly shimCgroup: string;
  /** Owner of the stdio of the container. */
  readonly ioUid: number;
  readonly ioGid: number;
  /** Name or path of the runtime's executable; "" for runc. */
  readonly binaryName: string;
  /** State directory of the runtime, without the namespace; "" for the default one. */
  readonly root: string;
  readonly systemdCgroup: boolean;
  readonly criuImagePath: string;
  readonly criuWorkPath: string;
}

/** {@link RuncOptions} as they are handed over. */
export const runcOptionsState = record({
  noPivotRoot: flag,
  noNewKeyring: flag,
  shimCgroup: plain,
  ioUid: whole,
  ioGid: whole,
  binaryName: plain,
  root: plain,
  systemdCgroup: flag,
  criuImagePath: plain,
  criuWorkPath: plain,
});

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
  const document = {
    no_pivot_root: options.noPivotRoot || undefined,
    no_new_keyring: options.noNewKeyring || undefined,
    shim_cgroup: options.shimCgroup || undefined,
    io_uid: options.ioUid || undefined,
    io_gid: options.ioGid || undefined,
    binary_name: options.binaryName || undefined,
    root: options.root || undefined,
    systemd_cgroup: options.systemdCgroup || undefined,
    criu_image_path: options.criuImagePath || undefined,
    criu_work_path: options.criuWorkPath || undefined,
  };
  writeFileAtomically(join(bundle, OPTIONS_FILE), JSON.stringify(document), FILE_MODE);
  writeFileAtomically(join(bundle, RUNTIME_FILE), options.binaryName, FILE_MODE);
}

/**
 * Reads them back; a missing file counts as empty. `runtime` names the runtime where `options.json` does
 * not. Throws ShimError `invalidArgument` when `options.json` cannot be parsed.
 */
export function loadOptions(bundle: string): RuncOptions {
  const path = join(bundle, OPTIONS_FILE);
  const fields = parseObject(readOptional(path) ?? "{}", path);
  const text = (name: string) => {
    const value = fields.get(name);
    return typeof value === "string" ? value : "";
  };
  const number = (name: string) => {
    const value = fields.get(name);
    return typeof value === "number" ? value : 0;
  };
  return {
    noPivotRoot: fields.get("no_pivot_root") === true,
    noNewKeyring: fields.get("no_new_keyring") === true,
    shimCgroup: text("shim_cgroup"),
    ioUid: number("io_uid"),
    ioGid: number("io_gid"),
    binaryName: text("binary_name") || (readOptional(join(bundle, RUNTIME_FILE)) ?? "").trim(),
    root: text("root"),
    systemdCgroup: fields.get("systemd_cgroup") === true,
    criuImagePath: text("criu_image_path"),
    criuWorkPath: text("criu_work_path"),
  };
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function parseObject(text: string, path: string): ReadonlyMap<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ShimError("invalidArgument", `Cannot parse ${path}: ${messageOf(cause)}`, { cause });
  }
  if (typeof value === "object" && value !== null) return new Map(Object.entries(value));
  throw new ShimError("invalidArgument", `Cannot parse ${path}: it is not a JSON object`);
}

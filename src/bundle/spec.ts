/**
 * A shallow view of a bundle's `config.json` (OCI runtime specification, config.md): only what the
 * shim itself needs for its decisions. Everything else is the runtime's to read and to refuse.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf, ShimError } from "../base/error.ts";
import { member, textMember } from "../base/json.ts";

export const CONFIG_FILE = "config.json";
/** The id of the pod's sandbox, which the kubelet's containers carry. */
export const SANDBOX_ANNOTATION = "io.kubernetes.cri.sandbox-id";
/** Containers with the same value of one of these share a shim; the first that is there counts. */
export const GROUP_ANNOTATIONS = ["io.containerd.runc.v2.group", SANDBOX_ANNOTATION] as const;

/** What the shim needs to know of a container's configuration. */
export interface ContainerSpec {
  /** False when the container shares a pid namespace: then the end of init ends nothing by itself. */
  readonly hasOwnPidNamespace: boolean;
  readonly annotations: ReadonlyMap<string, string>;
  /** `process.terminal`. */
  readonly terminal: boolean;
  /** Columns and rows that the terminal has from the start (`process.consoleSize`). */
  readonly consoleSize: { readonly columns: number; readonly rows: number } | undefined;
  /** `linux.cgroupsPath`; "" without one. */
  readonly cgroupsPath: string;
  /** `process.apparmorProfile`; "" without one. */
  readonly apparmorProfile: string;
  /** `root.path` as written: absolute, or relative to the bundle. */
  readonly rootPath: string | undefined;
}

/**
 * Reads the specification of the bundle in `bundle`.
 * Throws ShimError `invalidArgument` when the file is missing, unreadable or not a JSON object.
 */
export function loadSpec(bundle: string): ContainerSpec {
  const path = join(bundle, CONFIG_FILE);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new ShimError("invalidArgument", `Cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
  return parseSpec(text, path);
}

/** {@link loadSpec} on text; `path` is for messages. */
export function parseSpec(text: string, path: string): ContainerSpec {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (cause) {
    throw new ShimError("invalidArgument", `Cannot parse ${path}: ${messageOf(cause)}`, { cause });
  }
  if (!isObject(root)) {
    throw new ShimError("invalidArgument", `Cannot use ${path}: it is not a JSON object`);
  }
  const processObject = member(root, "process");
  const size = member(processObject, "consoleSize");
  const width = member(size, "width");
  const height = member(size, "height");
  const rootPath = member(member(root, "root"), "path");
  return {
    hasOwnPidNamespace: namespacesOf(root).some(
      (namespace) => member(namespace, "type") === "pid" && !member(namespace, "path"),
    ),
    annotations: annotationsOf(root),
    terminal: member(processObject, "terminal") === true,
    consoleSize:
      typeof width === "number" && typeof height === "number" && width > 0 && height > 0
        ? { columns: width, rows: height }
        : undefined,
    cgroupsPath: textMember(member(root, "linux"), "cgroupsPath") ?? "",
    apparmorProfile: textMember(processObject, "apparmorProfile") ?? "",
    rootPath: typeof rootPath === "string" ? rootPath : undefined,
  };
}

function namespacesOf(root: object): readonly unknown[] {
  const namespaces = member(member(root, "linux"), "namespaces");
  return Array.isArray(namespaces) ? namespaces : [];
}

function annotationsOf(root: object): ReadonlyMap<string, string> {
  const annotations = member(root, "annotations");
  if (!isObject(annotations)) return new Map();
  const pairs = Object.entries(annotations);
  return new Map(pairs.filter((pair): pair is [string, string] => typeof pair[1] === "string"));
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

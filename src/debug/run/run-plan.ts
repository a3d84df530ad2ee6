/**
 * Checks everything that a run needs, before anything is begun: whatever is wrong is reported in one
 * line with what to do, and nothing is left behind. The runtime has the last word on config.json;
 * only the most frequent mistakes are checked here.
 */

import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { messageOf } from "../../base/error.ts";
import { parseExactly } from "../../base/exact-json.ts";
import { member } from "../../base/json.ts";
import type { Variables } from "../../base/variables.ts";
import { readSocketPath } from "../../bundle/address.ts";
import { CONFIG_FILE, GROUP_ANNOTATIONS } from "../../bundle/spec.ts";
import { hasCode } from "../../linux/errno.ts";
import { isListening } from "../../linux/listener.ts";
import { usageError } from "../refusal.ts";
import type { ConfigDocument } from "./derived-bundle.ts";
import type { RunOptions } from "./run-options.ts";

const DEFAULT_ROOT = "/run/containerd/runc";
const NAME_LENGTH_MAX = 76;
const NAME_PATTERN = /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/;

/** A run that may begin. Paths are absolute. */
export interface RunPlan {
  readonly id: string;
  readonly namespace: string;
  readonly bundle: string;
  /** The executable of the runtime. */
  readonly runtime: string;
  /** Its state directory without the namespace, as the shim's options have it. */
  readonly root: string;
  readonly isTerminal: boolean;
  /** The bundle's config.json, when a modified one is needed: `isTerminal` is not what it says. */
  readonly changedConfig: ConfigDocument | undefined;
  /** Where output goes instead of our streams; absolute. */
  readonly logFile: string | undefined;
  /** Absolute. */
  readonly pidFile: string | undefined;
  /** Whether the shim may have other containers. */
  readonly isGrouped: boolean;
  readonly isDebug: boolean;
  readonly timeoutMs: number | undefined;
  /** The environment for the shim. */
  readonly variables: Variables;
}

/** Throws a Refusal for what cannot work. */
export function planRun(options: RunOptions, variables: Variables): RunPlan {
  requireName("id", options.id);
  requireName("namespace", options.namespace);
  const bundle = findBundle(options.bundle);
  const { config, isTerminal: hasTerminal, isGrouped } = readConfig(bundle);
  const isTerminal = options.isTerminal ?? hasTerminal;
  const root = resolve(options.root ?? DEFAULT_ROOT);
  const runtime = findRuntime(options.runtime, variables);
  refuseUsedId(options.id, join(root, options.namespace, options.id));
  refuseUsedBundle(bundle);
  const { id, namespace, isDebug, timeoutMs } = options;
  return {
    ...{ id, namespace, bundle, runtime, root, isDebug, timeoutMs, variables },
    ...{ isTerminal, isGrouped },
    changedConfig: isTerminal === hasTerminal ? undefined : config,
    logFile: options.logFile && requireFolder("--log", options.logFile),
    pidFile: options.pidFile && requireFolder("--pid-file", options.pidFile),
  };
}

function requireName(what: string, name: string): void {
  if (name.length <= NAME_LENGTH_MAX && NAME_PATTERN.test(name)) return;
  throw usageError(
    `Bad ${what}: ${JSON.stringify(name)}; use letters and digits, with single "." "_" "-" between them, ` +
      `at most ${NAME_LENGTH_MAX} characters`,
  );
}

function findBundle(given: string): string {
  let path: string;
  try {
    path = realpathSync(given);
  } catch (cause) {
    const why = hasCode(cause, "ENOENT") ? `${given} does not exist` : messageOf(cause);
    throw usageError(
      `No such bundle: ${why}; --bundle takes a directory with config.json and a root filesystem`,
      { cause },
    );
  }
  if (!isDirectory(path)) {
    throw usageError(
      `No such bundle: ${path} is not a directory; --bundle takes the one that contains config.json`,
    );
  }
  return path;
}

/** An absolute path in an existing directory. */
function requireFolder(flag: string, given: string): string {
  const path = resolve(given);
  if (isDirectory(dirname(path)) && !isDirectory(path)) return path;
  throw usageError(`Cannot write ${path}: ${flag} takes a file in an existing directory`);
}

interface ConfigFacts {
  readonly config: ConfigDocument;
  readonly isTerminal: boolean;
  readonly isGrouped: boolean;
}

function readConfig(bundle: string): ConfigFacts {
  const path = join(bundle, CONFIG_FILE);
  let config: unknown;
  try {
    // It may be written again, with changes.
    config = parseExactly(readFileSync(path, "utf8"));
  } catch (cause) {
    if (hasCode(cause, "ENOENT")) {
      throw usageError(`No config.json in ${bundle}; make one with: runc spec --bundle ${bundle}`, {
        cause,
      });
    }
    throw usageError(`Cannot read ${path}: ${messageOf(cause)}; correct it and try again`, {
      cause,
    });
  }
  const command = member(config, "process");
  const args = member(command, "args");
  if (!Array.isArray(args) || args.length === 0) {
    throw usageError(`No command in ${path}: process.args is missing or empty; add one`);
  }
  requireRootfs(bundle, path, member(member(config, "root"), "path"));
  const annotations = member(config, "annotations");
  return {
    config: Object(config),
    isTerminal: member(command, "terminal") === true,
    isGrouped: GROUP_ANNOTATIONS.some((name) => member(annotations, name) !== undefined),
  };
}

function requireRootfs(bundle: string, configPath: string, rootPath: unknown): void {
  if (typeof rootPath !== "string" || rootPath === "") {
    throw usageError(
      `No root filesystem in ${configPath}: root.path is missing; set it, for instance to "rootfs"`,
    );
  }
  const rootfs = resolve(bundle, rootPath);
  if (isDirectory(rootfs)) return;
  throw usageError(
    `No root filesystem at ${rootfs}; put one there, or correct root.path in ${configPath}`,
  );
}

function findRuntime(given: string, variables: Variables): string {
  const command = given.includes("/") ? resolve(given) : given;
  const path = Bun.which(command, { PATH: variables["PATH"] ?? "" });
  if (path !== null) return resolve(path);
  const where = given.includes("/") ? `${command} is not an executable` : `${given} is not in PATH`;
  throw usageError(`No such runtime: ${where}; install it, or name another with --runtime`);
}

function refuseUsedId(id: string, stateDirectory: string): void {
  if (!existsSync(stateDirectory)) return;
  throw usageError(
    `The id ${id} is in use: the runtime has a container at ${stateDirectory}; take another --id, or delete that one`,
  );
}

/** The files of two shims in one bundle would be mistaken for each other's. */
function refuseUsedBundle(bundle: string): void {
  const socket = readSocketPath(bundle);
  if (socket === undefined || !isListening(socket)) return;
  throw usageError(
    `The bundle ${bundle} is in use: a shim serves it at ${socket}; copy the bundle, or delete its container`,
  );
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/**
 * Verbs as command lines, in the spelling that runc (1.0 and later), crun and youki share.
 *
 * Pure. The order is part of the contract, because wrappers around a runtime rely on it: `--root`,
 * `--log`, `--log-format`, `--systemd-cgroup`, then the verb and its flags, the id last.
 */

import { assert } from "../base/assert.ts";
import type {
  CheckpointRequest,
  CreateRequest,
  CriuOptions,
  ImagePaths,
  RestoreRequest,
} from "./runtime.ts";

/** What precedes the verb. */
export interface GlobalFlags {
  readonly root: string;
  readonly logFile: string | undefined;
  readonly systemdCgroup: boolean;
}

export function globalArgs({ root, logFile, systemdCgroup }: GlobalFlags): string[] {
  const args = ["--root", root];
  if (logFile !== undefined) args.push("--log", logFile, "--log-format", "json");
  if (systemdCgroup) args.push("--systemd-cgroup");
  return args;
}

type CreateFlags = Pick<CreateRequest, "pidFile" | "consoleSocket" | "noPivot" | "noNewKeyring">;

export function createArgs(id: string, bundle: string, flags: CreateFlags): string[] {
  return [
    "create",
    ...["--bundle", bundle],
    ...["--pid-file", flags.pidFile],
    ...option("--console-socket", flags.consoleSocket),
    ...when(flags.noPivot, "--no-pivot"),
    ...when(flags.noNewKeyring, "--no-new-keyring"),
    checked(id),
  ];
}

type RestoreFlags = Omit<RestoreRequest, "stdio" | "timeoutMs" | "signal">;

/**
 * Restore, detached. runc also has `--no-subreaper`; it is left out, because a detached runc exits at once
 * and stops being a subreaper with that, while crun refuses the flag.
 */
export function restoreArgs(id: string, bundle: string, flags: RestoreFlags): string[] {
  return [
    "restore",
    ...imageArgs(flags),
    ...criuArgs(flags.criu),
    "--detach",
    ...["--pid-file", flags.pidFile],
    ...option("--console-socket", flags.consoleSocket),
    ...when(flags.noPivot, "--no-pivot"),
    ...["--bundle", bundle],
    checked(id),
  ];
}

type CheckpointFlags = Omit<CheckpointRequest, "timeoutMs" | "signal">;

export function checkpointArgs(id: string, flags: CheckpointFlags): string[] {
  return [
    "checkpoint",
    ...imageArgs(flags),
    ...criuArgs(flags.criu),
    ...when(flags.leaveRunning, "--leave-running"),
    checked(id),
  ];
}

export interface ExecFlags {
  readonly processFile: string;
  readonly pidFile: string;
  readonly consoleSocket?: string | undefined;
}

export function execArgs(id: string, flags: ExecFlags): string[] {
  return [
    "exec",
    ...["--process", flags.processFile],
    ...option("--console-socket", flags.consoleSocket),
    "--detach",
    ...["--pid-file", flags.pidFile],
    checked(id),
  ];
}

export function startArgs(id: string): string[] {
  return ["start", checked(id)];
}

/** `signal` is a number: the names that runtimes know differ. */
export function killArgs(id: string, signal: number, flags: { readonly all: boolean }): string[] {
  return ["kill", ...when(flags.all, "--all"), checked(id), String(signal)];
}

export function deleteArgs(id: string, flags: { readonly force: boolean }): string[] {
  return ["delete", ...when(flags.force, "--force"), checked(id)];
}

export function pauseArgs(id: string): string[] {
  return ["pause", checked(id)];
}

export function resumeArgs(id: string): string[] {
  return ["resume", checked(id)];
}

/** Resources come on stdin. With `=`, because some flag parsers take a lone `-` for an argument. */
export function updateArgs(id: string): string[] {
  return ["update", "--resources=-", checked(id)];
}

function imageArgs(flags: ImagePaths): string[] {
  return [
    ...["--image-path", flags.imagePath],
    ...option("--work-path", flags.workPath),
    ...option("--parent-path", flags.parentPath),
  ];
}

function criuArgs(criu: CriuOptions = {}): string[] {
  return [
    ...when(criu.openTcp, "--tcp-established"),
    ...when(criu.externalUnixSockets, "--ext-unix-sk"),
    ...when(criu.terminal, "--shell-job"),
    ...when(criu.fileLocks, "--file-locks"),
    ...option("--manage-cgroups-mode", criu.cgroupsMode),
    ...(criu.emptyNamespaces ?? []).flatMap((name) => ["--empty-ns", name]),
  ];
}

/** A flag with its value; nothing for undefined or "". */
function option(flag: string, value: string | undefined): string[] {
  return value === undefined || value === "" ? [] : [flag, value];
}

function when(isSet: boolean | undefined, flag: string): string[] {
  return isSet === true ? [flag] : [];
}

/** Ids are checked on arrival; one that reads as a flag would make a different command. */
function checked(id: string): string {
  assert(id !== "" && !id.startsWith("-"), `"${id}" is not a container id`);
  return id;
}

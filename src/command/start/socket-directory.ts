/**
 * Where a shim's socket goes when containerd names no place: the first directory of a list that this
 * user can write to and nobody else can have prepared. All containers of a group end up in the same one.
 */

import { accessSync, constants, lstatSync, mkdirSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { messageOf, ShimError } from "../../base/error.ts";
import type { Variables } from "../../base/variables.ts";
import { SOCKET_PATH_BYTES } from "../../linux/listener.ts";

const MODE = 0o700;
/** Without a socket's name: a slash and 64 digits. */
const DIRECTORY_BYTES_MAX = SOCKET_PATH_BYTES - 65;
const OTHERS_MAY_WRITE = 0o022;

/** The candidates of user `uid`, in order: the same for every shim. */
export function socketDirectories(uid: number, variables: Variables): readonly string[] {
  const runtimeDirectory = variables["XDG_RUNTIME_DIR"] ?? "";
  return [
    "/run/containerd/s",
    ...(isAbsolute(runtimeDirectory) ? [join(runtimeDirectory, "containerd/s")] : []),
    `/run/${uid}/containerd/s`,
    `/tmp/containerd-s-${uid}`,
  ];
}

/**
 * The first of `candidates` that user `uid` can use, created (mode 0700) if missing. Throws ShimError
 * `failedPrecondition` that says of each why not.
 */
export function chooseSocketDirectory(candidates: readonly string[], uid: number): string {
  const refusals: string[] = [];
  for (const path of candidates) {
    const refusal = refusalOf(path, uid);
    if (refusal === undefined) return path;
    refusals.push(`${path}: ${refusal}`);
  }
  throw new ShimError(
    "failedPrecondition",
    `Cannot find a directory for the shim's socket: ${refusals.join("; ")}. ` +
      "Set XDG_RUNTIME_DIR to a directory of this user",
  );
}

function refusalOf(path: string, uid: number): string | undefined {
  if (Buffer.byteLength(path) > DIRECTORY_BYTES_MAX) return "path too long";
  try {
    mkdirSync(path, { recursive: true, mode: MODE });
    const stat = lstatSync(path);
    // Whoever made a link could make it point elsewhere later.
    if (!stat.isDirectory()) return "no directory";
    if (stat.uid !== uid && stat.uid !== 0) return `belongs to user ${stat.uid}`;
    // In a directory that everybody may write to, anybody could replace the socket, or have made the directory.
    if ((stat.mode & OTHERS_MAY_WRITE) !== 0) return "others may write to it";
    accessSync(path, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/**
 * What the options of a containerd mount mean: words as in fstab (mount(8)), some of them meant only for
 * containerd. Pure: nothing here touches the kernel.
 */

import { ShimError } from "../base/error.ts";
import {
  MS_BIND,
  MS_DIRSYNC,
  MS_MANDLOCK,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_REMOUNT,
  MS_SHARED,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
} from "../linux/mount.ts";
import type { IdRange } from "../linux/user-namespace.ts";

/** A mount as containerd asks for it (containerd.types.Mount). */
export interface RootfsMount {
  readonly type: string;
  readonly source: string;
  /** A directory inside the rootfs; "" is the rootfs itself. */
  readonly target: string;
  readonly options: readonly string[];
}

/** Ids of the host under which the files of a mount appear to the container. */
export interface IdMapping {
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** A mount's options, sorted by who acts on them. */
export interface MountOptions {
  /** MS_ flags of the mount(2) call itself, without propagation. */
  readonly flags: number;
  /** Propagation changes, each a call of its own, in the order given. */
  readonly propagation: readonly number[];
  /** What the file system itself reads, in the order given. */
  readonly data: readonly string[];
  /** The source is a file to be mounted through a loop device. */
  readonly loop: { readonly directIo: boolean } | undefined;
  readonly idMapping: IdMapping | undefined;
}

const SETS: ReadonlyMap<string, number> = new Map([
  ["bind", MS_BIND],
  ["dirsync", MS_DIRSYNC],
  ["mand", MS_MANDLOCK],
  ["noatime", MS_NOATIME],
  ["nodev", MS_NODEV],
  ["nodiratime", MS_NODIRATIME],
  ["noexec", MS_NOEXEC],
  ["nosuid", MS_NOSUID],
  ["rbind", MS_BIND | MS_REC],
  ["relatime", MS_RELATIME],
  ["remount", MS_REMOUNT],
  ["ro", MS_RDONLY],
  ["strictatime", MS_STRICTATIME],
  ["sync", MS_SYNCHRONOUS],
]);

const CLEARS: ReadonlyMap<string, number> = new Map([
  ["async", MS_SYNCHRONOUS],
  ["atime", MS_NOATIME],
  ["dev", MS_NODEV],
  ["diratime", MS_NODIRATIME],
  ["exec", MS_NOEXEC],
  ["nomand", MS_MANDLOCK],
  ["norelatime", MS_RELATIME],
  ["nostrictatime", MS_STRICTATIME],
  ["rw", MS_RDONLY],
  ["suid", MS_NOSUID],
]);

const PROPAGATION: ReadonlyMap<string, number> = new Map([
  ["private", MS_PRIVATE],
  ["rprivate", MS_PRIVATE | MS_REC],
  ["shared", MS_SHARED],
  ["rshared", MS_SHARED | MS_REC],
  ["slave", MS_SLAVE],
  ["rslave", MS_SLAVE | MS_REC],
  ["unbindable", MS_UNBINDABLE],
  ["runbindable", MS_UNBINDABLE | MS_REC],
]);

/** Options for containerd's own mount manager; a kernel must never see one. */
const INTERNAL_PREFIX = "X-containerd.";
const UID_MAP = "uidmap=";
const GID_MAP = "gidmap=";
const HIGHEST_ID = 0xffff_ffff;

/**
 * Sorts options; of two that contradict each other the later wins. A word that no table knows is
 * data for the file system (`lowerdir=...`, `volatile`, `fsync=volatile`).
 *
 * Throws ShimError `invalidArgument`: an option that containerd should have acted on itself, a
 * mapping that cannot be read, one of `uidmap` and `gidmap` without the other.
 */
export function parseMountOptions(options: readonly string[]): MountOptions {
  let flags = 0;
  const propagation: number[] = [];
  let data: string[] = [];
  let hasLoop = false;
  let uidMap: string | undefined;
  let gidMap: string | undefined;
  for (const option of options) {
    const change = PROPAGATION.get(option);
    if (option.startsWith(INTERNAL_PREFIX)) {
      throw new ShimError(
        "invalidArgument",
        `Mount option ${JSON.stringify(option)} is for containerd's mount manager, which has not acted on it`,
      );
    }
    if (change !== undefined) propagation.push(change);
    else if (SETS.has(option)) flags |= SETS.get(option) ?? 0;
    else if (CLEARS.has(option)) flags &= ~(CLEARS.get(option) ?? 0);
    else if (option === "loop") hasLoop = true;
    else if (option.startsWith(UID_MAP)) uidMap = option.slice(UID_MAP.length);
    else if (option.startsWith(GID_MAP)) gidMap = option.slice(GID_MAP.length);
    // "defaults" and "" ask for nothing; as data they would make some file systems refuse.
    else if (option !== "defaults" && option !== "") data.push(option);
  }
  const directIo = hasLoop && data.includes("direct-io");
  if (directIo) data = data.filter((option) => option !== "direct-io");
  return {
    flags,
    propagation,
    data,
    loop: hasLoop ? { directIo } : undefined,
    idMapping: idMappingOf(uidMap, gidMap),
  };
}

function idMappingOf(
  uidMap: string | undefined,
  gidMap: string | undefined,
): IdMapping | undefined {
  if (uidMap === undefined && gidMap === undefined) return undefined;
  if (uidMap === undefined || gidMap === undefined) {
    const given = uidMap === undefined ? "gidmap" : "uidmap";
    throw new ShimError(
      "invalidArgument",
      `Mount option ${given} needs uidmap and gidmap: only both can be mapped`,
    );
  }
  return { uids: parseRanges(UID_MAP, uidMap), gids: parseRanges(GID_MAP, gidMap) };
}

/** `container-id:host-id:size`, several separated by commas. */
function parseRanges(option: string, text: string): IdRange[] {
  return text.split(",").map((range) => {
    const numbers = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(range)?.slice(1).map(Number);
    const [inside, outside, count] = numbers ?? [];
    if (
      inside === undefined ||
      outside === undefined ||
      count === undefined ||
      count === 0 ||
      inside + count > HIGHEST_ID ||
      outside + count > HIGHEST_ID
    ) {
      throw new ShimError(
        "invalidArgument",
        `Mount option ${JSON.stringify(option + text)} is not a list of container-id:host-id:size`,
      );
    }
    return { inside, outside, count };
  });
}

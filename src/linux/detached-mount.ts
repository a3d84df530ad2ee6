/**
 * Mounts that exist before they are attached anywhere: fsopen(2), fsmount(2), open_tree(2),
 * mount_setattr(2), move_mount(2).
 *
 * A descriptor stands for the mount; closing it before it is attached undoes everything. Called by
 * number, which is the same on every architecture, because older libcs have no wrappers.
 */

import { ptr } from "bun:ffi";
import { cString } from "./bytes.ts";
import { check, errno, hasCode, SystemError } from "./errno.ts";
import { O_PATH, OwnedFd, openFd, readFd } from "./fd.ts";
import { mountTable } from "./libc.ts";

const SYS_OPEN_TREE = 428;
const SYS_MOVE_MOUNT = 429;
const SYS_FSOPEN = 430;
const SYS_FSCONFIG = 431;
const SYS_FSMOUNT = 432;
const SYS_MOUNT_SETATTR = 442;

const FSOPEN_CLOEXEC = 1;
const FSMOUNT_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_SET_FD = 5;
const FSCONFIG_CMD_CREATE = 6;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const AT_FDCWD = -100;
const AT_RECURSIVE = 0x8000;
const AT_EMPTY_PATH = 0x1000;
const MOUNT_ATTR_BYTES = 32;
const MESSAGE_BYTES = 4096;
/** How much the kernel reads of one string parameter, its NUL included. */
const STRING_LIMIT_BYTES = 256;

export const MOUNT_ATTR_RDONLY = 0x1;
export const MOUNT_ATTR_NOSUID = 0x2;
export const MOUNT_ATTR_NODEV = 0x4;
export const MOUNT_ATTR_NOEXEC = 0x8;
export const MOUNT_ATTR_NOATIME = 0x10;
export const MOUNT_ATTR_STRICTATIME = 0x20;
export const MOUNT_ATTR_NODIRATIME = 0x80;
export const MOUNT_ATTR_IDMAP = 0x100000;

/** A file system being set up. Dispose it in any case: a mount made from it lives on its own. */
export class FilesystemContext implements Disposable {
  readonly #fd: OwnedFd;

  /** fsopen(2). Throws SystemError: ENOSYS and EPERM where it is not available, ENODEV for an unknown type. */
  constructor(type: string) {
    const name = cString(type);
    this.#fd = new OwnedFd(
      check("fsopen", mountTable().syscall(SYS_FSOPEN, ptr(name), FSOPEN_CLOEXEC, 0, 0, 0), type),
    );
  }

  /** A parameter without a value. Throws SystemError with the file system's message. */
  setFlag(key: string): void {
    this.#configure(FSCONFIG_SET_FLAG, key, 0, 0);
  }

  /** A parameter with text. Throws SystemError; EINVAL also where the file system has no such parameter. */
  setString(key: string, value: string): void {
    const text = cString(value);
    this.#configure(FSCONFIG_SET_STRING, key, ptr(text), 0);
  }

  /**
   * A parameter that names a directory. A path too long for a string is passed as a descriptor, which
   * overlayfs takes from Linux 6.13 on.
   */
  setPath(key: string, path: string): void {
    if (Buffer.byteLength(path) < STRING_LIMIT_BYTES) {
      this.setString(key, path);
      return;
    }
    using directory = openFd(path, O_PATH);
    this.#configure(FSCONFIG_SET_FD, key, 0, directory.fd);
  }

  /** Creates the file system and a mount of it with MOUNT_ATTR_ flags, attached nowhere yet. */
  create(attributes: number): OwnedFd {
    this.#configure(FSCONFIG_CMD_CREATE, undefined, 0, 0);
    return new OwnedFd(
      check(
        "fsmount",
        mountTable().syscall(SYS_FSMOUNT, this.#fd.fd, FSMOUNT_CLOEXEC, attributes, 0, 0),
      ),
    );
  }

  [Symbol.dispose](): void {
    this.#fd[Symbol.dispose]();
  }

  #configure(command: number, key: string | undefined, value: number, auxiliary: number): void {
    const name = key === undefined ? undefined : cString(key);
    const result = mountTable().syscall(
      SYS_FSCONFIG,
      this.#fd.fd,
      command,
      name === undefined ? 0 : ptr(name),
      value,
      auxiliary,
    );
    if (Number(result) >= 0) return;
    const number = errno();
    throw new SystemError("fsconfig", number, this.#messages() || key);
  }

  /** The kernel's messages about the failure: lines such as "e overlay: ...". */
  #messages(): string {
    const lines: string[] = [];
    const buffer = new Uint8Array(MESSAGE_BYTES);
    try {
      for (;;) {
        const count = readFd(this.#fd.fd, buffer);
        if (count === "again" || count === 0) break;
        lines.push(Buffer.from(buffer.subarray(0, count)).toString().slice(2).trim());
      }
    } catch (thrown) {
      // ENODATA: there are no more.
      if (!hasCode(thrown, "ENODATA")) throw thrown;
    }
    return lines.join(", ");
  }
}

/** open_tree(2): a private copy of the mount at `path`, with everything below it when `recursive`. */
export function cloneMount(path: string, options: { readonly recursive: boolean }): OwnedFd {
  const name = cString(path);
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (options.recursive ? AT_RECURSIVE : 0);
  return new OwnedFd(
    check("open_tree", mountTable().syscall(SYS_OPEN_TREE, AT_FDCWD, ptr(name), flags, 0, 0), path),
  );
}

/** What mount_setattr(2) changes on every mount of a tree. */
export interface MountChange {
  /** MOUNT_ATTR_ flags to set. */
  readonly set: number;
  /** One of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE. */
  readonly propagation?: number;
  /** With MOUNT_ATTR_IDMAP: the user namespace whose mapping applies. */
  readonly userNamespace?: number;
}

/** mount_setattr(2) on a tree of {@link cloneMount}. Throws SystemError: EINVAL where a file system has no id mapping. */
export function changeMount(mountFd: number, change: MountChange): void {
  const attributes = new BigUint64Array(MOUNT_ATTR_BYTES / 8);
  attributes[0] = BigInt(change.set);
  attributes[2] = BigInt(change.propagation ?? 0);
  attributes[3] = BigInt(change.userNamespace ?? 0);
  const empty = cString("");
  check(
    "mount_setattr",
    mountTable().syscall(
      SYS_MOUNT_SETATTR,
      mountFd,
      ptr(empty),
      AT_EMPTY_PATH | AT_RECURSIVE,
      ptr(attributes),
      MOUNT_ATTR_BYTES,
    ),
  );
}

/** move_mount(2): attaches a detached mount at `target`. From then on the mount outlives its descriptor. */
export function attachMount(mountFd: number, target: string): void {
  const empty = cString("");
  const name = cString(target);
  check(
    "move_mount",
    mountTable().syscall(
      SYS_MOVE_MOUNT,
      mountFd,
      ptr(empty),
      AT_FDCWD,
      ptr(name),
      MOVE_MOUNT_F_EMPTY_PATH,
    ),
    target,
  );
}

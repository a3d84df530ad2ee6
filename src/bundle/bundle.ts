/** What is in a bundle, by name. */

import { join } from "node:path";

/** Written by the runtime; it begins with the pid. */
export const INIT_PID_FILE = "init.pid";
/** containerd 2 writes it into the bundle of a container that shares a sandbox's shim: the sandbox's id. */
export const SANDBOX_FILE = "sandbox";

/** Paths inside one bundle. Nothing here touches the disk. */
export class Bundle {
  readonly path: string;

  /** `path` is absolute. */
  constructor(path: string) {
    this.path = path;
  }

  /** Where rootfs mounts go; the runtime reads `root.path` of config.json, which points here. */
  get rootfs(): string {
    return join(this.path, "rootfs");
  }

  /** containerd's link to the directory that outlives a reboot of its state directory. */
  get work(): string {
    return join(this.path, "work");
  }

  get initPidFile(): string {
    return join(this.path, INIT_PID_FILE);
  }

  /** An exec may have any id, even the name of another file of the bundle. */
  execPidFile(execId: string): string {
    return join(this.path, `exec-${execId}.pid`);
  }
}

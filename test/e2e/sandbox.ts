/**
 * A mount and a pid namespace of our own, in which one containerd lives with its shims and containers.
 *
 * `/run` and the sandbox's directory are fresh tmpfs there, so all that a daemon or a shim leaves is
 * ours to see, and all of it goes when the sandbox ends: the kernel kills every process of a pid
 * namespace with its first one, and the mounts go with the last of them. The first process ends when
 * its stdin does, so a test run that is killed leaves nothing running either.
 *
 * Cgroups are not namespaced: those below the sandbox's name are ours.
 */

import {
  type Dirent,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { poll } from "./poll.ts";

const CGROUP_ROOT = "/sys/fs/cgroup";
/** Everything in the sandbox is dead within this, milliseconds; frozen cgroups are thawed before. */
const END_LIMIT_MS = 20_000;
/** `$1` is the directory, `$2` a path to unmount or nothing, `$3` not empty where the network is our own. */
const FIRST_PROCESS = `
set -e
mount -t tmpfs -o mode=0755 wedge-e2e "$1"
mount -t tmpfs -o mode=0755 wedge-e2e /run
[ -z "$2" ] || umount "$2"
if [ -n "$3" ]; then
  ip link set lo up
  mount -t tmpfs -o mode=0755 wedge-e2e /var/lib
fi
exec 3<&0
cat <&3 >/dev/null & reader=$!
echo ready
wait $reader`;

export interface SandboxOptions {
  /** A mount point that is not wanted inside. */
  readonly unmount?: string;
  /** A network of its own: a loopback interface, and a `/var/lib` where network plugins note what they do. */
  readonly ownNetwork?: boolean;
}

export class Sandbox {
  /** A unique name, fit for a containerd namespace and a cgroup. */
  readonly name: string;
  /** Seen inside; from outside it is reached through {@link path}. */
  readonly directory: string;
  readonly #outer: Bun.Subprocess<"pipe", "pipe", "inherit">;
  readonly #first: number;
  readonly #ownNetwork: boolean;

  private constructor(
    directory: string,
    outer: Bun.Subprocess<"pipe", "pipe", "inherit">,
    first: number,
    ownNetwork: boolean,
  ) {
    this.directory = directory;
    this.#ownNetwork = ownNetwork;
    this.name = basename(directory);
    this.#outer = outer;
    this.#first = first;
  }

  /** Throws when the namespaces cannot be made, which takes root. */
  static async open({ unmount = "", ownNetwork = false }: SandboxOptions = {}): Promise<Sandbox> {
    const directory = mkdtempSync(join(tmpdir(), "wedge-e2e-"));
    const outer = Bun.spawn(
      ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc"].concat([
        ...(ownNetwork ? ["--net"] : []),
        "sh",
        "-c",
        FIRST_PROCESS,
        "wedge-e2e",
        directory,
        unmount,
        ownNetwork ? "own" : "",
      ]),
      { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
    );
    const { value } = await outer.stdout.getReader().read();
    const first = childOf(outer.pid);
    if (value === undefined || first === undefined) {
      rmSync(directory, { recursive: true, force: true });
      throw new Error("Cannot make namespaces for containerd: unshare failed (run as root)");
    }
    return new Sandbox(directory, outer, first, ownNetwork);
  }

  /** Where a path of the inside is found from the outside. */
  path(inside: string): string {
    return `/proc/${this.#first}/root${inside}`;
  }

  /** The argument list that runs `argv` inside. */
  enter(argv: readonly string[]): string[] {
    const network = this.#ownNetwork ? ["-n"] : [];
    return ["nsenter", "-t", String(this.#first), "-m", "-p", ...network, "--", ...argv];
  }

  /** The pids and command lines inside, in the numbers of the inside, but for the first process and its reader. */
  processes(): Map<number, string> {
    const found = new Map<number, string>();
    const proc = this.path("/proc");
    for (const name of readdirSync(proc)) {
      const pid = Number(name);
      if (!Number.isInteger(pid) || pid <= 2) continue;
      const commandLine = readOrEmpty(`${proc}/${name}/cmdline`).replaceAll("\0", " ").trim();
      const stat = readOrEmpty(`${proc}/${name}/stat`);
      if (stat === "") continue;
      found.set(pid, commandLine === "" ? stat.split(" ").slice(1, 3).join(" ") : commandLine);
    }
    return found;
  }

  /** The mount points inside. */
  mounts(): string[] {
    const lines = readFileSync(`/proc/${this.#first}/mountinfo`, "utf8").trim().split("\n");
    return lines.map((line) => line.split(" ")[4] ?? "");
  }

  /** The cgroups below our name, of all hierarchies, without that of the name itself. */
  cgroups(): string[] {
    return this.#cgroupTops().flatMap((top) => descendants(top));
  }

  /** Ends every process, and removes cgroups and the directory. Idempotent. */
  async close(): Promise<void> {
    this.#thaw();
    await this.#outer.stdin.end();
    const killTimer = setTimeout(() => this.#outer.kill("SIGKILL"), END_LIMIT_MS);
    await this.#outer.exited;
    clearTimeout(killTimer);
    await poll("cgroups are gone", () => this.#removeCgroups(), { limitMs: END_LIMIT_MS });
    rmSync(this.directory, { recursive: true, force: true });
  }

  #cgroupTops(): string[] {
    const hierarchies = [CGROUP_ROOT, ...readdirSync(CGROUP_ROOT).map((h) => join(CGROUP_ROOT, h))];
    return hierarchies.map((h) => join(h, this.name)).filter((path) => existsSync(path));
  }

  /** A killed process in a frozen cgroup v1 dies only once it is thawed. */
  #thaw(): void {
    for (const cgroup of this.cgroups()) {
      const state = join(cgroup, "freezer.state");
      if (existsSync(state)) writeFileSync(state, "THAWED");
    }
  }

  #removeCgroups(): boolean {
    for (const top of this.#cgroupTops()) {
      for (const cgroup of [...descendants(top).reverse(), top]) {
        try {
          rmdirSync(cgroup);
        } catch {
          // Still busy: the last processes are on their way out.
          return false;
        }
      }
    }
    return true;
  }
}

/** The first child of a process, in our numbers. */
export function childOf(pid: number): number | undefined {
  const children = readOrEmpty(`/proc/${pid}/task/${pid}/children`).trim();
  return children === "" ? undefined : Number(children.split(" ")[0]);
}

function descendants(directory: string): string[] {
  const found: string[] = [];
  for (const entry of entriesOf(directory)) {
    if (!entry.isDirectory()) continue;
    const path = join(directory, entry.name);
    found.push(path, ...descendants(path));
  }
  return found;
}

/** Cgroups vanish between the listing of their parent and their own. */
function entriesOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch {
    return [];
  }
}

/** Files of /proc vanish between listing and reading. */
function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

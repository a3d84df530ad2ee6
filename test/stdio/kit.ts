/** What the stdio tests share: a poller, children, FIFOs in a directory of their own, readers and writers. */

import { randomBytes } from "node:crypto";
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type Logger, silentLogger } from "../../src/base/log.ts";
import { type Child, Children } from "../../src/linux/children.ts";
import {
  O_NONBLOCK,
  O_RDONLY,
  type OwnedFd,
  openFd,
  openPipe,
  readFd,
} from "../../src/linux/fd.ts";
import { makeFifo } from "../../src/linux/fifo.ts";
import { Poller } from "../../src/linux/poller.ts";
import type { ProcessStdio, StdioContext } from "../../src/stdio/opened-stdio.ts";
import { openStdio, type StdioRequest } from "../../src/stdio/stdio.ts";

/** Everything that one test has opened or started; disposing it ends and removes all. */
export class Kit implements AsyncDisposable {
  readonly poller = new Poller();
  readonly children = new Children({ poller: this.poller, reapStrays: false });
  readonly dir = mkdtempSync("/tmp/stdio-test-");
  readonly warnings: string[] = [];
  readonly log: Logger = {
    ...silentLogger,
    warn: (message) => this.warnings.push(message),
    error: (message) => this.warnings.push(message),
  };
  readonly #started: Child[] = [];
  readonly #opened: ProcessStdio[] = [];
  readonly #before = openDescriptors().length;

  /** Makes a FIFO and returns its path. */
  fifo(name: string): string {
    const path = join(this.dir, name);
    makeFifo(path, 0o700);
    chmodSync(path, 0o700); // the umask cuts the other
    return path;
  }

  async open(
    request: Partial<StdioRequest>,
    context: Partial<StdioContext> = {},
  ): Promise<ProcessStdio> {
    const { poller, children, log } = this;
    const stdio = await openStdio(
      {
        terminal: false,
        stdin: "",
        stdout: "",
        stderr: "",
        handsOver: true,
        ioUid: 0,
        ioGid: 0,
        containerId: "c1",
        namespace: "ns",
        ...request,
      },
      { poller, children, log, ...context },
    );
    this.#opened.push(stdio);
    return stdio;
  }

  /** Runs a shell script on `fds`. */
  shell(script: string, fds: readonly (number | undefined)[] = []): Child {
    return this.run(["/bin/bash", "-c", script], fds);
  }

  run(
    argv: readonly string[],
    fds: readonly (number | undefined)[] = [],
    leads?: "session" | "group",
  ): Child {
    const [a, b, c, ...more] = fds;
    const child = this.children.spawn({
      argv,
      env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"],
      stdio: [a, b, c, ...more],
      ...(leads === undefined ? {} : { leads }),
    });
    this.#started.push(child);
    return child;
  }

  /** Starts a process on the streams as a runtime would, and tells the stdio of its exit. */
  async start(stdio: ProcessStdio, script: string): Promise<Child> {
    const child = this.shell(script, stdio.childFds);
    await stdio.attach();
    // Ends with the child, which the kit kills.
    void child.exited.then(() => stdio.processExited());
    return child;
  }

  /** What a script prints, when it has ended and closed its output. */
  async output(script: string): Promise<string> {
    const pipe = openPipe();
    using reader = pipe.reader;
    const child = this.shell(script, [undefined, pipe.writer.fd]);
    pipe.writer[Symbol.dispose]();
    const text = (await this.readToEnd(reader)).toString();
    await child.exited;
    return text;
  }

  /** An open, non-blocking reading end of a FIFO. */
  reader(path: string): OwnedFd {
    return openFd(path, O_RDONLY | O_NONBLOCK);
  }

  readToEnd(reader: OwnedFd): Promise<Buffer> {
    return this.read(reader, Number.POSITIVE_INFINITY);
  }

  /** Reads `bytes`, or less at the end of file. */
  async read(reader: OwnedFd, bytes: number): Promise<Buffer> {
    const done = Promise.withResolvers<void>();
    const chunks: Buffer[] = [];
    let length = 0;
    const watch = this.poller.watch(reader.fd, { readable: true }, () => {
      const buffer = Buffer.alloc(Math.min(65536, bytes - length));
      const count = readFd(reader.fd, buffer);
      if (count === "again") return;
      chunks.push(buffer.subarray(0, count));
      length += count;
      if (count > 0 && length < bytes) return;
      // Here and not after the wait: the poller may come back before that goes on.
      watch[Symbol.dispose]();
      done.resolve();
    });
    await done.promise;
    return Buffer.concat(chunks);
  }

  /** A file of random bytes, and their checksum. */
  random(bytes: number): { readonly path: string; readonly sum: string } {
    const path = join(this.dir, "random");
    writeFileSync(path, randomBytes(bytes));
    return { path, sum: checksum(readFileSync(path)) };
  }

  /** Waits until `holds` does: for states that nothing tells of. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await Bun.sleep(2);
  }

  /** Closes all, and throws when a descriptor is left that was not there before. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#started) child.signal(9);
    await Promise.all(this.#started.map((child) => child.exited));
    await Promise.all(this.#opened.map((stdio) => stdio.close()));
    const left = this.#opened.flatMap((stdio) => stdio.descriptors());
    rmSync(this.dir, { recursive: true });
    const after = openDescriptors();
    this.children[Symbol.dispose]();
    this.poller[Symbol.dispose]();
    if (left.length > 0) throw new Error(`Left open: ${JSON.stringify(left)}`);
    if (after.length > this.#before) {
      throw new Error(`${after.length - this.#before} descriptors left: ${after.join(", ")}`);
    }
  }
}

/** Our descriptors but those of the event loop and its threads, which come and go. */
function openDescriptors(): string[] {
  const found: string[] = [];
  for (const name of readdirSync("/proc/self/fd")) {
    const link = linkOf(name);
    if (link !== undefined && !/eventpoll|eventfd/.test(link) && !link.includes("/proc/")) {
      found.push(`${name} ${link}`);
    }
  }
  return found;
}

function linkOf(name: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${name}`);
  } catch {
    return undefined; // It was the directory itself.
  }
}

export function checksum(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}

/** The open(2) flags of one of our descriptors. */
export function flagsOf(fd: number): number {
  const text = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
  return Number.parseInt(/flags:\s*(\d+)/.exec(text)?.[1] ?? "", 8);
}

/**
 * Runs the scenarios of a file for each release of containerd and each runtime.
 *
 * The stock shim is the oracle: what holds for both is stated once. `WEDGE_E2E_VERSIONS=1.6,2.1` and
 * `WEDGE_E2E_RUNTIMES=runc` (or `wedge`) narrow a run down.
 */

import { afterAll, beforeAll, beforeEach, describe, setDefaultTimeout } from "bun:test";
import { containerdVersions } from "../../scripts/debian-programs.ts";
import { Containerd, type DaemonOptions, IMAGE } from "./containerd.ts";
import { expectNothingLeft, type Snapshot, snapshot } from "./leaks.ts";

/** For a test or a hook with a daemon: generous, since the machine may be busy. Milliseconds. */
const TEST_LIMIT_MS = 90_000;
/** For the long ones. */
export const LONG_LIMIT_MS = 300_000;

const ALL_SERIES = ["1.6", "1.7", "2.x"] as const;

export type RuntimeKind = "runc" | "wedge";

export interface MatrixOptions {
  /** Every release that can be had, or only the installed one (the default). */
  readonly versions?: "all" | "installed";
  /** Which shims; both by default. */
  readonly runtimes?: readonly RuntimeKind[];
  readonly daemon?: Omit<DaemonOptions, "version">;
}

/** What a scenario works with. */
export class Scene {
  readonly kind: RuntimeKind;
  /** As `--runtime` takes it. */
  readonly runtime: string;
  #daemon: Containerd | undefined;
  #count = 0;

  constructor(kind: RuntimeKind, dropIn: boolean) {
    this.kind = kind;
    this.runtime = dropIn ? "io.containerd.runc.v2" : `io.containerd.${kind}.v2`;
  }

  /** The daemon; only while tests run. */
  get daemon(): Containerd {
    if (this.#daemon === undefined) throw new Error("There is no daemon yet: use it within a test");
    return this.#daemon;
  }

  set daemon(daemon: Containerd) {
    this.#daemon = daemon;
  }

  /** A container id that no other test has. */
  id(): string {
    this.#count += 1;
    return `${this.kind}-${this.#count}`;
  }

  /** The arguments of `ctr run` for a command in the test image. */
  run(
    id: string,
    command: readonly string[],
    { flags = [], image = IMAGE }: { flags?: readonly string[]; image?: string } = {},
  ): string[] {
    return ["run", "--runtime", this.runtime, ...flags, image, id, ...command];
  }

  /** Starts a container and leaves it running; returns its id. */
  async start(
    command: readonly string[],
    options: { flags?: readonly string[]; image?: string; id?: string } = {},
  ): Promise<string> {
    const id = options.id ?? this.id();
    await this.daemon.ctr(
      ...this.run(id, command, { ...options, flags: ["-d", ...(options.flags ?? [])] }),
    );
    return id;
  }

  /** Kills (if need be) and removes a container and its task, whatever state they are in. */
  async remove(id: string): Promise<void> {
    await this.daemon.call(["task", "rm", "--force", id]);
    await this.daemon.ctr("container", "rm", id);
  }
}

/** Defines the tests of `body` for each pair, and that they leave nothing behind. */
export function matrix(topic: string, options: MatrixOptions, body: (scene: Scene) => void): void {
  setDefaultTimeout(TEST_LIMIT_MS);
  const versions = containerdVersions().filter((version) => wanted("VERSIONS", version.series));
  const chosen = options.versions === "all" ? versions : versions.slice(0, 1);
  const all = options.versions === "all" && process.env["WEDGE_E2E_VERSIONS"] === undefined;
  if (all && versions.length < ALL_SERIES.length) {
    const found = versions.map((version) => version.series).join(", ");
    console.warn(`${topic}: only with containerd ${found}: see scripts/debian-programs.ts`);
  }
  if (versions.length === 0) throw new Error("No containerd is installed: run npm run setup");
  const kinds = (options.runtimes ?? ["runc", "wedge"]).filter((kind) => wanted("RUNTIMES", kind));
  for (const version of chosen) {
    describe(`${topic}, containerd ${version.series}`, () => {
      let daemon: Containerd | undefined;
      const scenes = kinds.map((kind) => new Scene(kind, options.daemon?.dropIn ?? false));
      beforeAll(async () => {
        daemon = await Containerd.start({ ...options.daemon, version });
        for (const scene of scenes) scene.daemon = daemon;
      }, TEST_LIMIT_MS);
      afterAll(async () => {
        await daemon?.[Symbol.asyncDispose]();
      }, TEST_LIMIT_MS);
      for (const scene of scenes) {
        describe(scene.kind === "runc" ? "stock shim" : "wedge", () => {
          let before: Snapshot = new Set();
          beforeAll(() => {
            before = snapshot(scene.daemon);
          });
          afterAll(async () => {
            await expectNothingLeft(scene.daemon, before);
          }, TEST_LIMIT_MS);
          // A test that failed may have left the daemon down.
          beforeEach(async () => {
            await scene.daemon.ensureServing();
          });
          body(scene);
        });
      }
    });
  }
}

function wanted(what: string, name: string): boolean {
  const list = process.env[`WEDGE_E2E_${what}`];
  return list === undefined || list.split(",").includes(name);
}

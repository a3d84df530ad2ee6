/**
 * Runs the scenarios of a file for Docker with each shim: a release's dockerd over the containerd of its time.
 *
 * The stock shim is the oracle: what holds for both is stated once. `WEDGE_E2E_DOCKERS=26.1` and
 * `WEDGE_E2E_RUNTIMES=wedge` narrow a run down. Where no dockerd can be had, one skipped test says so.
 */

import { afterAll, beforeAll, beforeEach, describe, setDefaultTimeout, test } from "bun:test";
import {
  type ContainerdVersion,
  containerdVersions,
  type DockerVersion,
  dockerVersions,
} from "../../scripts/debian-programs.ts";
import type { ClientOptions, Terminal, TerminalOptions } from "./client.ts";
import type { CallResult } from "./containerd.ts";
import { DOCKER_IMAGE, Dockerd, type DockerdOptions } from "./dockerd.ts";
import { expectNothingLeft, type Snapshot, snapshot } from "./leaks.ts";
import type { RuntimeKind } from "./matrix.ts";

/** For a test or a hook with a daemon: generous, since the machine may be busy. Milliseconds. */
const TEST_LIMIT_MS = 120_000;
/** Series of containerd by the first series of Docker that is shipped with them, newest first. */
const SAME_AGE = [
  ["27", "2."],
  ["23", "1.7"],
  ["20", "1.6"],
] as const;
/** The first series that takes a shim's name for `--runtime`. */
const FIRST_WITH_NAMES = 23;

export interface DockerMatrixOptions {
  /** Every release that can be had, or only the newest (the default). */
  readonly versions?: "all" | "newest";
  /** Which shims; both by default. A drop-in is wedge under the stock shim's name. */
  readonly runtimes?: readonly (RuntimeKind | "drop-in")[];
  /** A list that takes minutes: the stock shim goes through it only when `WEDGE_E2E_RUNTIMES` names it. */
  readonly isLong?: boolean;
  readonly daemon?: Omit<DockerdOptions, "docker" | "containerd" | "dropIn">;
}

/** What a scenario works with. */
export class DockerScene {
  readonly kind: RuntimeKind;
  readonly #runtime: readonly string[];
  #daemon: Dockerd | undefined;
  #count = 0;

  constructor(kind: RuntimeKind, isDropIn: boolean) {
    this.kind = kind;
    this.#runtime = kind === "wedge" && !isDropIn ? ["--runtime", "io.containerd.wedge.v2"] : [];
  }

  /** The daemon; only while tests run. */
  get daemon(): Dockerd {
    if (this.#daemon === undefined) throw new Error("There is no daemon yet: use it within a test");
    return this.#daemon;
  }

  set daemon(daemon: Dockerd) {
    this.#daemon = daemon;
  }

  /** A container name that no other test has. */
  name(): string {
    this.#count += 1;
    return `${this.kind}-${this.#count}`;
  }

  /** The arguments of `docker run` (or `create`) for a command in the test image, without a network unless flags name one. */
  args(
    command: readonly string[],
    flags: readonly string[] = [],
    verb: "run" | "create" = "run",
  ): string[] {
    const network = flags.includes("--network") ? [] : ["--network", "none"];
    return [verb, ...this.#runtime, ...network, ...flags, DOCKER_IMAGE, ...command];
  }

  /** `docker run --rm` to its end; any exit code is a result. */
  async run(
    command: readonly string[],
    flags: readonly string[] = [],
    options: ClientOptions = {},
  ): Promise<CallResult> {
    return await this.daemon.call(this.args(command, ["--rm", ...flags]), options);
  }

  /** `docker run --rm -it` on a terminal of its own. */
  terminal(
    command: readonly string[],
    flags: readonly string[] = [],
    options: TerminalOptions = {},
  ): Terminal {
    return this.daemon.terminal(this.args(command, ["--rm", "-it", ...flags]), options);
  }

  /** `docker run -d`; returns the container's name. */
  async start(command: readonly string[], flags: readonly string[] = []): Promise<string> {
    const name = this.name();
    await this.daemon.docker(...this.args(command, ["-d", "--name", name, ...flags]));
    return name;
  }

  /** Kills (if need be) and removes a container. */
  async remove(name: string): Promise<void> {
    await this.daemon.docker("rm", "--force", name);
  }

  /** Removes what tests that failed have left. */
  async removeAll(): Promise<void> {
    const names = (await this.daemon.docker("ps", "--all", "--quiet")).split("\n");
    if (names[0] !== "") await this.daemon.docker("rm", "--force", ...names);
  }
}

/** Defines the tests of `body` for each pair, and that they leave nothing behind. */
export function dockerMatrix(
  topic: string,
  options: DockerMatrixOptions,
  body: (scene: DockerScene) => void,
): void {
  setDefaultTimeout(TEST_LIMIT_MS);
  const all = dockerVersions().filter(({ series }) => wanted("DOCKERS", series));
  if (all.length === 0) {
    test.skip(`${topic}: no dockerd can be had, see scripts/debian-programs.ts`, () => {});
    return;
  }
  const asked = process.env["WEDGE_E2E_RUNTIMES"] !== undefined;
  const both =
    options.isLong === true && !asked ? (["wedge"] as const) : (["runc", "wedge"] as const);
  const kinds = (options.runtimes ?? both).filter((kind) => wanted("RUNTIMES", kind));
  for (const docker of options.versions === "all" ? all : all.slice(-1)) {
    const takesNames = Number.parseInt(docker.series, 10) >= FIRST_WITH_NAMES;
    const containerd = containerdFor(docker);
    describe(`${topic}, docker ${docker.series}, containerd ${containerd.series}`, () => {
      const beside = kinds.filter((kind) => kind === "runc" || (kind === "wedge" && takesNames));
      if (beside.length > 0) withDaemon({ ...options.daemon, docker, containerd }, beside, body);
      if (!kinds.includes("drop-in")) return;
      describe("drop-in", () => {
        withDaemon({ ...options.daemon, docker, containerd, dropIn: true }, ["wedge"], body);
      });
    });
  }
}

function withDaemon(
  options: DockerdOptions,
  kinds: readonly ("runc" | "wedge" | "drop-in")[],
  body: (scene: DockerScene) => void,
): void {
  let daemon: Dockerd | undefined;
  beforeAll(async () => {
    daemon = await Dockerd.start(options);
  }, TEST_LIMIT_MS);
  afterAll(async () => {
    await daemon?.[Symbol.asyncDispose]();
  }, TEST_LIMIT_MS);
  for (const kind of kinds) {
    const scene = new DockerScene(kind === "runc" ? "runc" : "wedge", options.dropIn ?? false);
    describe(kind === "runc" ? "stock shim" : "wedge", () => {
      let before: Snapshot = new Set();
      beforeAll(() => {
        if (daemon === undefined) throw new Error("dockerd did not start");
        scene.daemon = daemon;
        before = snapshot(daemon.containerd);
      });
      afterAll(async () => {
        await scene.removeAll();
        await expectNothingLeft(scene.daemon.containerd, before);
      }, TEST_LIMIT_MS);
      // A test that failed may have left a daemon down.
      beforeEach(async () => {
        await scene.daemon.ensureServing();
      });
      body(scene);
    });
  }
}

/** A containerd of the same age: what a distribution ships together. */
function containerdFor(docker: DockerVersion): ContainerdVersion {
  const versions = containerdVersions();
  const series = SAME_AGE.find(([first]) => docker.series >= first)?.[1] ?? "";
  const found = versions.find((version) => version.series.startsWith(series)) ?? versions.at(-1);
  if (found === undefined) throw new Error("No containerd is installed: run npm run setup");
  return found;
}

function wanted(what: string, name: string): boolean {
  const list = process.env[`WEDGE_E2E_${what}`];
  return list === undefined || list.split(",").includes(name);
}

/**
 * Provides programs of other Debian releases alongside the installed ones, for the end-to-end tests:
 * containerd and Docker, of each series in use, and a CRIU for kernels that are newer than this
 * system's.
 *
 *     bun scripts/debian-programs.ts
 *
 * They run as they are unpacked, from a cache in the user's home. What is not available is left out, with
 * one line that says why.
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { DebianRelease } from "./debian-package.ts";

/** The program in an unpacked tree that prints its version, and so proves that it runs here. */
const PROBES = {
  containerd: "usr/bin/containerd",
  docker: "usr/sbin/dockerd",
  criu: "criu",
} as const;

/** Runs a program of a newer release, for which this system's C library is too old, with its own. */
const CRIU_SCRIPT = `#!/bin/sh
tree=$(dirname "$(readlink -f "$0")")
exec "$tree"/usr/lib*/ld-linux-*.so.* --library-path "$(echo "$tree"/usr/lib/*-linux-gnu)" "$tree/usr/sbin/criu" "$@"
`;

interface Source {
  readonly name: keyof typeof PROBES;
  /** A release that ships a series which the tests want. */
  readonly release: string;
  /** All go into one tree. */
  readonly packages: readonly string[];
}

const SOURCES: readonly Source[] = [
  { name: "containerd", release: "trixie", packages: ["containerd"] },
  { name: "containerd", release: "sid", packages: ["containerd"] },
  // tini-static, which up to trixie is in tini, is what `docker run --init` runs as init.
  { name: "docker", release: "bookworm", packages: ["docker.io", "tini"] },
  { name: "docker", release: "trixie", packages: ["docker.io", "docker-cli", "tini"] },
  { name: "docker", release: "sid", packages: ["docker.io", "docker-cli", "tini-static"] },
  { name: "criu", release: "sid", packages: ["criu"] },
];

/** A containerd that tests can start. */
export interface ContainerdVersion {
  /** Major and minor number, `1.7`. */
  readonly series: string;
  /** The directory of `containerd`, `ctr` and `containerd-shim-runc-v2`. */
  readonly directory: string;
}

/** A Docker that tests can start. */
export interface DockerVersion {
  /** Major and minor number, `28.5`. */
  readonly series: string;
  /** The directory of `usr/sbin/dockerd`, `usr/bin/docker` and `usr/bin/docker-init`. */
  readonly tree: string;
}

/** What can be run now: the installed containerd and those that {@link provide} has unpacked. Oldest first. */
export function containerdVersions(): ContainerdVersion[] {
  const installed = Bun.which("containerd");
  const programs = installed === null ? [] : [installed];
  for (const source of SOURCES) if (source.name === "containerd") programs.push(probeOf(source));
  return oldestFirst(programs).map(([series, program]) => ({
    series,
    directory: dirname(program),
  }));
}

/** The Dockers that {@link provide} has unpacked, whatever is installed. Oldest first. */
export function dockerVersions(): DockerVersion[] {
  const programs = SOURCES.filter(({ name }) => name === "docker").map(probeOf);
  return oldestFirst(programs).map(([series, program]) => ({
    series,
    tree: program.slice(0, -PROBES.docker.length - 1),
  }));
}

/** A CRIU that works on this kernel, installed or unpacked, or the last line of output of the one that does not. */
export function findCriu(): { readonly program: string } | { readonly refusal: string } {
  let refusal = "criu is not there: see scripts/debian-programs.ts";
  const installed = Bun.which("criu");
  const unpacked = SOURCES.filter(({ name }) => name === "criu").map(probeOf);
  for (const program of [...(installed === null ? [] : [installed]), ...unpacked]) {
    if (!existsSync(program)) continue;
    const { status, stderr } = spawnSync(program, ["check"], { encoding: "utf8" });
    if (status === 0) return { program };
    refusal = `${program} check: ${stderr.trim().split("\n").at(-1)}`;
  }
  return { refusal };
}

/** Unpacks what is missing. Returns one line for each that is not available. */
export function provide(): string[] {
  const missing = SOURCES.filter((source) => seriesOf(probeOf(source)) === undefined);
  const byRelease = Map.groupBy(missing, ({ release }) => release);
  return [...byRelease].flatMap(([release, sources]) => provideRelease(release, sources));
}

function provideRelease(name: string, sources: readonly Source[]): string[] {
  const failures: string[] = [];
  const fail = (what: string, error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    failures.push(`No ${what} of Debian ${name}: ${reason}`);
  };
  try {
    using release = DebianRelease.open(name, cache());
    for (const source of sources) {
      try {
        install(release, source);
      } catch (error) {
        fail(source.name, error);
      }
    }
  } catch (error) {
    fail(sources.map((source) => source.name).join(", no "), error);
  }
  return failures;
}

function install(release: DebianRelease, source: Source): void {
  const isWhole = source.name === "criu";
  const unpacked = isWhole ? release.unpackWhole(source.packages) : release.unpack(source.packages);
  if (isWhole) writeFileSync(join(unpacked, PROBES.criu), CRIU_SCRIPT, { mode: 0o755 });
  if (seriesOf(join(unpacked, PROBES[source.name])) === undefined) {
    throw new Error(`its ${PROBES[source.name]} does not run here`);
  }
  const place = treeOf(source);
  mkdirSync(dirname(place), { recursive: true });
  rmSync(place, { recursive: true, force: true });
  renameSync(unpacked, place);
}

function cache(): string {
  const base = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return join(base, "wedge");
}

function treeOf({ name, release }: Source): string {
  return join(cache(), name, release);
}

function probeOf(source: Source): string {
  return join(treeOf(source), PROBES[source.name]);
}

function seriesOf(program: string): string | undefined {
  if (!existsSync(program)) return undefined;
  const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  return / v?(\d+\.\d+)\b/.exec(stdout)?.[1];
}

/** Programs by series; of two in a series the first. */
function oldestFirst(programs: readonly string[]): [series: string, program: string][] {
  const found = new Map<string, string>();
  for (const program of programs) {
    const series = seriesOf(program);
    if (series !== undefined && !found.has(series)) found.set(series, program);
  }
  return [...found].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
}

if (import.meta.main) {
  for (const failure of provide()) console.warn(failure);
  for (const { series, directory } of containerdVersions()) {
    console.log(`containerd ${series}  ${directory}`);
  }
  for (const { series, tree } of dockerVersions()) console.log(`docker ${series}  ${tree}`);
  const criu = findCriu();
  console.log("program" in criu ? `criu  ${criu.program}` : criu.refusal);
}

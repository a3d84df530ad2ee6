/**
 * Provides containerd of other Debian releases beside the installed one, for the end-to-end tests.
 *
 *   bun scripts/containerd-versions.ts
 *
 * The packages are downloaded with apt into a state of their own: the system's apt sources and its
 * packages stay as they are. The mirror is the one that those sources name. The binaries run as they
 * are unpacked; a release whose package cannot be had is left out, with one line that says why.
 */

import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** Which Debian release ships which containerd: the tests want one of each series. */
const RELEASES = ["trixie", "sid"] as const;
const APT_LIMIT_MS = 300_000;

/** A containerd that tests can start. */
export interface ContainerdVersion {
  /** Major and minor number, `1.7`. */
  readonly series: string;
  /** The directory of `containerd`, `ctr` and `containerd-shim-runc-v2`. */
  readonly directory: string;
}

/** What can be run now: the installed containerd and those that {@link provide} has unpacked. Oldest first. */
export function availableVersions(): ContainerdVersion[] {
  const installed = Bun.which("containerd");
  const directories = installed === null ? [] : [join(installed, "..")];
  for (const release of RELEASES) directories.push(programs(release));
  const versions = new Map<string, ContainerdVersion>();
  for (const directory of directories) {
    const series = seriesOf(directory);
    if (series !== undefined && !versions.has(series)) versions.set(series, { series, directory });
  }
  return [...versions.values()].sort((a, b) => (a.series < b.series ? -1 : 1));
}

/** Unpacks the releases that are missing. Returns one line for each that cannot be had. */
export function provide(): string[] {
  const missing = RELEASES.filter((release) => seriesOf(programs(release)) === undefined);
  const failures: string[] = [];
  for (const release of missing) {
    const failure = unpack(release);
    if (failure !== undefined) failures.push(`No containerd of Debian ${release}: ${failure}`);
  }
  return failures;
}

function programs(release: string): string {
  return join(cache(), release, "usr/bin");
}

function cache(): string {
  const base = process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache");
  return join(base, "wedge/containerd");
}

function seriesOf(directory: string): string | undefined {
  const program = join(directory, "containerd");
  if (!existsSync(program)) return undefined;
  const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  return / v?(\d+\.\d+)\.\d+/.exec(stdout)?.[1];
}

/** Returns why it failed, or undefined. */
function unpack(release: string): string | undefined {
  const mirror = debianMirror();
  if (mirror === undefined) return "this system's apt sources name no Debian mirror";
  mkdirSync(cache(), { recursive: true });
  const work = mkdtempSync(join(cache(), `${release}-`));
  try {
    mkdirSync(join(work, "lists/partial"), { recursive: true });
    mkdirSync(join(work, "archives/partial"), { recursive: true });
    writeFileSync(join(work, "sources.list"), `${mirror.replace("SUITE", release)}\n`);
    const options = Object.entries({
      "Dir::Etc::sourcelist": join(work, "sources.list"),
      "Dir::Etc::sourceparts": "-",
      "Dir::State::Lists": join(work, "lists"),
      "Dir::Cache": work,
      "Dir::Cache::archives": "archives",
      // The download is written as root in a directory that apt's own user cannot enter.
      "APT::Sandbox::User": "root",
    }).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    const failure =
      run(work, "apt-get", ["-qq", ...options, "update"]) ??
      run(work, "apt-get", ["-qq", ...options, "-t", release, "download", "containerd"]);
    if (failure !== undefined) return failure;
    const archive = readdirSync(work).find((name) => name.endsWith(".deb"));
    if (archive === undefined) return "apt-get downloaded no package";
    return run(work, "dpkg", ["-x", archive, "unpacked"]) ?? moveIn(work, release);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function moveIn(work: string, release: string): string | undefined {
  const unpacked = join(work, "unpacked");
  if (seriesOf(join(unpacked, "usr/bin")) === undefined) return "its containerd does not run here";
  const place = join(cache(), release);
  rmSync(place, { recursive: true, force: true });
  renameSync(unpacked, place);
  return undefined;
}

/** A one-line apt source for the release `SUITE`, signed as the system's own is. */
function debianMirror(): string | undefined {
  const directory = "/etc/apt/sources.list.d";
  const files = existsSync(directory)
    ? readdirSync(directory).map((name) => join(directory, name))
    : [];
  for (const path of files.filter((name) => name.endsWith(".sources"))) {
    for (const stanza of readFileSync(path, "utf8").split(/\n\s*\n/)) {
      const uri = /^URIs:\s*(\S+\/debian\/?)(\s|$)/m.exec(stanza)?.[1];
      if (uri === undefined) continue;
      const key = /^Signed-By:\s*(\/\S+)/m.exec(stanza)?.[1];
      return `deb ${key === undefined ? "" : `[signed-by=${key}] `}${uri} SUITE main`;
    }
  }
  const lists = [...files.filter((name) => name.endsWith(".list")), "/etc/apt/sources.list"];
  for (const path of lists.filter((name) => existsSync(name))) {
    const line = /^deb\s+(\[[^\]]*\]\s+)?(\S+\/debian\/?)\s/m.exec(readFileSync(path, "utf8"));
    if (line !== null) return `deb ${line[1] ?? ""}${line[2]} SUITE main`;
  }
  return undefined;
}

/** Returns the last line of what the command said if it failed. */
function run(cwd: string, program: string, args: readonly string[]): string | undefined {
  const result = spawnSync(program, args, { cwd, encoding: "utf8", timeout: APT_LIMIT_MS });
  if (result.status === 0) return undefined;
  const said = `${result.stderr ?? ""}`.trim().split("\n").at(-1);
  return `${program} failed: ${said === undefined || said === "" ? result.error?.message : said}`;
}

if (import.meta.main) {
  for (const failure of provide()) console.warn(failure);
  for (const { series, directory } of availableVersions()) console.log(`${series}  ${directory}`);
}

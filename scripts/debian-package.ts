/**
 * Packages of any Debian release, unpacked and not installed.
 *
 * They are downloaded with apt into a state of their own: the system's apt sources and packages stay as
 * they are. The mirror is the one named in those sources.
 */

import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";

import { join } from "node:path";

const LIMIT_MS = 300_000;

/** Where packages of one release come from, and where they are unpacked. Dispose it when done. */
export class DebianRelease implements Disposable {
  readonly name: string;
  readonly #workspace: string;
  readonly #options: readonly string[];

  private constructor(name: string, workspace: string) {
    this.name = name;
    this.#workspace = workspace;
    this.#options = Object.entries({
      "Dir::Etc::sourcelist": join(workspace, "sources.list"),
      "Dir::Etc::sourceparts": "-",
      "Dir::State::Lists": join(workspace, "lists"),
      "Dir::Cache": workspace,
      "Dir::Cache::archives": "archives",
      // The download is written as root in a directory that apt's own user cannot enter.
      "APT::Sandbox::User": "root",
    }).flatMap(([option, value]) => ["-o", `${option}=${value}`]);
  }

  /** Reads the release's package lists, in a directory of its own below `cache`. Throws an Error that says why it cannot. */
  static open(name: string, cache: string): DebianRelease {
    const mirror = debianMirror();
    if (mirror === undefined) throw new Error("this system's apt sources name no Debian mirror");
    mkdirSync(cache, { recursive: true });
    const release = new DebianRelease(name, mkdtempSync(join(cache, `${name}-`)));
    try {
      for (const part of ["lists/partial", "archives/partial"])
        mkdirSync(join(release.#workspace, part), { recursive: true });
      const source = `${mirror.replace("SUITE", name)}\n`;
      writeFileSync(join(release.#workspace, "sources.list"), source);
      run(release.#workspace, "apt-get", ["-qq", ...release.#options, "update"]);
    } catch (error) {
      release[Symbol.dispose]();
      throw error;
    }
    return release;
  }

  /** Unpacks packages into one new tree; the caller moves it away. Throws an Error that says why it cannot. */
  unpack(packages: readonly string[]): string {
    const tree = mkdtempSync(join(this.#workspace, "unpacked-"));
    const download = mkdtempSync(join(this.#workspace, "download-"));
    const args = ["-qq", ...this.#options, "-t", this.name, "download", ...packages];
    run(download, "apt-get", args);
    for (const archive of readdirSync(download)) run(download, "dpkg", ["-x", archive, tree]);
    return tree;
  }

  /** As {@link unpack}, with all their dependencies: a tree that needs no library of this system. */
  unpackWhole(packages: readonly string[]): string {
    const tree = mkdtempSync(join(this.#workspace, "unpacked-"));
    const download = mkdtempSync(join(this.#workspace, "download-"));
    mkdirSync(join(download, "archives/partial"), { recursive: true });
    // To apt nothing is installed, so nothing is left out.
    const nothing = join(download, "status");
    writeFileSync(nothing, "");
    const options = { "Dir::State::status": nothing, "Dir::Cache": download };
    const args = Object.entries(options).flatMap(([option, value]) => ["-o", `${option}=${value}`]);
    const how = ["--download-only", "--no-install-recommends", "-y"];
    run(download, "apt-get", ["-qq", ...this.#options, ...args, ...how, "install", ...packages]);
    const archives = join(download, "archives");
    for (const name of readdirSync(archives).filter((entry) => entry.endsWith(".deb")))
      run(archives, "dpkg", ["-x", name, tree]);
    return tree;
  }

  [Symbol.dispose](): void {
    rmSync(this.#workspace, { recursive: true, force: true });
  }
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

/** Throws an Error with the command's last line of output if it fails. */
function run(cwd: string, program: string, args: readonly string[]): void {
  const result = spawnSync(program, args, { cwd, encoding: "utf8", timeout: LIMIT_MS });
  if (result.status === 0) return;
  const said = `${result.stderr ?? ""}`.trim().split("\n").at(-1);
  throw new Error(
    `${program} failed: ${said === undefined || said === "" ? result.error?.message : said}`,
  );
}

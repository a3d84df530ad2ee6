/** The rules about the tree itself: who may import whom, what may be called where, how long is too long. */

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { Glob } from "bun";

const root = join(import.meta.dir, "..");
const fileLinesMax = 400;
const functionLinesMax = 70;

/**
 * What each folder of src may import besides itself and `version.ts`; types also from what those may
 * import in turn, as the value that has the type came through them. Nothing goes leftward.
 */
const layers: Readonly<Record<string, readonly string[]>> = {
  base: [],
  linux: ["base"],
  gen: [],
  bundle: ["base", "linux"],
  rootfs: ["base", "linux"],
  runtime: ["base", "linux"],
  stdio: ["base", "linux"],
  cgroup: ["base", "linux"],
  container: ["base", "linux", "bundle", "rootfs", "runtime", "stdio", "cgroup"],
  rpc: ["base", "linux", "gen"],
  event: ["base", "linux", "bundle", "rpc", "gen"],
  service: ["base", "bundle", "rpc", "gen", "event", "container"],
  library: ["base", "bundle", "rpc", "gen"],
  handoff: ["base", "linux", "gen", "rpc", "event", "service"],
  debug: ["base", "linux", "bundle", "cgroup", "rpc", "gen"],
  command: [
    ...["base", "linux", "gen", "bundle", "rootfs", "runtime", "stdio", "cgroup", "container"],
    ...["rpc", "event", "service", "handoff"],
  ],
  "main.ts": ["base", "command", "debug"],
  "version.ts": [],
};

/** The same among the folders of src/command, and the files beside them. */
const commandLayers: Readonly<Record<string, readonly string[]>> = {
  invocation: [],
  spare: ["invocation"],
  start: ["invocation", "spare"],
  delete: ["invocation"],
  serve: ["invocation"],
};

interface Ban {
  readonly what: string;
  readonly pattern: RegExp;
  /** Files of src that may nevertheless, or folders with a slash at the end. */
  readonly but: readonly string[];
  readonly instead: string;
}

const bans: readonly Ban[] = [
  {
    what: "Bun.spawn, node:child_process and execa",
    pattern: /\bBun\.spawn|\bchild_process\b|\bexeca\b|\bBun\.\$/,
    but: [],
    instead: "linux/children.ts",
  },
  {
    what: "waiting for a process",
    pattern: /\.(wait4|waitid|waitpid)\(/,
    but: ["linux/children.ts"],
    instead: "linux/children.ts",
  },
  {
    what: "process.exit()",
    pattern: /\bprocess\.(exit|reallyExit)\(/,
    but: ["main.ts"],
    instead: "a returned exit status",
  },
  {
    what: "process.argv",
    pattern: /\bprocess\.argv\b|\bBun\.argv\b/,
    but: ["main.ts"],
    instead: "an argument",
  },
  {
    what: "dlopen()",
    pattern: /\bdlopen\(/,
    but: ["linux/libc.ts"],
    instead: "a function in the table of linux/libc.ts",
  },
  { what: "console", pattern: /\bconsole\.\w+\(/, but: [], instead: "base/log.ts" },
  {
    what: "node:net, node:http and node:http2 on the way to a started container",
    pattern: /"node:(net|http2?|tls|https)"/,
    but: ["rpc/ttrpc/net.ts", "rpc/grpc/"],
    instead: "rpc/ttrpc/bun.ts",
  },
  {
    what: "a type assertion",
    pattern:
      /\S as (unknown|any|string|number|boolean|never|typeof|keyof|readonly|[{[(]|[A-Z]\w*([<;,)\].]| [|&]|$))/,
    but: ["linux/"],
    instead: "a checked parse",
  },
];

interface SourceFile {
  /** Relative to the root of the project. */
  readonly path: string;
  readonly text: string;
  /** With comments and the names in imports blanked out, line for line. */
  readonly code: string;
}

function readSources(folder: string): readonly SourceFile[] {
  return [...new Glob(`${folder}/**/*.{ts,mjs}`).scanSync(root)]
    .filter((path) => !path.startsWith("src/gen/"))
    .sort()
    .map((path) => {
      const text = readFileSync(join(root, path), "utf8");
      return { path, text, code: withoutComments(text) };
    });
}

/** Blanks out comments and, as `as` has another meaning there, the names in imports and exports. */
function withoutComments(text: string): string {
  const blank = (part: string) => part.replace(/[^\n]/g, "");
  return text
    .replace(/^[ \t]*\/\*[\s\S]*?\*\//gm, blank)
    .replace(/^[ \t]*\/\/.*$/gm, "")
    .replace(/[ \t]\/\/ .*$/gm, "")
    .replace(/(?<=^(?:import|export)(?: type)? )\{[^}]*\}(?= from)/gm, blank);
}

/** `path:line` of each match of `pattern`. */
function findLines(file: SourceFile, pattern: RegExp): readonly string[] {
  return file.code
    .split("\n")
    .flatMap((line, index) => (pattern.test(line) ? [`${file.path}:${index + 1}`] : []));
}

interface Import {
  readonly name: string;
  /** `import type`: nothing of it is there at run time. */
  readonly isType: boolean;
}

/** The modules that a file imports, statically or not. */
function importsOf(file: SourceFile): readonly Import[] {
  const pattern = /\b(?:(import|export)\s+(type\s)?[^"';]*?(?:\bfrom\s+)?|import\()"([^"]+)"/g;
  return [...file.code.matchAll(pattern)].map((match) => ({
    name: match[3] ?? "",
    isType: match[2] !== undefined,
  }));
}

/** The files of src that `file` imports, its types included. */
function importedBy(file: SourceFile): readonly string[] {
  return importsOf(file)
    .filter(({ name }) => name.startsWith("."))
    .map(({ name }) => normalize(join(dirname(file.path), name)));
}

/** Ways from a file back to itself; where there is any, at least one is found. */
function findCycles(files: readonly SourceFile[]): readonly string[] {
  const imports = new Map(files.map((file) => [file.path, importedBy(file)]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, way: readonly string[]): void => {
    const at = way.indexOf(path);
    if (at >= 0) cycles.push([...way.slice(at), path].join(" -> "));
    if (at >= 0 || done.has(path)) return;
    for (const next of imports.get(path) ?? []) visit(next, [...way, path]);
    done.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
  return cycles;
}

/** `allowed`, and what those layers may import in turn. */
function closureOf(allowed: readonly string[]): ReadonlySet<string> {
  const closure = new Set(allowed);
  // A set grows while it is walked, and the walk sees what was added.
  for (const layer of closure) for (const next of layers[layer] ?? []) closure.add(next);
  return closure;
}

/** The folder of src that `path` (relative to src) lies in, or its own name at the top. */
function layerOf(path: string): string {
  return path.split("/")[0] ?? path;
}

function findForbiddenImports(file: SourceFile): readonly string[] {
  const path = file.path.slice("src/".length);
  const layer = layerOf(path);
  const allowed = layers[layer];
  if (allowed === undefined) return [`${file.path}: its folder is in no layer`];
  return importsOf(file)
    .filter(({ name }) => name.startsWith("."))
    .map(({ name, isType }) => ({ target: normalize(join(dirname(path), name)), isType }))
    .filter(({ target, isType }) => {
      const own = layerOf(target);
      if (own === layer || own === "version.ts" || allowed.includes(own)) return false;
      return !(isType && closureOf(allowed).has(own));
    })
    .map(({ target }) => `${file.path} imports ${target}`);
}

/** The last column of the table in ARCHITECTURE.md, by folder. */
function describedLayers(): Readonly<Record<string, readonly string[]>> {
  const text = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
  const [, section = ""] = text.split("## Which folder owns what");
  const rows = section.matchAll(/^\| `([\w.]+)` \|.*\| ([^|]+) \|$/gm);
  return Object.fromEntries(
    [...rows].map(([, folder = "", imports = ""]) => [
      folder,
      imports === "nothing" ? [] : imports.split(", ").sort(),
    ]),
  );
}

function findForbiddenImportsOfCommand(file: SourceFile): readonly string[] {
  const folderOf = (path: string) => (path.includes("/") ? layerOf(path) : "");
  const folder = "src/command/";
  if (!file.path.startsWith(folder)) return [];
  const own = folderOf(file.path.slice(folder.length));
  const allowed = own === "" ? Object.keys(commandLayers) : commandLayers[own];
  if (allowed === undefined) return [`${file.path}: its folder is in no layer`];
  return importsOf(file)
    .map(({ name }) => normalize(join(dirname(file.path), name)))
    .filter((target) => target.startsWith(folder))
    .map((target) => folderOf(target.slice(folder.length)))
    .filter((other) => other !== own && !allowed.includes(other))
    .map((other) => `${file.path} imports from command/${other}`);
}

/**
 * `path:line` of each function that is too long. Relies on the formatter: a function begins on a
 * line of its own and ends with a brace in the same column.
 */
function findLongFunctions(file: SourceFile): readonly string[] {
  const lines = file.code.split("\n");
  const start =
    /^( *)(export )?(static )?(async )?(function\b|(get |set |#)?\w+(<.*>)?\(.*[{(]$|const \w+ = (async )?\(.*[{(]$)/;
  return lines.flatMap((line, index) => {
    const match = start.exec(line);
    if (match === null || /^ *(if|for|while|switch|return|describe|test)\b/.test(line)) return [];
    const indent = match[1] ?? "";
    const end = lines.findIndex(
      (other, at) => at > index && (other === `${indent}}` || other === `${indent}};`),
    );
    return end - index > functionLinesMax
      ? [`${file.path}:${index + 1} has ${end - index} lines`]
      : [];
  });
}

const sources = readSources("src");
const everything = [...sources, ...readSources("test"), ...readSources("scripts")];

describe("src", () => {
  test("imports go rightward in the table of layers", () => {
    expect(sources.flatMap(findForbiddenImports)).toEqual([]);
    expect(sources.flatMap(findForbiddenImportsOfCommand)).toEqual([]);
  });

  test("ARCHITECTURE.md has the same table of layers", () => {
    // Everybody may import version.ts, and the programs in native are in C.
    const expected = Object.entries(layers)
      .filter(([folder]) => folder !== "version.ts")
      .map(([folder, allowed]) => [folder, allowed.toSorted()]);
    const { native: _, ...described } = describedLayers();
    expect(described).toEqual(Object.fromEntries(expected));
  });

  test("no file imports itself by way of others, not even a type", () => {
    expect(findCycles(sources)).toEqual([]);
  });

  test.each([...bans])("$what is left to others", ({ pattern, but, instead }) => {
    const found = sources
      .filter(({ path }) => !but.some((name) => path.startsWith(`src/${name}`)))
      .flatMap((file) => findLines(file, pattern));
    expect(found, `use ${instead}`).toEqual([]);
  });

  test("every file says first what it is for", () => {
    const silent = sources.filter(({ text }) => !text.replace(/^#!.*\n/, "").startsWith("/*"));
    expect(silent.map(({ path }) => path)).toEqual([]);
  });

  test("only generated code uses the protobuf library, and what reads messages by name", () => {
    const found = sources.filter(
      (file) =>
        !file.path.startsWith("src/debug/wire/") &&
        importsOf(file).some(({ name, isType }) => name.startsWith("@bufbuild/") && !isType),
    );
    expect(found.map(({ path }) => path)).toEqual([]);
  });

  test(`no function has more than ${functionLinesMax} lines`, () => {
    expect(sources.flatMap(findLongFunctions)).toEqual([]);
  });
});

describe("src, test and scripts", () => {
  test(`no file has more than ${fileLinesMax} lines`, () => {
    const long = everything
      .map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 }))
      .filter(({ lines }) => lines > fileLinesMax);
    expect(long).toEqual([]);
  });

  test("nothing is left to do later", () => {
    // Written so that this file does not find itself.
    const pattern = /\b(TO{1}DO|FIX{1}ME|X{3})\b/;
    const found = everything.flatMap(({ path, text }) =>
      findLines({ path, text, code: text }, pattern),
    );
    expect(found).toEqual([]);
  });

  test("files are named for what is in them", () => {
    const vague = /\/(index|utils?|helpers?|common|misc|types|manager)\.\w+$/;
    expect(everything.map(({ path }) => path).filter((path) => vague.test(path))).toEqual([]);
  });
});

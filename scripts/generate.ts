/**
 * Turns `proto/` into `src/gen/`, with buf and ts-proto from node_modules and no network.
 *
 *     bun scripts/generate.ts           writes src/gen
 *     bun scripts/generate.ts --check   writes nothing, fails when src/gen is not what would be written
 */

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "bun";

const root = join(import.meta.dirname, "..");
const protoFolder = join(root, "proto");
const buf = join(root, "node_modules", ".bin", "buf");

/** Generates into `src/gen` of the tree at `into`. buf.gen.yaml names that folder relative to `proto/`. */
async function generate(into: string): Promise<void> {
  await $`${buf} generate -o ${join(into, "proto")}`.cwd(protoFolder);
  const options = ["--as-file-descriptor-set", "--exclude-source-info", "-o", "-#format=binpb"];
  const descriptors = await $`${buf} build ${options}`.cwd(protoFolder).arrayBuffer();
  const text = Buffer.from(descriptors).toString("base64");
  await writeFile(
    join(into, "src/gen/descriptors.ts"),
    `/** A google.protobuf.FileDescriptorSet of all messages, in base64: for who reads them by name. */\nexport const descriptors =\n  "${text}";\n`,
  );
}

/** Reads every file below `folder`, by path relative to it. */
async function readTree(folder: string): Promise<Map<string, string>> {
  const tree = new Map<string, string>();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    tree.set(path.slice(folder.length + 1), await readFile(path, "utf8"));
  }
  return tree;
}

/** Names the files that differ between what is committed and what would be generated. */
async function findStale(): Promise<string[]> {
  const fresh = await mkdtemp(join(tmpdir(), "wedge-generate-"));
  try {
    await generate(fresh);
    const expected = await readTree(join(fresh, "src", "gen"));
    const actual = await readTree(join(root, "src", "gen"));
    const paths = new Set([...expected.keys(), ...actual.keys()]);
    return [...paths].filter((path) => expected.get(path) !== actual.get(path)).sort();
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

if (process.argv.includes("--check")) {
  const stale = await findStale();
  for (const path of stale)
    process.stderr.write(`src/gen/${path} is stale: run npm run generate\n`);
  process.exitCode = stale.length === 0 ? 0 : 1;
} else {
  await generate(root);
}

/** The figures of a container, beside those of the stock shim. */

import { expect, test } from "bun:test";
import { matrix } from "./matrix.ts";

/**
 * Figures that are left out of JSON while they are zero, which is chance: processor time, the page cache of
 * files that others may have read first, the faults of whoever is first, and the list that the kernel has put a page on.
 */
const CHANCE = /^\.cpu\.|active_(?:anon|file)$|maj_fault$|cache$/;

/** The paths of all figures in a message, list indexes left out. */
function pathsOf(value: unknown, path = ""): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => pathsOf(item, `${path}[]`));
  if (typeof value !== "object" || value === null) return [path];
  return Object.entries(value).flatMap(([key, item]) => pathsOf(item, `${path}.${key}`));
}

matrix("metrics", { versions: "all", runtimes: ["wedge"] }, (scene) => {
  test("have every figure that the stock shim's have", async () => {
    const paths = new Map<string, string[]>();
    for (const runtime of ["io.containerd.runc.v2", scene.runtime]) {
      const id = scene.id();
      const args = scene.run(id, ["sh", "-c", "echo x > /file; sync; echo up; exec sleep 600"]);
      args.splice(args.indexOf(scene.runtime), 1, runtime);
      args.splice(1, 0, "-d", "--memory-limit", "50000000", "--cpus", "0.5");
      await scene.daemon.ctr(...args);
      const json = await scene.daemon.ctr("task", "metrics", "--format", "json", id);
      const found = pathsOf(JSON.parse(json)).filter((path) => !CHANCE.test(path));
      paths.set(runtime, [...new Set(found)].sort());
      expect(json).toMatch(/"limit": ?49999872\b/);
      expect(json).toMatch(/"total": ?[1-9]/);
      await scene.remove(id);
    }
    expect(paths.get(scene.runtime)).toEqual(paths.get("io.containerd.runc.v2") ?? []);
    expect(paths.get(scene.runtime)?.length).toBeGreaterThan(20);
  });
});

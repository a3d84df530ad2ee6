/** A rootfs that is in use when its shim is dead: what `delete` leaves behind can be removed without harm. */

import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { listMountsBelow } from "../../fake/bundle.ts";
import { Place, runShim } from "../shim-process.ts";

function mount(...args: readonly string[]): void {
  expect(Bun.spawnSync(["mount", ...args]).success).toBe(true);
}

test("delete takes a busy rootfs away, so that removing the bundle reaches no layer", async () => {
  await using place = new Place();
  const bundle = place.bundle("c");
  const rootfs = join(bundle, "rootfs");
  const layer = join(place.path, "layer");
  const volume = join(place.path, "volume");
  for (const path of [rootfs, layer, join(layer, "volume"), volume]) mkdirSync(path);
  writeFileSync(join(layer, "file"), "layer");
  writeFileSync(join(volume, "data"), "data");
  // A bind mount, through which a removal would reach the layer itself.
  mount("--bind", layer, rootfs);
  mount("--bind", volume, join(rootfs, "volume"));
  const users = [rootfs, join(rootfs, "volume")].map((cwd) =>
    Bun.spawn(["sleep", "1000"], { cwd }),
  );
  using cleanup = new DisposableStack();
  for (const user of users) cleanup.defer(() => user.kill("SIGKILL"));
  const flags = ["-namespace", place.namespace, "-address", place.grpcAddress, "-id", "c"];
  const run = await runShim([...flags, "-bundle", bundle, "delete"], { cwd: bundle });
  expect(run).toMatchObject({ exitCode: 0, stderr: "" });
  expect(listMountsBelow(bundle)).toEqual([]);
  rmSync(bundle, { recursive: true });
  expect(readdirSync(layer).sort()).toEqual(["file", "volume"]);
  expect(readFileSync(join(volume, "data"), "utf8")).toBe("data");
});

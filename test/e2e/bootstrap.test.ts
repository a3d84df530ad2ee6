/** What `start` answers each containerd, as containerd has noted it. */

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { matrix } from "./matrix.ts";

matrix("bootstrap", { versions: "all", runtimes: ["wedge"] }, (scene) => {
  test("containerd 2 is answered in version 3, and every one finds the address in the bundle", async () => {
    const id = await scene.start(["sleep", "600"]);
    const bundle = scene.daemon.bundle(id);
    const address = readFileSync(join(bundle, "address"), "utf8");
    const isNoted = scene.daemon.version.series.startsWith("2");
    const noted = isNoted ? readFileSync(join(bundle, "bootstrap.json"), "utf8") : "{}";
    await scene.remove(id);
    expect(address).toMatch(/^unix:\/\/\/run\/containerd\/s\/[0-9a-f]{64}$/);
    expect(JSON.parse(noted)).toEqual(isNoted ? { version: 3, address, protocol: "ttrpc" } : {});
  });
});

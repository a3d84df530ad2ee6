/** What the executable says of itself, as containerd 2 reads it. */

import { expect, test } from "bun:test";
import { matrix } from "./matrix.ts";

matrix("information", { versions: "all", runtimes: ["wedge"] }, (scene) => {
  test("inspect-runtime tells of the same runtime as the stock shim's (containerd 2)", async () => {
    if (scene.daemon.version.series < "2") return;
    const ask = async (runtime: string): Promise<Record<string, unknown>> =>
      JSON.parse(await scene.daemon.ctr("plugins", "inspect-runtime", "--runtime", runtime));
    const { Features: stock } = await ask("io.containerd.runc.v2");
    const { Name: name, Features: features } = await ask(scene.runtime);
    expect(name).toBe(scene.runtime);
    expect(stock).toBeDefined();
    expect(features).toEqual(stock);
  });

  test("-v gives the version", async () => {
    const { code, stdout } = await scene.daemon
      .program(["containerd-shim-wedge-v2", "-v"])
      .finish();
    expect(code).toBe(0);
    expect(stdout).toMatch(/\d+\.\d+\.\d+/);
  });
});

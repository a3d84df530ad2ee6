/** Every way in which CRI hands its runtime options on, and wedge where CRI expects the stock shim. */

import { expect, test } from "bun:test";
import { existsSync, rmSync, statSync } from "node:fs";
import { type Containerd, wedgeExecutable } from "../containerd.ts";
import { matrix, type Scene } from "../matrix.ts";
import { CriApi } from "./cri-api.ts";
import { HANDLERS } from "./handlers.ts";
import { Pod } from "./pod.ts";

const ROOT = "/run/another-root";

/** The pod's shim is our executable, whatever name it goes by. */
function expectWedge(daemon: Containerd, pod: Pod): void {
  const sizes = pod.shims().map((shim) => statSync(daemon.sandbox.path(`/proc/${shim}/exe`)).size);
  expect(sizes).toEqual([statSync(wedgeExecutable()).size]);
}

/** Runs a pod whose runtime keeps its state in {@link ROOT}, and one container in it. */
async function runElsewhere(scene: Scene, handler: string): Promise<void> {
  const { daemon } = scene;
  using api = new CriApi(daemon.outside("containerd.sock"));
  await using pod = await Pod.run(api, daemon, { handler });
  const container = await pod.start({ command: ["sleep", "600"] });
  expect(existsSync(daemon.sandbox.path(`${ROOT}/k8s.io/${pod.id}`))).toBe(true);
  expect((await container.exec(["echo", "there"])).stdout).toBe("there\n");
  expectWedge(daemon, pod);
  await pod.remove();
  rmSync(daemon.sandbox.path(ROOT), { recursive: true });
}

const own = {
  handlers: {
    ...HANDLERS,
    inline: { runtimeType: "io.containerd.wedge.v2", options: { Root: ROOT } },
  },
  defaultHandler: "wedge",
};

matrix("options", { versions: "all", runtimes: ["wedge"], daemon: { cri: own } }, (scene) => {
  test("as TOML in containerd's configuration (1.6 hands none of it on)", async () => {
    if (scene.daemon.version.series < "1.7") return;
    await runElsewhere(scene, "inline");
  });

  test("none at all, for the default runtime", async () => {
    using api = new CriApi(scene.daemon.outside("containerd.sock"));
    await using pod = await Pod.run(api, scene.daemon, { handler: "" });
    expectWedge(scene.daemon, pod);
  });
});

const stock = {
  handlers: { runc: { runtimeType: "io.containerd.runc.v2", options: { Root: ROOT } } },
  defaultHandler: "runc",
};

matrix(
  "options under the stock name",
  { versions: "all", runtimes: ["wedge"], daemon: { cri: stock, dropIn: true } },
  (scene) => {
    test("as the stock shim's own message", async () => {
      await runElsewhere(scene, "runc");
    });
  },
);

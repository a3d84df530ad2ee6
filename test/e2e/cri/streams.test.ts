/** `kubectl exec` and `kubectl attach`, as far as they reach a shim: streams, terminals, window sizes. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { matrix, type Scene } from "../matrix.ts";
import { CriApi } from "./cri-api.ts";
import { HANDLERS } from "./handlers.ts";
import { Pod } from "./pod.ts";

const cri = { handlers: HANDLERS, defaultHandler: "runc" };
const CLIENT = join(import.meta.dir, "stream-client.ts");

function scenarios(scene: Scene): void {
  const open = () => new CriApi(scene.daemon.outside("containerd.sock"));
  const run = (api: CriApi) => Pod.run(api, scene.daemon, { handler: scene.kind });
  const connect = (url: string) =>
    scene.daemon.program([process.execPath, CLIENT, url], { stdin: "pipe" });

  test("exec carries input, both outputs and the exit code", async () => {
    using api = open();
    await using pod = await run(api);
    const container = await pod.start({ command: ["sleep", "600"] });
    const { url } = await api.call("Exec", {
      containerId: container.id,
      cmd: ["sh", "-c", "read line; echo got $line; echo err >&2; exit 6"],
      stdin: true,
      stdout: true,
      stderr: true,
    });
    const client = connect(url);
    await client.write("hello\n");
    expect(await client.finish()).toEqual({ code: 6, stdout: "got hello\n", stderr: "err\n" });
  });

  test("attach reads and writes what the container's own process does, and leaves it running", async () => {
    using api = open();
    await using pod = await run(api);
    const container = await pod.start({
      command: ["sh", "-c", "while read line; do echo got $line; done; sleep 600"],
      stdin: true,
    });
    const streams = { stdin: true, stdout: true, stderr: true };
    const { url } = await api.call("Attach", { containerId: container.id, ...streams });
    const client = connect(url);
    await client.write("one\n");
    await client.waitFor(/got one/);
    client.kill("SIGKILL");
    await client.exited;
    expect((await container.status()).state).toBe("CONTAINER_RUNNING");
    const again = await api.call("Attach", { containerId: container.id, ...streams });
    const second = connect(again.url);
    await second.write("two\n");
    await second.waitFor(/got two/);
    second.kill("SIGKILL");
    await second.exited;
    await container.logged("got two");
  });
}

function sizes(scene: Scene): void {
  test("exec on a terminal gets its window's size (the stock shim may lose it while the process starts)", async () => {
    using api = new CriApi(scene.daemon.outside("containerd.sock"));
    await using pod = await Pod.run(api, scene.daemon, { handler: scene.kind });
    const container = await pod.start({ command: ["sleep", "600"] });
    // The size comes on a way of its own, before or after the process has begun.
    const script =
      'until [ "$(stty size 2>&1)" = "31 93" ]; do sleep 0.05; done; echo sized; exit 2';
    const { url } = await api.call("Exec", {
      containerId: container.id,
      cmd: ["sh", "-c", script],
      tty: true,
      stdin: true,
      stdout: true,
    });
    const client = scene.daemon.program([process.execPath, CLIENT, url, "93", "31"], {
      stdin: "pipe",
    });
    expect(await client.finish()).toMatchObject({ code: 2, stdout: "sized\r\n" });
  });
}

matrix(
  "streams of pods",
  { versions: "installed", runtimes: ["runc"], daemon: { cri } },
  scenarios,
);
matrix("streams of pods", { versions: "all", runtimes: ["wedge"], daemon: { cri } }, (scene) => {
  scenarios(scene);
  sizes(scene);
});

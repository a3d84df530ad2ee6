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
  test("exec on a terminal has its window's size (the stock shim may lose it while the process starts)", async () => {
    using api = new CriApi(scene.daemon.outside("containerd.sock"));
    await using pod = await Pod.run(api, scene.daemon, { handler: scene.kind });
    const container = await pod.start({ command: ["sleep", "600"] });
    const { url } = await api.call("Exec", {
      containerId: container.id,
      cmd: ["sh", "-c", "read line; stty size; exit 2"],
      tty: true,
      stdin: true,
      stdout: true,
    });
    const client = scene.daemon.program([process.execPath, CLIENT, url, "93", "31"], {
      stdin: "pipe",
    });
    await client.write("go\n");
    const { code, stdout } = await client.finish();
    expect(stdout).toContain("31 93\r\n");
    expect(code).toBe(2);
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

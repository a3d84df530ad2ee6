/** What scripts/kubernetes installs on a node, tried on a containerd that does not know wedge yet. */

import { expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { wedgeExecutable } from "../containerd.ts";
import { matrix } from "../matrix.ts";
import { CriApi } from "./cri-api.ts";
import { HANDLERS } from "./handlers.ts";
import { Pod } from "./pod.ts";

const scripts = resolve(import.meta.dir, "../../../scripts/kubernetes");
const { runc } = HANDLERS;
const cri = { handlers: { ...(runc === undefined ? {} : { runc }) }, defaultHandler: "runc" };

/** The one `key: value` of a manifest. */
function field(manifest: string, key: string): string | undefined {
  return new RegExp(`^${key}: (.*)$`, "m").exec(manifest)?.[1];
}

matrix("node set-up", { versions: "all", runtimes: ["wedge"], daemon: { cri } }, (scene) => {
  const config = () => readFileSync(scene.daemon.outside("config.toml"), "utf8");
  const installer = async (...args: string[]) => {
    const { daemon } = scene;
    const places = ["--config", daemon.inside("config.toml"), "--bin", daemon.inside("bin")];
    // The containerd of this release is to judge, not the installed one.
    const path = `PATH=${daemon.version.directory}:${daemon.environment()["PATH"]}`;
    const argv = ["env", path, join(scripts, "install.sh"), ...places, ...args];
    return await daemon.program(argv).finish();
  };
  const install = () => installer("--shim", wedgeExecutable());

  test("a pod of the RuntimeClass runs under wedge, and taking it away leaves the node as it was", async () => {
    const { daemon } = scene;
    rmSync(daemon.outside("bin/containerd-shim-wedge-v2"), { force: true });
    const before = config();
    expect(await install()).toMatchObject({ code: 0, stderr: "" });
    const installed = config();
    expect(installed.startsWith(before)).toBe(true);
    expect((await install()).stdout).not.toContain("wrote");
    expect(config()).toBe(installed);
    await daemon.kill();
    await daemon.resume();
    using api = new CriApi(daemon.outside("containerd.sock"));
    await api.ready();
    // Only containerd 2 asks for them, and the runtimes of its time tell.
    const { runtimeHandlers } = await api.call("Status", {});
    const featuresOf = (handler: string) =>
      runtimeHandlers.find(({ name }) => name === handler)?.features;
    expect(featuresOf("wedge")).toEqual(featuresOf("runc"));
    const manifest = readFileSync(join(scripts, "runtime-class.yaml"), "utf8");
    expect(field(manifest, "kind")).toBe("RuntimeClass");
    const pod = await Pod.run(api, daemon, { handler: field(manifest, "handler") ?? "" });
    const container = await pod.start({ command: ["sh", "-c", "exit 5"] });
    expect((await container.ended()).exitCode).toBe(5);
    const [shim = 0] = pod.shims();
    expect(daemon.sandbox.processes().get(shim)).toContain("containerd-shim-wedge-v2");
    await pod.remove();
    expect((await installer("--uninstall")).code).toBe(0);
    expect(config()).toBe(before);
    expect(existsSync(daemon.outside("bin/containerd-shim-wedge-v2"))).toBe(false);
    symlinkSync(wedgeExecutable(), daemon.outside("bin/containerd-shim-wedge-v2"));
  });

  test("the options file takes the node's cgroup driver, and reaches the runtime", async () => {
    const { daemon } = scene;
    const before = config();
    writeFileSync(daemon.outside("config.toml"), `${before}# SystemdCgroup = true\n`);
    expect((await install()).code).toBe(0);
    const options = daemon.outside("wedge.toml");
    expect(readFileSync(options, "utf8")).toContain("\nSystemdCgroup = true\n");
    writeFileSync(options, 'Root = "/run/wedge-root"\n');
    expect((await install()).code).toBe(0);
    await daemon.kill();
    await daemon.resume();
    using api = new CriApi(daemon.outside("containerd.sock"));
    await api.ready();
    const pod = await Pod.run(api, daemon, { handler: "wedge" });
    expect(existsSync(daemon.sandbox.path(`/run/wedge-root/k8s.io/${pod.id}`))).toBe(true);
    await pod.remove();
    rmSync(daemon.sandbox.path("/run/wedge-root"), { recursive: true });
    rmSync(options);
    writeFileSync(daemon.outside("config.toml"), before);
  });

  test("a configuration that containerd would refuse is not written", async () => {
    const before = config();
    const table = /^\[(plugins\.\S+containerd)\]$/m.exec(before)?.[1] ?? "";
    const taken = `${before}[${table}.runtimes.wedge]\nruntime_type = "io.containerd.mine.v2"\n`;
    writeFileSync(scene.daemon.outside("config.toml"), taken);
    const { code, stderr } = await install();
    expect(code).toBe(1);
    expect(stderr).toContain("containerd refuses the new configuration, nothing is changed");
    expect(config()).toBe(taken);
    writeFileSync(scene.daemon.outside("config.toml"), before);
  });
});

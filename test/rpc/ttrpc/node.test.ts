import { expect, test } from "bun:test";
import { join } from "node:path";
import { ScratchFolder } from "./scratch-folder.ts";

test("server and client run under Node, and let it end by itself", async () => {
  using folder = new ScratchFolder();
  const built = await Bun.build({
    entrypoints: [join(import.meta.dir, "node-smoke.ts")],
    outdir: folder.path,
    naming: "smoke.mjs",
    target: "node",
  });
  expect(built.success).toBe(true);
  await using node = Bun.spawn(["node", join(folder.path, "smoke.mjs"), folder.socket()], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  expect(await new Response(node.stdout).json()).toEqual({
    echo: 1_000_000,
    join: "a+b",
    count: ["0", "1", "2"],
    talk: ["A", "B", "BYE"],
    late: "deadlineExceeded",
  });
  expect(await node.exited).toBe(0);
}, 60_000);

import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BundleTrace } from "../../src/debug/run/bundle-trace.ts";

test("what a shim has written into a bundle is removed, and nothing else", () => {
  const bundle = mkdtempSync(join(tmpdir(), "wedge-trace-"));
  using cleanup = new DisposableStack();
  cleanup.defer(() => rmSync(bundle, { recursive: true }));
  const users = ["config.json", "runtime-notes.json", "runtime", "runtime-1.json"];
  for (const name of users) writeFileSync(join(bundle, name), "");
  const trace = new BundleTrace(bundle);
  const shims = [
    ...["address", "init.pid", "options.json", "exit.json"],
    ...["runtime-start-log-12-m3x-1.json", "runtime-process-12-m3x-2.json"],
    ...["runtime-criu-12-m3x-3.conf", ".exit.json.12"],
  ];
  for (const name of shims) writeFileSync(join(bundle, name), "");
  trace.remove();
  expect(readdirSync(bundle).sort()).toEqual(users.toSorted());
});

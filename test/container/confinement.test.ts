import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mayReopenFifos } from "../../src/container/confinement.ts";

const bundle = mkdtempSync(join(tmpdir(), "wedge-confinement-"));
const enabled = join(bundle, "enabled");

afterAll(() => rmSync(bundle, { recursive: true }));

test.each([
  ["Y", undefined, true],
  ["Y", "unconfined", true],
  ["Y", "docker-default", true],
  ["Y", "cri-containerd.apparmor.d", true],
  ["Y", "nerdctl-default", true],
  ["Y", "k8s-apparmor-example-deny-write", false],
  ["N", "k8s-apparmor-example-deny-write", true],
])("with AppArmor %p and profile %p: %p", (state, apparmorProfile, may) => {
  writeFileSync(enabled, `${state}\n`);
  writeFileSync(join(bundle, "config.json"), JSON.stringify({ process: { apparmorProfile } }));
  expect(mayReopenFifos(bundle, enabled)).toBe(may);
});

test("on a kernel without AppArmor no profile counts", () => {
  writeFileSync(join(bundle, "config.json"), '{"process":{"apparmorProfile":"mine"}}');
  expect(mayReopenFifos(bundle, join(bundle, "missing"))).toBe(true);
});

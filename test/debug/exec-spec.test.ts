import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseExactly } from "../../src/base/exact-json.ts";
import { execProcess } from "../../src/debug/exec-spec.ts";
import { deriveBundle, removeDerived } from "../../src/debug/run/derived-bundle.ts";
import { bundleOf, shimOf } from "./host.ts";

const UNLIMITED = "18446744073709551615";
const CONFIG = `{"root":{"path":"rootfs"},"process":{"args":["sh"],"rlimits":[{"hard":${UNLIMITED}}]}}`;

test("execProcess() carries on what the request does not name, numbers to the last digit", () => {
  const path = mkdtempSync(join(tmpdir(), "wedge-exec-spec-"));
  using _folder = { [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
  writeFileSync(join(path, "config.json"), CONFIG);
  const target = { shim: shimOf(), bundle: bundleOf({ path }), id: "web", namespace: "default" };
  const request = { args: ["ls"], isTerminal: true, env: [], cwd: undefined, user: undefined };
  expect(execProcess(target, request)).toBe(
    `{"args":["ls"],"rlimits":[{"hard":${UNLIMITED}}],"terminal":true,"env":[]}`,
  );
});

test("deriveBundle() changes what it is asked to, and no number", () => {
  const bundle = mkdtempSync(join(tmpdir(), "wedge-exec-spec-"));
  using _folder = { [Symbol.dispose]: () => rmSync(bundle, { recursive: true }) };
  mkdirSync(join(bundle, "rootfs"));
  const derived = deriveBundle(bundle, Object(parseExactly(CONFIG)), { terminal: true });
  using _derived = { [Symbol.dispose]: () => removeDerived(derived) };
  const text = readFileSync(join(derived, "config.json"), "utf8");
  expect(text).toContain(`"rlimits":[{"hard":${UNLIMITED}}],"terminal":true`);
});

import { afterAll, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "../../src/base/log.ts";
import { Signpost } from "../../src/command/signpost.ts";
import { claimListener } from "../../src/linux/listener.ts";

const directory = mkdtempSync(join(tmpdir(), "wedge-signpost-"));
const first = join(directory, "first");
const second = join(directory, "second");
const socket = join(directory, "socket");
const warnings: string[] = [];
const log = { ...silentLogger, warn: (message: string) => void warnings.push(message) };

beforeEach(() => {
  warnings.length = 0;
  for (const bundle of [first, second]) {
    rmSync(bundle, { recursive: true, force: true });
    mkdirSync(bundle);
  }
});

afterAll(() => rmSync(directory, { recursive: true }));

function noteIn(bundle: string): string | undefined {
  const path = join(bundle, "address");
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}

test("each bundle has a note of the socket, what has one keeps it, and one that is gone gets none", () => {
  const signpost = new Signpost({ bundle: first, socket, log });
  writeFileSync(join(second, "address"), "unix:///another");
  for (const bundle of [first, second, join(directory, "gone")]) signpost.put(bundle);
  expect([noteIn(first), noteIn(second)]).toEqual([`unix://${socket}`, "unix:///another"]);
  expect(existsSync(join(directory, "gone"))).toBe(false);
});

test("a container that is deleted leaves no note but the first, nor takes away another's", () => {
  const third = mkdtempSync(join(directory, "third-"));
  const signpost = new Signpost({ bundle: first, socket, log });
  writeFileSync(join(third, "address"), "unix:///another");
  for (const bundle of [first, second]) signpost.put(bundle);
  const link = join(directory, "link");
  symlinkSync(directory, link);
  for (const bundle of [first, second, third]) signpost.take(bundle);
  signpost.take(join(link, "first"));
  signpost.take(join(directory, "gone"));
  expect([noteIn(first), noteIn(second), noteIn(third)]).toEqual([
    `unix://${socket}`,
    undefined,
    "unix:///another",
  ]);
});

test("the socket and the first note go once, whoever has come after that", () => {
  const listener = claimListener(socket);
  if (listener === "taken") throw new Error("The socket is another's");
  const signpost = new Signpost({ bundle: first, socket, log });
  signpost.put(first);
  listener[Symbol.dispose]();
  signpost.remove();
  expect([existsSync(socket), noteIn(first)]).toEqual([false, undefined]);
  signpost.put(first);
  signpost.remove();
  expect(noteIn(first)).toBe(`unix://${socket}`);
  expect(warnings).toEqual([]);
});

test("a note stays where another shim listens at the same path by now", () => {
  const signpost = new Signpost({ bundle: first, socket, log });
  signpost.put(first);
  const listener = claimListener(socket);
  if (listener === "taken") throw new Error("The socket is another's");
  using _next = listener;
  signpost.remove();
  expect([existsSync(socket), noteIn(first)]).toEqual([true, `unix://${socket}`]);
});

test("a socket that cannot be removed is logged, and keeps nothing else", () => {
  const file = join(directory, "file");
  writeFileSync(file, "");
  const signpost = new Signpost({ bundle: first, socket: join(file, "socket"), log });
  signpost.put(first);
  signpost.remove();
  expect([noteIn(first), warnings]).toEqual([undefined, ["Cannot remove the socket"]]);
});

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
import { silentLogger } from "../../../src/base/log.ts";
import { PublishedAddress } from "../../../src/command/serve/published-address.ts";
import { claimListener } from "../../../src/linux/listener.ts";
import { withoutDescriptors } from "../../linux/no-descriptors.ts";

const directory = mkdtempSync(join(tmpdir(), "wedge-address-"));
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
  const address = new PublishedAddress({ bundle: first, socket, log });
  writeFileSync(join(second, "address"), "unix:///another");
  for (const bundle of [first, second, join(directory, "gone")]) address.publish(bundle);
  expect([noteIn(first), noteIn(second)]).toEqual([`unix://${socket}`, "unix:///another"]);
  expect(existsSync(join(directory, "gone"))).toBe(false);
});

test("a container that is deleted leaves no note but the first, nor takes away another's", () => {
  const third = mkdtempSync(join(directory, "third-"));
  const address = new PublishedAddress({ bundle: first, socket, log });
  writeFileSync(join(third, "address"), "unix:///another");
  for (const bundle of [first, second]) address.publish(bundle);
  const link = join(directory, "link");
  symlinkSync(directory, link);
  for (const bundle of [first, second, third]) address.withdraw(bundle);
  address.withdraw(join(link, "first"));
  address.withdraw(join(directory, "gone"));
  expect([noteIn(first), noteIn(second), noteIn(third)]).toEqual([
    `unix://${socket}`,
    undefined,
    "unix:///another",
  ]);
});

test("the socket and the first note go once, whoever has come after that", () => {
  const listener = claimListener(socket);
  if (listener === "taken") throw new Error("The socket is another's");
  const address = new PublishedAddress({ bundle: first, socket, log });
  address.publish(first);
  listener[Symbol.dispose]();
  address.withdrawAll();
  expect([existsSync(socket), noteIn(first)]).toEqual([false, undefined]);
  address.publish(first);
  address.withdrawAll();
  expect(noteIn(first)).toBe(`unix://${socket}`);
  expect(warnings).toEqual([]);
});

test("a note stays where another shim listens at the same path by now", () => {
  const address = new PublishedAddress({ bundle: first, socket, log });
  address.publish(first);
  const listener = claimListener(socket);
  if (listener === "taken") throw new Error("The socket is another's");
  using _next = listener;
  address.withdrawAll();
  expect([existsSync(socket), noteIn(first)]).toEqual([true, `unix://${socket}`]);
});

test("where no descriptor is left, what cannot be written or removed is logged", async () => {
  const address = new PublishedAddress({ bundle: first, socket, log });
  await withoutDescriptors(async () => {
    address.publish(second);
    address.withdraw(second);
  });
  expect(noteIn(second)).toBeUndefined();
  expect(warnings).toContain("Cannot write the address of the shim");
});

test("a socket that cannot be removed is logged, and its note says where it is", () => {
  const file = join(directory, "file");
  writeFileSync(file, "");
  const address = new PublishedAddress({ bundle: first, socket: join(file, "socket"), log });
  address.publish(first);
  address.withdrawAll();
  expect(noteIn(first)).toBe(`unix://${join(file, "socket")}`);
  expect(warnings).toEqual(["Cannot remove the socket"]);
});

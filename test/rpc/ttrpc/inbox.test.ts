import { describe, expect, test } from "bun:test";
import { Inbox } from "../../../src/rpc/ttrpc/inbox.ts";

const message = Uint8Array.of(1);

describe("Inbox", () => {
  test("gives messages in order, then the end", async () => {
    const inbox = new Inbox();
    inbox.push(Uint8Array.of(1));
    inbox.push(new Uint8Array(0));
    inbox.end();
    const read: number[] = [];
    for await (const { length } of inbox) read.push(length);
    expect(read).toEqual([1, 0]);
  });

  test("gives what came before an error, then the error, then the end", async () => {
    const inbox = new Inbox();
    inbox.push(message);
    inbox.fail(new Error("broken"));
    expect(await inbox.next()).toEqual({ done: false, value: message });
    await expect(inbox.next()).rejects.toThrow("broken");
    expect(await inbox.next()).toEqual({ done: true, value: undefined });
  });

  test("wakes readers in the order they came, and all of them at the end", async () => {
    const inbox = new Inbox();
    const reads = [inbox.next(), inbox.next(), inbox.next()];
    inbox.push(message);
    inbox.fail(new Error("broken"));
    const settled = await Promise.allSettled(reads);
    expect(settled.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });

  test.each([
    { name: "64 messages", count: 64, length: 0 },
    { name: "a mebibyte", count: 1, length: 1024 * 1024 },
  ])("is full with $name and not before", ({ count, length }) => {
    const inbox = new Inbox();
    expect(inbox.isFull).toBe(false);
    for (let index = 0; index < count; index += 1) {
      expect(inbox.isFull).toBe(false);
      inbox.push(new Uint8Array(length));
    }
    expect(inbox.isFull).toBe(true);
  });

  test("tells of room once, when half of it is free", async () => {
    const inbox = new Inbox();
    for (let index = 0; index < 64; index += 1) inbox.push(message);
    let told = 0;
    inbox.whenRoom(() => {
      told += 1;
    });
    for (let index = 0; index < 31; index += 1) await inbox.next();
    expect(told).toBe(0);
    await inbox.next();
    await inbox.next();
    expect(told).toBe(1);
  });

  test("drops everything once its reader has left", async () => {
    const inbox = new Inbox();
    inbox.push(message);
    await inbox.return();
    inbox.push(message);
    expect(await inbox.next()).toEqual({ done: true, value: undefined });
    expect(inbox.isFull).toBe(false);
  });
});

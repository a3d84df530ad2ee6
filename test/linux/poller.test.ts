import { expect, test } from "bun:test";
import { openEventfd, takeEventfd } from "../../src/linux/eventfd.ts";
import { writeFd } from "../../src/linux/fd.ts";
import { Poller } from "../../src/linux/poller.ts";
import { withDescriptorLimit } from "./no-descriptors.ts";

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

test.each([3, 4])("tells what happens while %d descriptors are allowed", async (limit) => {
  using poller = new Poller();
  using eventfd = openEventfd();
  let waiter = Promise.withResolvers<number>();
  using _watch = poller.watch(eventfd.fd, { readable: true }, () => {
    waiter.resolve(takeEventfd(eventfd.fd));
  });
  const tell = async () => {
    waiter = Promise.withResolvers();
    writeFd(eventfd.fd, ONE);
    return await waiter.promise;
  };
  await withDescriptorLimit(limit, async () => {
    for (let round = 0; round < 3; round++) expect(await tell()).toBe(1);
  });
  expect(await tell()).toBe(1);
});

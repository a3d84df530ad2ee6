/** Ends of processes while the shim has no descriptor left to look at anything. */

import { expect, test } from "bun:test";
import { loadExitRecord } from "../../src/bundle/exit-record.ts";
import { withoutDescriptors } from "../linux/no-descriptors.ts";
import { callOf, ServicePlace } from "./kit.ts";

test("exits are told and recorded, of an exec and of init, where no descriptor is left", async () => {
  await using place = new ServicePlace();
  const { id, path } = await place.running();
  await place.addExec({ id }, "e", ["sleep", "1000"]);
  await place.service.start({ id, execId: "e" }, callOf());
  const kill = async (execId: string) => {
    const waited = place.service.wait({ id, execId }, callOf());
    // By SIGKILL, so that the shim has to ask whether memory was the reason.
    await place.service.kill({ id, execId, signal: 9, all: false });
    return (await waited).exitStatus;
  };
  const statuses: number[] = [];
  await withoutDescriptors(async () => {
    statuses.push(await kill("e"), await kill(""));
  });
  expect(statuses).toEqual([137, 137]);
  expect(loadExitRecord(path)).toMatchObject({ exitStatus: 137, signal: 9 });
  expect(place.topics.slice(-2)).toEqual(["/tasks/exit", "/tasks/exit"]);
  await place.service.delete({ id, execId: "" }, callOf());
});

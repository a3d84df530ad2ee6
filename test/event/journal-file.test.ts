/** Events on disk: whole or not at all, one owner, gone when they are taken. */

import { describe, expect, spyOn, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Logger, silentLogger } from "../../src/base/log.ts";
import type { JournalEntry } from "../../src/event/journal.ts";
import { BundleJournals, takeLeftJournal } from "../../src/event/journal-file.ts";
import { Publisher } from "../../src/event/publisher.ts";
import { taskStart } from "../../src/event/task-event.ts";
import { TaskStart } from "../../src/gen/containerd/events/task.ts";
import * as fileLock from "../../src/linux/file-lock.ts";

class Place implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "wedge-journal-"));
  readonly warnings: string[] = [];
  readonly log: Logger = { ...silentLogger, warn: (message) => this.warnings.push(message) };

  bundle(name: string): string {
    const path = join(this.path, name);
    mkdirSync(path);
    return path;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

function entry(number: number, bundle: string, containerId = "c"): JournalEntry {
  const { topic, event } = taskStart({ containerId, pid: number });
  const timestamp = { seconds: 1_700_000_000n, nanos: number };
  return { number, bundle, envelope: { timestamp, namespace: "ns", topic, event } };
}

/** Some sixty of them fill a file. */
const bigEntry = (number: number, bundle: string) => entry(number, bundle, "x".repeat(100_000));

const fileOf = (bundle: string) => join(bundle, "events.journal");

/** The numbers that a successor finds, which are the pids as well. */
function left(bundle: string): readonly number[] | undefined {
  using journal = takeLeftJournal(bundle);
  return journal?.entries.map(({ number, envelope }) => {
    expect(TaskStart.decode(envelope.event?.value ?? new Uint8Array()).pid).toBe(number);
    expect(envelope).toMatchObject({ namespace: "ns", timestamp: { nanos: number } });
    return number;
  });
}

describe("events in bundles", () => {
  test("one bundle whose file cannot be written keeps no other from its own", () => {
    using place = new Place();
    const [a, b] = [place.bundle("a"), place.bundle("b")];
    mkdirSync(fileOf(a));
    const store = new BundleJournals(place.path, place.log);
    const entries = [entry(1, a), entry(2, b), entry(3, a)];
    store.save(entries);
    expect(place.warnings).toEqual(["Events cannot be kept on disk"]);
    // Once it can be written, nothing is missing there.
    rmdirSync(fileOf(a));
    store.save([...entries, entry(4, b)]);
    store.close();
    expect(left(a)).toEqual([1, 3]);
    expect(left(b)).toEqual([2, 4]);
  });

  test("each bundle has its own, in order, for the owner alone to read", () => {
    using place = new Place();
    const [a, b] = [place.bundle("a"), place.bundle("b")];
    const store = new BundleJournals(place.path, place.log);
    const entries = [entry(1, a), entry(2, b), entry(3, a)];
    store.save(entries);
    store.save([...entries, entry(4, b)]);
    expect(statSync(fileOf(a)).mode & 0o777).toBe(0o600);
    store.close();
    expect(left(a)).toEqual([1, 3]);
    expect(left(b)).toEqual([2, 4]);
  });

  test("those of a container that containerd runs no delete for are with the shim's own", () => {
    using place = new Place();
    const [sandbox, member] = [place.bundle("sandbox"), place.bundle("member")];
    writeFileSync(join(member, "sandbox"), "sandbox");
    const store = new BundleJournals(sandbox, place.log);
    store.save([entry(1, sandbox), entry(2, member), entry(3, sandbox)]);
    store.release(entry(1, sandbox));
    rmSync(member, { recursive: true });
    store.close();
    expect(left(sandbox)).toEqual([2, 3]);
  });

  test("a live owner keeps its events; what it lets go is not sent again", () => {
    using place = new Place();
    const bundle = place.bundle("a");
    const store = new BundleJournals(place.path, place.log);
    const entries = [entry(1, bundle), entry(2, bundle), entry(3, bundle)];
    store.save(entries);
    expect(left(bundle)).toBeUndefined();
    store.release(entry(1, bundle));
    store.close();
    expect(left(bundle)).toEqual([2, 3]);
  });

  test("the file goes with its last event, or with all of them", () => {
    using place = new Place();
    const [a, b] = [place.bundle("a"), place.bundle("b")];
    const store = new BundleJournals(place.path, place.log);
    store.save([entry(1, a), entry(2, b), entry(3, b)]);
    store.release(entry(1, a));
    expect(existsSync(fileOf(a))).toBe(false);
    store.clear();
    expect(existsSync(fileOf(b))).toBe(false);
    store.save([entry(4, a)]);
    store.close();
    expect(left(a)).toEqual([4]);
  });

  test("what is saved after the files were let go is added to what they say", () => {
    using place = new Place();
    const bundle = place.bundle("a");
    const store = new BundleJournals(place.path, place.log);
    const entries = [entry(1, bundle), entry(2, bundle)];
    store.save(entries);
    store.close();
    store.save([...entries, entry(3, bundle)]);
    store.close();
    expect(left(bundle)).toEqual([1, 2, 3]);
  });

  test("a file that cannot be removed is told of, and is in nobody's way", () => {
    using place = new Place();
    const [a, b] = [place.bundle("a"), place.bundle("b")];
    const store = new BundleJournals(place.path, place.log);
    store.save([entry(1, a), entry(2, b)]);
    rmSync(fileOf(a));
    mkdirSync(fileOf(a));
    store.clear();
    expect(place.warnings).toEqual(["Events cannot be kept on disk"]);
    expect(existsSync(fileOf(b))).toBe(false);
    rmdirSync(fileOf(a));
    store.save([entry(3, a)]);
    store.close();
    expect(left(a)).toEqual([3]);
    using journal = takeLeftJournal(a);
    rmSync(fileOf(a));
    mkdirSync(fileOf(a));
    journal?.clear();
    expect(existsSync(fileOf(a))).toBe(true);
  });

  test("a successor of the owner replaces the file", () => {
    using place = new Place();
    const bundle = place.bundle("a");
    const first = new BundleJournals(place.path, place.log);
    first.save([entry(1, bundle), entry(2, bundle)]);
    first.close();
    const second = new BundleJournals(place.path, place.log);
    second.save([entry(2, bundle), entry(3, bundle)]);
    second.close();
    expect(left(bundle)).toEqual([2, 3]);
  });

  test("what its owner wrote stays until a successor has written it whole", () => {
    using place = new Place();
    const bundle = place.bundle("a");
    const first = new BundleJournals(place.path, place.log);
    first.save([entry(1, bundle), entry(2, bundle)]);
    first.close();
    const inTheWay = join(bundle, `.events.journal.${process.pid}`);
    mkdirSync(inTheWay);
    const second = new BundleJournals(place.path, place.log);
    second.save([entry(2, bundle), entry(3, bundle)]);
    expect(place.warnings).toEqual(["Events cannot be kept on disk"]);
    second.release(entry(1, bundle));
    expect(left(bundle)).toBeUndefined();
    rmdirSync(inTheWay);
    second.close();
    expect(left(bundle)).toEqual([2]);
    const third = new BundleJournals(place.path, place.log);
    const former = join(place.path, "former");
    linkSync(fileOf(bundle), former);
    third.save([entry(2, bundle), entry(3, bundle), entry(4, bundle)]);
    third.release(entry(2, bundle));
    third.save([entry(3, bundle), entry(4, bundle), entry(5, bundle)]);
    third.close();
    expect(left(bundle)).toEqual([3, 4, 5]);
    // The former file was not touched.
    const lines = readFileSync(former, "utf8").trim().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      ...[{ number: 1 }, { number: 2 }, { taken: 1 }],
    ]);
  });

  test.each([
    ["before", true],
    ["after", false],
  ])("a file that its last owner removes just %s it lets go is made anew", (_, isHeld) => {
    using place = new Place();
    const bundle = place.bundle("a");
    const last = new BundleJournals(place.path, place.log);
    last.save([entry(1, bundle)]);
    if (!isHeld) last.close();
    const { tryLockFile } = fileLock;
    // Between the opening of the file and the lock on it.
    using _race = spyOn(fileLock, "tryLockFile").mockImplementationOnce((fd) => {
      rmSync(fileOf(bundle));
      return tryLockFile(fd);
    });
    const store = new BundleJournals(place.path, place.log);
    store.save([entry(2, bundle)]);
    store.close();
    last.close();
    expect(left(bundle)).toEqual([2]);
  });

  test("half a line at the end is no event", () => {
    using place = new Place();
    const bundle = place.bundle("a");
    const store = new BundleJournals(place.path, place.log);
    store.save([entry(1, bundle)]);
    store.close();
    const whole = readFileSync(fileOf(bundle), "utf8");
    appendFileSync(fileOf(bundle), whole.replace('"number":1', '"number":2').slice(0, -9));
    expect(left(bundle)).toEqual([1]);
  });

  test("a bundle that is gone is passed over, and one without events is nobody's business", () => {
    using place = new Place();
    const bundle = place.bundle("a");
    const store = new BundleJournals(place.path, place.log);
    store.save([entry(1, join(place.path, "gone")), entry(2, bundle)]);
    store.close();
    expect(left(bundle)).toEqual([2]);
    expect(left(place.path)).toBeUndefined();
    expect(place.warnings).toEqual([]);
  });

  test("a full disk is told once, and what follows has no gap", () => {
    using place = new Place();
    const bundle = place.bundle("full");
    const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=8k", "none", bundle]);
    expect(mounted.success).toBe(true);
    using _mount = { [Symbol.dispose]: () => Bun.spawnSync(["umount", "-l", bundle]) };
    const store = new BundleJournals(place.path, place.log);
    const entries = Array.from({ length: 200 }, (_, index) => entry(index + 1, bundle));
    for (let length = 1; length <= entries.length; length++) store.save(entries.slice(0, length));
    expect(place.warnings).toEqual(["Events cannot be kept on disk"]);
    store.close();
    const kept = left(bundle) ?? [];
    expect(kept.length).toBeGreaterThan(10);
    expect(kept).toEqual(entries.slice(0, kept.length).map(({ number }) => number));
  });

  test("an outage without end costs a bounded file and keeps the latest events", async () => {
    using place = new Place();
    const bundle = place.bundle("a");
    const publisher = new Publisher({
      namespace: "ns",
      connect: () => Promise.reject(new Error("connection refused")),
      log: silentLogger,
      store: new BundleJournals(place.path, place.log),
      bounds: { entriesMax: 50, bytesMax: 4 * 1024 * 1024 },
    });
    const filler = "x".repeat(20_000);
    const publish = (pid: number) =>
      publisher.publish(taskStart({ containerId: filler, pid }), bundle);
    publish(1);
    while (!existsSync(fileOf(bundle))) await Bun.sleep(1);
    for (let pid = 2; pid <= 1500; pid++) publish(pid);
    expect(publisher).toMatchObject({ pending: 50, dropped: 1450 });
    expect(statSync(fileOf(bundle)).size).toBeLessThan(9 * 1024 * 1024);
    await publisher.stop(0);
    using journal = takeLeftJournal(bundle);
    // The oldest may have been on its way, and is never given up.
    const expected = [1, ...Array.from({ length: 49 }, (_, index) => 1452 + index)];
    expect(journal?.entries.map(({ number }) => number)).toEqual(expected);
  });

  test("an event that is published after the end is kept with those that were left", async () => {
    using place = new Place();
    const bundle = place.bundle("a");
    const subject = new Publisher({
      namespace: "ns",
      connect: () => Promise.reject(new Error("connection refused")),
      log: silentLogger,
      store: new BundleJournals(place.path, place.log),
    });
    subject.publish(taskStart({ containerId: "c", pid: 1 }), bundle);
    await subject.stop(0);
    subject.publish(taskStart({ containerId: "c", pid: 2 }), bundle);
    using journal = takeLeftJournal(bundle);
    expect(journal?.entries.map(({ number }) => number)).toEqual([1, 2]);
  });

  test("a file does not grow with what was taken long ago", () => {
    using place = new Place();
    const bundle = place.bundle("a");
    const store = new BundleJournals(place.path, place.log);
    store.save([bigEntry(1, bundle)]);
    for (let number = 2; number <= 200; number++) {
      store.save([bigEntry(number - 1, bundle), bigEntry(number, bundle)]);
      store.release(bigEntry(number - 1, bundle));
    }
    expect(statSync(fileOf(bundle)).size).toBeLessThan(9 * 1024 * 1024);
    store.close();
    using journal = takeLeftJournal(bundle);
    expect(journal?.entries.map(({ number }) => number)).toEqual([200]);
  });

  test("a file that is written anew is there, whole and its owner's, at every instant", () => {
    using place = new Place();
    const bundle = place.bundle("a");
    const store = new BundleJournals(place.path, place.log);
    const former = join(place.path, "former");
    store.save([bigEntry(1, bundle)]);
    linkSync(fileOf(bundle), former);
    let last = 1;
    while (statSync(former).size < 8 * 1024 * 1024) store.save([bigEntry(++last, bundle)]);
    const waiting = [last - 1, last, last + 1];
    store.save(waiting.map((number) => bigEntry(number, bundle)));
    // The former file was not touched, and the present one is another.
    expect(statSync(former).size).toBeGreaterThan(8 * 1024 * 1024);
    expect(statSync(fileOf(bundle)).size).toBeLessThan(1024 * 1024);
    expect(left(bundle)).toBeUndefined();
    expect(readdirSync(bundle)).toEqual(["events.journal"]);
    store.close();
    expect(left(bundle)).toEqual(waiting);
  });

  test("a file that there is no room to write anew stays as it is", () => {
    using place = new Place();
    const bundle = place.bundle("full");
    const mounted = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "size=12m", "none", bundle]);
    expect(mounted.success).toBe(true);
    using _mount = { [Symbol.dispose]: () => Bun.spawnSync(["umount", "-l", bundle]) };
    const store = new BundleJournals(place.path, place.log);
    const entries = Array.from({ length: 80 }, (_, index) => bigEntry(index + 1, bundle));
    store.save(entries);
    expect(place.warnings).toEqual(["Events cannot be kept on disk"]);
    expect(readdirSync(bundle)).toEqual(["events.journal"]);
    store.close();
    const kept = left(bundle) ?? [];
    expect(kept.length).toBeGreaterThan(60);
    expect(kept).toEqual(entries.slice(0, kept.length).map(({ number }) => number));
  });
});
